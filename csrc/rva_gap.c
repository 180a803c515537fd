/* rva_gap - how long a gap behind a sound server was (rva_gap.h). */
#include "rva_gap.h"

#include <stdlib.h>
#include <string.h>

#include "rva.h"

/* So long after a gap blocks are looked at: servers begin in bursts, and a busy machine delays some blocks, but not all.
 * While they still come earlier and earlier against their sound, they are what has waited for this thread. */
#define KNOWN_NS 200000000
/* Of the time between two blocks no more than this counts: a thread that did not run saw nothing. */
#define ATTENDED_NS 50000000
/* Against its sound a block that has waited is earlier than the one before by its length, one on time by some jitter. */
#define EARLIER_PART 8
/* Sound that a server or the system kept while this program was stopped comes at once; more than that is not waited for. */
#define KEPT_S 2.0
/* So much of the past tells when blocks come: as little as holds a block that was not delayed, as servers lose and insert
 * some milliseconds of their own now and then. */
#define WINDOW_NS 250000000

RVA_REALTIME static int64_t duration_ns(const rva_gap *gap, uint64_t samples) {
    return (int64_t)((double)samples * 1e9 / gap->rate_hz);
}

int rva_gap_open(double rate_hz, uint32_t block_samples, size_t stride_bytes, rva_gap **out) {
    *out = NULL;
    rva_gap *gap = calloc(1, sizeof *gap);
    if (!gap) return RVA_ERROR_MEMORY;
    gap->rate_hz = rate_hz;
    gap->block_samples = block_samples;
    gap->stride_bytes = stride_bytes;
    gap->capacity = (uint32_t)(KEPT_S * rate_hz / block_samples) + 1;
    gap->blocks = calloc(gap->capacity, sizeof *gap->blocks);
    gap->sound = calloc(gap->capacity, block_samples * stride_bytes);
    if (!gap->blocks || !gap->sound) {
        rva_gap_close(gap);
        return RVA_ERROR_MEMORY;
    }
    *out = gap;
    return RVA_OK;
}

void rva_gap_close(rva_gap *gap) {
    if (!gap) return;
    free(gap->blocks);
    free(gap->sound);
    free(gap);
}

/* The block that comes soonest is up to a block old when it comes: where its samples are between two of the source's periods
 * is anew with each stream. PulseAudio's word for that is right, PipeWire's wrong by as much: half of it leaves at most half a
 * block of error with either. */
RVA_REALTIME int64_t rva_gap_fresh_ns(const rva_gap *gap, size_t samples, int64_t arrived_ns, double age_s) {
    const int64_t age_ns = age_s > 0 && age_s <= 1 ? (int64_t)(age_s * 1e9) : 0;
    return arrived_ns - (age_ns <= duration_ns(gap, samples) ? age_ns / 2 : 0);
}

RVA_REALTIME bool rva_gap_is_late(const rva_gap *gap, size_t samples, int64_t fresh_ns, int64_t before_ns) {
    return fresh_ns - before_ns - duration_ns(gap, samples) >= duration_ns(gap, gap->block_samples);
}

RVA_REALTIME static void restart(rva_gap *gap, int64_t arrived_ns, int64_t newest_ns) {
    gap->newest_ns[0] = gap->newest_ns[1] = newest_ns;
    gap->window_ns = arrived_ns;
}

RVA_REALTIME int64_t rva_gap_follow(rva_gap *gap, size_t samples, int64_t arrived_ns, int64_t fresh_ns) {
    const int64_t step_ns = duration_ns(gap, samples);
    if (!gap->window_ns) restart(gap, arrived_ns, fresh_ns - step_ns);
    for (int i = 0; i < 2; i++) gap->newest_ns[i] += step_ns;
    if (arrived_ns - gap->window_ns > WINDOW_NS) {
        gap->newest_ns[1] = gap->newest_ns[0];
        gap->newest_ns[0] = fresh_ns;
        gap->window_ns = arrived_ns;
    }
    if (fresh_ns < gap->newest_ns[0]) gap->newest_ns[0] = fresh_ns;
    return gap->newest_ns[0] < gap->newest_ns[1] ? gap->newest_ns[0] : gap->newest_ns[1];
}

RVA_REALTIME void rva_gap_begin(rva_gap *gap, int64_t arrived_ns, int64_t before_ns, bool is_certain) {
    gap->last_ns = arrived_ns;
    gap->attended_ns = 0;
    gap->before_ns = before_ns;
    gap->begin_ns = INT64_MAX;
    gap->is_certain = is_certain;
    gap->kept_samples = 0;
    gap->count = 0;
}

RVA_REALTIME bool rva_gap_is_open(const rva_gap *gap) { return gap->last_ns != 0; }

RVA_REALTIME int64_t rva_gap_keep(rva_gap *gap, const void *block, size_t samples, int64_t arrived_ns, int64_t fresh_ns,
                                  int64_t end_ns) {
    memcpy(gap->sound + (size_t)gap->count * gap->block_samples * gap->stride_bytes, block, samples * gap->stride_bytes);
    gap->blocks[gap->count++] = (rva_gap_block){.samples = (uint32_t)samples, .end_ns = end_ns};
    gap->kept_samples += samples;
    const int64_t kept_ns = duration_ns(gap, gap->kept_samples), since_ns = arrived_ns - gap->last_ns;
    const bool is_earlier = gap->begin_ns - (fresh_ns - kept_ns) > duration_ns(gap, samples) / EARLIER_PART;
    gap->attended_ns = is_earlier ? 0 : gap->attended_ns + (since_ns < ATTENDED_NS ? since_ns : ATTENDED_NS);
    gap->last_ns = arrived_ns;
    if (fresh_ns - kept_ns < gap->begin_ns) gap->begin_ns = fresh_ns - kept_ns;
    return gap->begin_ns + kept_ns;
}

/* Less than a block is not told from the blocks' own ways. */
RVA_REALTIME static bool is_nothing(const rva_gap *gap) {
    return !gap->is_certain && gap->begin_ns - gap->before_ns < duration_ns(gap, gap->block_samples);
}

RVA_REALTIME bool rva_gap_is_known(const rva_gap *gap) {
    return is_nothing(gap) || gap->attended_ns >= KNOWN_NS || gap->count == gap->capacity;
}

RVA_REALTIME int64_t rva_gap_end(rva_gap *gap, int64_t arrived_ns) {
    const int64_t lost_ns = gap->begin_ns - gap->before_ns, kept_ns = duration_ns(gap, gap->kept_samples);
    gap->last_ns = 0;
    if (is_nothing(gap)) {
        for (int i = 0; i < 2; i++) gap->newest_ns[i] += kept_ns;
        if (gap->begin_ns + kept_ns < gap->newest_ns[0]) gap->newest_ns[0] = gap->begin_ns + kept_ns;
        return -1;
    }
    restart(gap, arrived_ns, gap->begin_ns + kept_ns);
    /* Nothing says by now that a block is missing that may only be late; nor, where so much waited that it did not fit, that
     * any is. */
    const bool has_waited = gap->count == gap->capacity && !gap->attended_ns;
    if (!gap->is_certain && gap->attended_ns < KNOWN_NS) return -1;
    return lost_ns > 0 && !has_waited ? (int64_t)((double)lost_ns * gap->rate_hz * 1e-9 + 0.5) : 0;
}
