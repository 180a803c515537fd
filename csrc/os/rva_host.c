/* rva_host - memory locking and watched folders (rva_host.h). */
#include <errno.h>

#include "os/rva_host.h"

#ifdef __linux__
#include <sys/inotify.h>
#include <sys/mman.h>

int rva_host_lock_memory(void) {
#ifdef MCL_ONFAULT /* else the whole of each thread's stack would be filled */
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) return 0;
    if (errno != EINVAL) return -errno;
#endif
    return mlockall(MCL_CURRENT | MCL_FUTURE) ? -errno : 0;
}

int rva_host_watcher(void) {
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int rva_host_watch(int watcher, const char *folder) {
    return inotify_add_watch(watcher, folder, IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR) < 0 ? -errno : 0;
}

#else

int rva_host_lock_memory(void) { return -ENOSYS; }

int rva_host_watcher(void) { return -ENOSYS; }

int rva_host_watch(int watcher, const char *folder) {
    (void)watcher;
    (void)folder;
    return -ENOSYS;
}

#endif
