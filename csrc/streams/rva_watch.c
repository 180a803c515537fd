#include "streams/rva_watch.h"
#include "os/rva_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

/* Longest time between two looks, in ms: what is watched for may be set later. Before the first block it is less, so that the
 * audio thread has its priority soon. */
enum { LOOK_MS = 100, FIRST_LOOK_MS = 10 };
/* So long without a block, and the audio thread may be looping. */
static const int64_t LONGEST_NS = 1000000000;

/* Gives the audio thread its priority while sound comes, and takes it back. */
static void set_priority(rva_watch *watch, int64_t now_ns) {
    rva_stream *stream = watch->stream;
    if (!watch->priority || !atomic_load_explicit(&watch->has_audio_thread, memory_order_acquire)) return;
    const int64_t stall_ns = atomic_load_explicit(&stream->stall_ns, memory_order_relaxed);
    const int64_t idle_ns = now_ns - atomic_load_explicit(&stream->last_block_ns, memory_order_relaxed);
    const bool comes = idle_ns < (stall_ns && stall_ns < LONGEST_NS ? stall_ns : LONGEST_NS);
    const bool is_real_time = atomic_load_explicit(&stream->is_real_time, memory_order_relaxed);
    if (comes == is_real_time || (comes && watch->was_refused)) return;
    const bool has_now = rva_thread_set_priority(watch->audio_thread, comes ? watch->priority : 0);
    watch->was_refused |= comes && !has_now;
    atomic_store_explicit(&stream->is_real_time, has_now, memory_order_relaxed);
}

static void *run(void *context) {
    rva_watch *watch = context;
    struct pollfd end = {.fd = watch->end_pipe[0], .events = POLLIN};
    /* Before the audio thread: it is to be heard on a core that this one has for itself. */
    if (watch->priority && !rva_thread_set_priority(pthread_self(), watch->priority + 1)) watch->was_refused = true;
    for (;;) {
        const int64_t now_ns = rva_clock_ns(), free_ns = rva_stream_look(watch->stream, now_ns);
        set_priority(watch, now_ns);
        const int longest_ms = atomic_load_explicit(&watch->has_audio_thread, memory_order_relaxed) ? LOOK_MS : FIRST_LOOK_MS;
        const int wait_ms = free_ns < longest_ms * (int64_t)1000000 ? (int)(free_ns / 1000000) + 1 : longest_ms;
        if (poll(&end, 1, wait_ms) > 0) return NULL;
    }
}

int rva_watch_start(rva_watch *watch, rva_stream *stream, uint32_t priority) {
    watch->stream = stream;
    watch->priority = priority;
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
    /* Closing the end would not say it: a forked process holds a copy of it. */
    while (write(watch->end_pipe[1], "", 1) < 0 && errno == EINTR) continue;
    pthread_join(watch->thread, NULL);
    for (int end = 0; end < 2; end++) close(watch->end_pipe[end]);
}
