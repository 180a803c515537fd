/* rva_gap - how long a gap behind a sound server was, measured by when the blocks arrive, or by the server where it keeps time.
 *
 * A block can only come late, never early. So the earliest that blocks of late have come, against the sound in them, is steady
 * to a fraction of a millisecond, whatever else the machine does, and moves by what was lost. Where a block ends in what the
 * source gathers is anew with each stream, and after each pause: then this may be off by a block.
 *
 * PulseAudio knows that: its capture times are right to a few samples with a new stream, and after a pause, but for a wander of
 * up to 10 ms on a busy machine, which their median does not have. After it has moved a stream to another source they take
 * seconds to settle; arrival is right then. PipeWire's are up to half a second off after it restarted, stood still or moved a
 * stream, and its blocks come where they came before: there arrival is right, always.
 *
 * What follows a gap is kept until its length is known, so that it is reported where it belongs.
 */
#ifndef RVA_GAP_H
#define RVA_GAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/rva_rt.h"

/* So many blocks' times of a server that keeps time are believed together. */
#define RVA_GAP_TIMES 31

typedef struct {
    uint32_t samples;
    int64_t end_ns;
} rva_gap_block;

typedef struct {
    double rate_hz;
    uint32_t block_samples; /* longest block */
    size_t stride_bytes;
    unsigned char *sound; /* of the blocks that are kept */
    rva_gap_block *blocks;
    uint32_t capacity, count;
    int64_t newest_ns[2]; /* when the newest sample was there at the latest: by this window's blocks, and by the last one's */
    int64_t window_ns;    /* when this window began */
    int64_t last_ns;      /* when the newest block that is kept came; 0: no gap is open */
    int64_t attended_ns;  /* for so long have blocks been seen to come since one last was earlier than those before */
    int64_t before_ns;    /* when the newest sample before the gap was there, by arrival */
    int64_t begin_ns;     /* when the first sample after it was there, at the latest */
    uint64_t kept_samples;
    bool is_certain;   /* something was lost, however little */
    bool is_resumed;   /* it lies between this stream and one before */
    bool keeps_time;   /* the server's capture times count */
    int64_t timed_ns;  /* when the newest sample before the gap was there, by those */
    uint64_t position; /* samples since the stream began */
    uint32_t times, next_time;
    int64_t times_ns[RVA_GAP_TIMES]; /* a ring: the newest blocks' capture times, less the sound until then */
} rva_gap;

/* Opening thread. `block_samples` is the longest block; `keeps_time`: the server's capture times are right (PulseAudio's).
 * RVA_OK or RVA_ERROR_MEMORY; *out is given to rva_gap_close. */
int rva_gap_open(double rate_hz, uint32_t block_samples, size_t stride_bytes, bool keeps_time, rva_gap **out);

/* NULL is allowed. */
void rva_gap_close(rva_gap *gap);

/* The rest: audio thread; real-time safe. `end_ns`: when a block's newest sample was there, as the server has it. */

/* Whether a block comes so late that one may be missing before it. */
RVA_REALTIME bool rva_gap_is_late(const rva_gap *gap, size_t samples, int64_t arrived_ns);

/* A block follows the one before. When its newest sample was there, by all blocks of late. */
RVA_REALTIME int64_t rva_gap_follow(rva_gap *gap, size_t samples, int64_t arrived_ns, int64_t end_ns);

/* Before the block that comes next something may be missing, or `is_certain`ly is. `resume_ns`: what rva_gap_follow or
 * rva_gap_keep last gave for the stream that this one goes on from; 0: what is missing is of this stream. */
RVA_REALTIME void rva_gap_begin(rva_gap *gap, int64_t arrived_ns, int64_t resume_ns, bool is_certain);

/* A gap has begun, and what follows it is being kept. */
RVA_REALTIME bool rva_gap_is_open(const rva_gap *gap);

/* Keeps a block that follows the gap. When its newest sample was there, as far as is known. */
RVA_REALTIME int64_t rva_gap_keep(rva_gap *gap, const void *block, size_t samples, int64_t arrived_ns, int64_t end_ns);

/* Whether the gap's length is known by now, or no more can be kept. A block that was only late is found out by the next. */
RVA_REALTIME bool rva_gap_is_known(const rva_gap *gap);

/* When the newest sample that is kept was there if nothing is missing. */
RVA_REALTIME int64_t rva_gap_unbroken_ns(const rva_gap *gap);

/* Ends the gap, known or not: samples that are missing, 0 and more, or -1 when nothing is, by all that is known. What was kept
 * stays until the next begins. */
RVA_REALTIME int64_t rva_gap_end(rva_gap *gap, int64_t arrived_ns);

#endif
