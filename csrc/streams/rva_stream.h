/* rva_stream.h - what every device backend of the core counts, and how it times its blocks. Part of the public C
 * interface, in the manner of rva.h.
 *
 * A backend's stream owns one rva_stream. Its audio thread calls rva_stream_block for each block; anybody may read the
 * statistics.
 */
#ifndef RVA_STREAM_H
#define RVA_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>

#include "core/rva.h"
#include "streams/rva_gap.h"
#include "core/rva_rt.h"

/* --- cdef begin --- */

#define RVA_ERROR_LIBRARY -20      /* the sound library is not there, or lacks one of the functions that we use */
#define RVA_ERROR_SYSTEM -1000     /* less errno: -1016 is EBUSY */
#define RVA_DURATION_BUCKETS 336

/* Counters since the stream was opened; read without a lock. */
typedef struct {
    uint64_t blocks;               /* that the device delivered */
    uint64_t overruns;             /* times that the device lost sound, or paused */
    uint64_t untimed_blocks;       /* blocks whose capture time was not believable and was taken as "now" */
    int64_t longest_block_ns;      /* most time that the audio thread spent on one block */
    int64_t opened_ns;             /* CLOCK_MONOTONIC */
    int64_t last_block_ns;         /* CLOCK_MONOTONIC when the newest block arrived; 0: none yet */
    int64_t captured_ns;           /* CLOCK_MONOTONIC when the newest sample was at the microphone; 0: none yet */
    uint32_t has_finished;         /* the stream ended, whoever asked for it */
    int32_t finish_code;           /* why, where the backend knows: a negative errno; else 0 */
    uint32_t is_real_time;         /* the audio thread has a real-time priority that we gave it */
    uint32_t durations[336];       /* blocks by the time spent on them; rva_stream_bucket_ns says where each begins */
} rva_stream_statistics;

/* Any thread; real-time safe. Least duration in ns that falls into a bucket of `durations`, 0 to RVA_DURATION_BUCKETS;
 * buckets are 16 ns wide below 256 ns and 1/16 of a power of two above; the last one also holds all that is longer. */
int64_t rva_stream_bucket_ns(uint32_t bucket);

/* --- cdef end --- */

typedef struct {
    rva_chain *chain;
    double rate_hz;
    int wake_fd;
    int64_t opened_ns;
    rva_gap *gap; /* of a stream behind a sound server; else NULL */
    bool resumes; /* the first block goes on from an earlier stream: what lies between is lost */
    _Atomic uint64_t blocks, overruns, untimed_blocks;
    _Atomic int64_t longest_block_ns, last_block_ns, captured_ns;
    _Atomic uint32_t has_finished;
    _Atomic int32_t finish_code;
    _Atomic uint32_t is_real_time;
    _Atomic int64_t stall_ns; /* 0: nobody wants to know */
    int64_t reported_ns;          /* last_block_ns of the stall that has been reported; the watching thread's */
    _Atomic uint32_t is_awaited; /* the next block wakes the consumer: the first of a stream, and after a reported stall */
    _Atomic uint32_t durations[RVA_DURATION_BUCKETS];
} rva_stream;

/* Before the audio thread starts. The chain stays the caller's; `wake_fd` as in rva_config. `resume_ns` is captured_ns of
 * the stream that fed this chain before, so that the gap between them is counted as lost; 0: there was none. */
void rva_stream_init(rva_stream *stream, rva_chain *chain, uint32_t rate_hz, int wake_fd, int64_t resume_ns);

/* Before the audio thread starts. The stream comes from a sound server: gaps are measured by when its blocks, of at most
 * `block_samples`, arrive, or where it `keeps_time` by its capture times (rva_gap.h). After an overrun, a stream before it or a
 * block that is late by its own length, sound is kept until it is clear how much is missing: for 0.2 s of steady blocks, and
 * 2 s of sound at most. That is measured to within a block; less is not. RVA_OK or RVA_ERROR_MEMORY. */
int rva_stream_expect_server(rva_stream *stream, uint32_t block_samples, size_t stride_bytes, bool keeps_time);

/* Between two streams of a server, of the audio thread. The next block goes on from the last one of before; what lies between
 * is lost. The rest as in rva_stream_expect_server, which need not have been called; rva_stream_close ends what was before. */
int rva_stream_rejoin(rva_stream *stream, uint32_t block_samples, size_t stride_bytes, bool keeps_time);

/* When the audio thread has ended, or before rva_stream_rejoin. Pushes what is still kept, and frees; captured_ns is what another stream goes on from. */
void rva_stream_close(rva_stream *stream);

/* Audio thread; real-time safe. Pushes a block of `samples` per channel that arrived at `arrived_ns`; its last sample is
 * `age_s` old by the device's clock (not believed, and 0 taken, below -0.05 s, from 60 s on, and from 2 s on where that
 * puts it before the block before). `has_overrun`: the device lost sound before it; how much is known from the capture times.
 * So it is, without being said, when for over 0.1 s nothing came, by the capture
 * times either, and what comes then is fresh. A server's block: see rva_stream_expect_server. */
RVA_REALTIME void rva_stream_block(rva_stream *stream, const void *block, size_t samples, int64_t arrived_ns, double age_s,
                                   bool has_overrun);

/* As rva_stream_block, for whoever's clock is not rva_clock_ns: by that the block came at `begun_ns`. */
RVA_REALTIME void rva_stream_block_begun(rva_stream *stream, const void *block, size_t samples, int64_t arrived_ns, double age_s,
                                         bool has_overrun, int64_t begun_ns);

/* Audio thread; real-time safe. In place of a block: the server says that these `samples` per channel are missing. The rest as
 * in rva_stream_block. */
RVA_REALTIME void rva_stream_hole(rva_stream *stream, size_t samples, int64_t arrived_ns, double age_s);

/* Any thread; real-time safe but for the wake-up. Wakes the consumer. */
RVA_REALTIME void rva_stream_wake(const rva_stream *stream);

/* Any thread. From now on the consumer is woken when nothing has come for `stall_ns` (0: never), once for each stall; it is
 * woken by the block that ends a stall, and by a stream's first one, in any case. */
void rva_stream_watch(rva_stream *stream, int64_t stall_ns);

/* The one thread that keeps watch; real-time safe but for the wake-up. Wakes the consumer when a stall has begun. How long
 * from `now_ns` on none can begin, in ns; INT64_MAX while nobody wants to know, or nothing has come yet. */
int64_t rva_stream_look(rva_stream *stream, int64_t now_ns);

/* Any thread; wakes the consumer. The stream has ended; `code` says why, the first caller's stays. */
RVA_REALTIME void rva_stream_finish(rva_stream *stream, int32_t code);

/* Any thread; real-time safe. */
void rva_stream_read(const rva_stream *stream, rva_stream_statistics *statistics);

#endif
