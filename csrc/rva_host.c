/* rva_host - memory locking and watched folders (rva_host.h). */
#include <errno.h>

#include "rva_host.h"

#ifdef __linux__
#include <sys/inotify.h>
#include <sys/mman.h>
#include <unistd.h>

int rva_host_lock_memory(void) {
#ifdef MCL_ONFAULT /* else the whole of each thread's stack would be filled */
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) return 0;
    if (errno != EINVAL) return -errno;
#endif
    return mlockall(MCL_CURRENT | MCL_FUTURE) ? -errno : 0;
}

int rva_host_watch(const char *folder, const char *parent) {
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) return -errno;
    if (inotify_add_watch(fd, folder, IN_CREATE | IN_DELETE | IN_ATTRIB | IN_MOVED_TO) >= 0) return fd;
    if (errno == ENOENT && inotify_add_watch(fd, parent, IN_CREATE | IN_ONLYDIR) >= 0) return fd;
    int code = -errno;
    close(fd);
    return code;
}

#else

int rva_host_lock_memory(void) { return -ENOSYS; }

int rva_host_watch(const char *folder, const char *parent) {
    (void)folder;
    (void)parent;
    return -ENOSYS;
}

#endif
