/* rva_pulse_stream - a stream over libpulse, as its thread and those who open and close it share it. Internal. */
#ifndef RVA_PULSE_STREAM_H
#define RVA_PULSE_STREAM_H

#include <pthread.h>

#include "streams/rva_pulse.h"
#include "streams/rva_pulse_library.h"

enum { RVA_PULSE_EVENTS = 64 };

struct rva_pulse_stream {
    rva_stream base;
    const rva_pulse *pulse;
    char *server, *target; /* that were asked for; NULL: the user's, the default one */
    pa_sample_spec spec;
    uint32_t block_samples, stride_bytes, priority;
    pthread_t thread;
    bool has_thread;
    int settled_pipe[2]; /* a byte: `first_code` is known */
    _Atomic bool is_closing, must_restart;
    _Atomic uint32_t state;
    _Atomic int32_t first_code;
    /* the thread's own */
    pa_mainloop *loop;
    pa_context *context;
    pa_stream *stream;
    bool has_settled;
    int64_t retry_ns; /* when to connect, or to look, again */
    bool is_looking, must_look;
    bool is_found, is_found_a_monitor; /* what the look has found: */
    char found[RVA_PULSE_TEXT];
    pa_channel_map map;
    bool keeps_time;
    char attached[RVA_PULSE_TEXT]; /* source that the stream is on */
    bool is_doubtful;              /* it was put on a monitor, and it is not known yet why */
    bool has_lost;                 /* something is missing before the next block */
    bool is_quiet;                 /* no block has come since it began, or was resumed */
    double least_age_s;            /* of the blocks since it began, where the server does not keep time */
    rva_pulse_event events[RVA_PULSE_EVENTS];
    _Atomic uint32_t written, taken;
};

/* The thread: follows the source and reads it until the stream is closing; then lets go of the server. */
void *rva_pulse_run(void *stream);

#endif
