/* rva_pulse.h - a capture thread of our own over the PulseAudio protocol, which PipeWire speaks as well, for Linux. Part of
 * the public C interface, in the manner of rva.h.
 *
 * libpulse is loaded at run time: nothing is needed to build or install, and where it is missing, rva_pulse_bind says so.
 * Each stream has a connection, a main loop and a thread of its own, which only that thread touches; nothing here ever waits
 * for the server, but rva_pulse_list and rva_pulse_wait, which take a limit.
 *
 *     rva_pulse_open -> rva_pulse_start ->  CONNECTING --> LOOKING --> OPENING --> RUNNING <--> SUSPENDED
 *                                              ^  ^           | ^          |          |            |
 *                        the server is gone ---+  |   no such | | a source | refused  | the source is gone,
 *                        (asked again each 0.1 s) |    source v | comes    v          v or its stream was put on a monitor
 *                                                 +-------- MISSING <------+----------+------------+
 *
 * A stream gets its source back by itself, and goes on from where it was: what lies between counts as lost.
 *
 * Results are RVA_OK, one of RVA_ERROR_..., or RVA_ERROR_PULSE less libpulse's own number.
 */
#ifndef RVA_PULSE_H
#define RVA_PULSE_H

#include "core/rva.h"
#include "streams/rva_stream.h"

/* --- cdef begin --- */

#define RVA_ERROR_PULSE -2000      /* less pa_error_code: -2005 says that there is no such source */
#define RVA_PULSE_TEXT 256         /* bytes of a name; longer ones are cut */

/* What a stream is at. */
#define RVA_PULSE_CONNECTING 1     /* to the server, or there is none */
#define RVA_PULSE_LOOKING 2        /* for its source */
#define RVA_PULSE_MISSING 3        /* the server does not have it */
#define RVA_PULSE_OPENING 4
#define RVA_PULSE_RUNNING 5
#define RVA_PULSE_SUSPENDED 6      /* the server has the source, and lets it sleep */

/* What happens to a stream. */
#define RVA_PULSE_SERVER_GONE 1    /* `code` says why */
#define RVA_PULSE_SOURCE_GONE 2    /* `before` is its name */
#define RVA_PULSE_BEGUN 3          /* sound comes, from `source`: at first, or again */
#define RVA_PULSE_MOVED 4          /* by the server, from `before` to `source` */
#define RVA_PULSE_SLEPT 5          /* the server suspended the source */
#define RVA_PULSE_WOKE 6           /* and resumed it */
#define RVA_PULSE_HOLE 7           /* `samples` per channel are missing */
#define RVA_PULSE_OVERFLOW 8       /* the server had to throw sound away */
#define RVA_PULSE_ARRIVED 9        /* without a chain: the server, a source of it or another default has come */

typedef struct {
    uint32_t kind;                 /* RVA_PULSE_SERVER_GONE ... */
    int32_t code;                  /* a result code, or 0 */
    int64_t at_ns;                 /* CLOCK_MONOTONIC */
    uint64_t samples;
    char before[256];              /* the source's name, in UTF-8 */
    char source[256];
} rva_pulse_event;

typedef struct {
    const char *server;            /* as in $PULSE_SERVER; NULL: the user's own. Used during the call only, as is `source` */
    const char *source;            /* the server's name for it; NULL: its default one, unless that is a monitor */
    uint32_t rate_hz;              /* rate, channels and format as in the chain's rva_config; the server converts others */
    uint32_t channels;
    uint32_t format;               /* RVA_FORMAT_... */
    uint32_t block_samples;        /* per channel; the server may give other lengths */
    int32_t wake_fd;               /* written when something has happened; -1: none */
    uint32_t priority;             /* of SCHED_FIFO for the thread, where the limits allow it; 0: leave it as it is */
    int64_t resume_ns;             /* captured_ns of the stream that fed this chain before; 0: there was none */
} rva_pulse_config;

/* A source as the server lists it; what it does not say is empty or 0. */
typedef struct {
    char name[256];                /* lasts over replugging and reboots */
    char description[256];         /* for people */
    char bus[32];                  /* "usb", "pci", "bluetooth" */
    char form_factor[32];          /* "microphone", "headset", "webcam", "internal" */
    char profile[64];              /* of Bluetooth: "headset-head-unit" */
    char vendor_id[16];            /* hexadecimal, as product_id */
    char product_id[16];
    char serial[128];
    uint32_t rate_hz;              /* its own rate, channels and format */
    uint32_t channels;
    uint32_t format;               /* RVA_FORMAT_... that holds what its own does */
    uint32_t is_default;
    uint32_t is_monitor;           /* it hears what a sink plays */
    uint32_t is_default_monitor;   /* and that is the default one */
    uint32_t is_muted;
    uint32_t is_suspended;
} rva_pulse_source;

typedef struct rva_pulse rva_pulse;
typedef struct rva_pulse_stream rva_pulse_stream;

/* Any thread. Loads libpulse.so.0; RVA_ERROR_LIBRARY where it cannot be had. On success *pulse is the caller's. */
int rva_pulse_bind(rva_pulse **pulse);

/* NULL is allowed. No stream of it may be open. libpulse stays loaded. */
void rva_pulse_unbind(rva_pulse *pulse);

/* Any thread; static. A sentence for a result code of any function here. */
const char *rva_pulse_error_text(const rva_pulse *pulse, int code);

/* Any thread; blocks for `limit_ns` at most. Asks the server, by a connection of its own, what it is ("pulseaudio",
 * "PulseAudio (on PipeWire 1.4.2)"), cut to RVA_PULSE_TEXT, and for up to `most` sources. How many it has, or a result code;
 * it starts no server. */
int rva_pulse_list(const rva_pulse *pulse, const char *server, int64_t limit_ns, char *server_name, rva_pulse_source *sources,
                   uint32_t most);

/* Any thread; never blocks. The chain stays the caller's, must outlive the stream, and may be pushed to by nobody else. NULL:
 * there is no stream, only RVA_PULSE_ARRIVED when anything comes, of that server. On an error *stream is NULL. */
int rva_pulse_open(const rva_pulse *pulse, rva_chain *chain, const rva_pulse_config *config, rva_pulse_stream **stream);

/* Any thread, once. From here until rva_pulse_close our thread pushes into the chain. */
int rva_pulse_start(rva_pulse_stream *stream);

/* Any thread, after rva_pulse_start; blocks for `limit_ns` at most. RVA_OK once the stream has run, else what stood in its way
 * first; it goes on trying. */
int rva_pulse_wait(const rva_pulse_stream *stream, int64_t limit_ns);

/* Any thread; real-time safe. RVA_PULSE_CONNECTING ... */
uint32_t rva_pulse_state(const rva_pulse_stream *stream);

/* Any thread; one system call. The stream is to leave its connection and begin a new one: nothing comes from this one. */
void rva_pulse_restart(rva_pulse_stream *stream);

/* One thread. The oldest event that has not been taken, 1; or 0 when there is none. The newest are lost when 63 wait. */
int rva_pulse_next_event(rva_pulse_stream *stream, rva_pulse_event *event);

/* Any thread; real-time safe. Wakes the consumer when nothing has come for `stall_ns` (0: never), once for each stall. */
void rva_pulse_watch(rva_pulse_stream *stream, int64_t stall_ns);

/* Any thread. Ends the thread, closes and frees; takes a millisecond, whatever has become of the server. *last is how the
 * stream ended: sound may come until then. */
void rva_pulse_close(rva_pulse_stream *stream, rva_stream_statistics *last);

/* Any thread; real-time safe. The stream has finished only where libpulse itself failed. */
void rva_pulse_statistics(const rva_pulse_stream *stream, rva_stream_statistics *statistics);

/* --- cdef end --- */

#endif
