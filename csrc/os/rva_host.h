/* rva_host.h - what the capture asks of the operating system besides sound. Part of the public C interface, in the manner
 * of rva.h. On systems that do not have a thing, its function says so with a negative ENOSYS.
 */
#ifndef RVA_HOST_H
#define RVA_HOST_H

#include <stdint.h>

/* --- cdef begin --- */

/* Any thread. Keeps every page of the process in memory once it has been used: pages that exist and pages that come, so that
 * the audio thread never waits for a disk. 0 or a negative errno. Only for a process that may lock without a limit: under
 * one, an allocation would fail later instead. */
int rva_host_lock_memory(void);

/* Any thread. A non-blocking descriptor (inotify) that becomes readable when something happens in a folder that it watches,
 * or a negative errno. What can be read from it says no more than that; it is the caller's to close. */
int rva_host_watcher(void);

/* Any thread. Watches a folder too: what is made there or moved into it, permissions that change, the folder's own end. 0 or
 * a negative errno. */
int rva_host_watch(int watcher, const char *folder);

/* --- cdef end --- */

#endif
