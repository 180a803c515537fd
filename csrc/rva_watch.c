#include "rva_watch.h"
#include "rva_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

/* Longest time between two looks, in ms: what is watched for may be set later. */
enum { LOOK_MS = 100 };

static void *run(void *context) {
    rva_watch *watch = context;
    struct pollfd end = {.fd = watch->end_pipe[0], .events = POLLIN};
    for (;;) {
        const int64_t free_ns = rva_stream_look(watch->stream, rva_clock_ns());
        const int wait_ms = free_ns < LOOK_MS * (int64_t)1000000 ? (int)(free_ns / 1000000) + 1 : LOOK_MS;
        if (poll(&end, 1, wait_ms) > 0) return NULL;
    }
}

int rva_watch_start(rva_watch *watch, rva_stream *stream) {
    watch->stream = stream;
    if (pipe(watch->end_pipe)) return errno;
    for (int end = 0; end < 2; end++) fcntl(watch->end_pipe[end], F_SETFD, FD_CLOEXEC);
    const int code = rva_thread_start(&watch->thread, run, watch);
    watch->is_running = code == 0;
    if (code)
        for (int end = 0; end < 2; end++) close(watch->end_pipe[end]);
    return code;
}

void rva_watch_stop(rva_watch *watch) {
    if (!watch->is_running) return;
    watch->is_running = false;
    /* Closing the end would not tell: a forked process holds a copy of it. */
    while (write(watch->end_pipe[1], "", 1) < 0 && errno == EINTR) continue;
    pthread_join(watch->thread, NULL);
    for (int end = 0; end < 2; end++) close(watch->end_pipe[end]);
}
