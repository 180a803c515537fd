/* rva_watch - a thread that notices when a stream's sound stops coming, for backends whose own thread cannot: PortAudio's
 * callback is then simply not called. Internal.
 *
 * It also gives that thread its real-time priority, once sound comes, and takes it back when it stops: PortAudio loops without
 * sleeping on a device that was unplugged, and would have a core for itself. For that the watch goes before the thread it watches.
 *
 * A look costs some microseconds, ten times a second; the consumer's interpreter would take a hundred times as much. */
#ifndef RVA_WATCH_H
#define RVA_WATCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "streams/rva_stream.h"

typedef struct {
    rva_stream *stream;
    pthread_t thread;
    int end_pipe[2]; /* a byte ends the thread */
    bool is_running;
    uint32_t priority;     /* of SCHED_FIFO for the audio thread; 0: it is left as it is */
    bool was_refused;      /* the limits do not allow it: asked once */
    pthread_t audio_thread;
    _Atomic uint32_t has_audio_thread; /* the thread that it is has been noted */
} rva_watch;

/* Any thread. Keeps watch over a stream, which must outlive it; see rva_stream_watch. `priority` is for the thread that
 * rva_watch_note is called on, which must not be joined before rva_watch_stop. 0, or an errno: then nobody keeps watch. */
int rva_watch_start(rva_watch *watch, rva_stream *stream, uint32_t priority);

/* Audio thread; real-time safe. This is the audio thread. */
RVA_REALTIME static inline void rva_watch_note(rva_watch *watch) {
    if (atomic_load_explicit(&watch->has_audio_thread, memory_order_relaxed)) return;
    watch->audio_thread = pthread_self();
    atomic_store_explicit(&watch->has_audio_thread, 1, memory_order_release);
}

/* Any thread. Ends the thread; does nothing where it does not run. */
void rva_watch_stop(rva_watch *watch);

#endif
