/* rva_gap - how long a gap behind a sound server was, told by when the blocks arrive.
 *
 * A server's own capture times are estimates: after a suspension or a move PipeWire's are up to half a second off, and
 * PulseAudio's wander by 10 ms. But a block can only come late, never early. So the earliest that blocks of late have come,
 * against the sound in them, is steady to a fraction of a millisecond, whatever else the machine does, and moves by what was
 * lost. What follows a gap is kept until that is known, so that it is told where it belongs.
 */
#ifndef RVA_GAP_H
#define RVA_GAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rva_rt.h"

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
    int64_t before_ns;    /* when the newest sample before the gap was there */
    int64_t begin_ns;     /* when the first sample after it was there, at the latest */
    uint64_t kept_samples;
    bool is_certain; /* something was lost, however little */
} rva_gap;

/* Opening thread. `block_samples` is the longest block. RVA_OK or RVA_ERROR_MEMORY; *out is given to rva_gap_close. */
int rva_gap_open(double rate_hz, uint32_t block_samples, size_t stride_bytes, rva_gap **out);

/* NULL is allowed. */
void rva_gap_close(rva_gap *gap);

/* The rest: audio thread; real-time safe. */

/* When a block's newest sample was at the server, at the latest, by its arrival and by its age as the server has it. */
RVA_REALTIME int64_t rva_gap_fresh_ns(const rva_gap *gap, size_t samples, int64_t arrived_ns, double age_s);

/* Whether a block comes so late after a newest sample at `before_ns` that a block may be missing between them. */
RVA_REALTIME bool rva_gap_is_late(const rva_gap *gap, size_t samples, int64_t fresh_ns, int64_t before_ns);

/* A block follows the one before. When its newest sample was there, by all blocks of late. */
RVA_REALTIME int64_t rva_gap_follow(rva_gap *gap, size_t samples, int64_t arrived_ns, int64_t fresh_ns);

/* Before the block that comes next something may be missing, or `is_certain`ly is. */
RVA_REALTIME void rva_gap_begin(rva_gap *gap, int64_t arrived_ns, int64_t before_ns, bool is_certain);

/* A gap has begun, and what follows it is being kept. */
RVA_REALTIME bool rva_gap_is_open(const rva_gap *gap);

/* Keeps a block that follows the gap. When its newest sample was there, as far as is known. */
RVA_REALTIME int64_t rva_gap_keep(rva_gap *gap, const void *block, size_t samples, int64_t arrived_ns, int64_t fresh_ns,
                                  int64_t end_ns);

/* Whether the gap's length is known by now, or no more can be kept. A block that was only late is found out by the next. */
RVA_REALTIME bool rva_gap_is_known(const rva_gap *gap);

/* Ends the gap, known or not: samples that are missing, 0 and more, or -1 when nothing is, by all that is known. What was kept
 * stays until the next begins. */
RVA_REALTIME int64_t rva_gap_end(rva_gap *gap, int64_t arrived_ns);

#endif
