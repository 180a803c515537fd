/* rva_watch - a thread that notices when a stream's sound stops coming, for backends whose own thread cannot: PortAudio's
 * callback is then simply not called. Internal.
 *
 * A look costs some microseconds, ten times a second; the consumer's interpreter would take a hundred times as much. */
#ifndef RVA_WATCH_H
#define RVA_WATCH_H

#include <pthread.h>

#include "rva_stream.h"

typedef struct {
    rva_stream *stream;
    pthread_t thread;
    int end_pipe[2]; /* a byte ends the thread */
    bool is_running;
} rva_watch;

/* Any thread. Keeps watch over a stream, which must outlive it; see rva_stream_watch. 0, or an errno: then nobody does. */
int rva_watch_start(rva_watch *watch, rva_stream *stream);

/* Any thread. Ends the thread; does nothing where it does not run. */
void rva_watch_stop(rva_watch *watch);

#endif
