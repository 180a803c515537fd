/* rva_gap - how long a gap behind a sound server was (rva_gap.h). */
#include "streams/rva_gap.h"

#include <stdlib.h>
#include <string.h>

#include "core/rva.h"

/* So long after a gap blocks are looked at: servers begin in bursts, and a busy machine delays some blocks, but not all.
 * While they still come earlier and earlier against their sound, they are what has waited for this thread. */
#define KNOWN_NS 200000000
/* Of the time between two blocks no more than this counts: a thread that did not run saw nothing. */
#define ATTENDED_NS 50000000
/* Against its sound a block that has waited is earlier than the one before by its length, one on time by some jitter. */
#define EARLIER_PART 8
/* Sound that a server or the system kept while this program was stopped comes at once; more than that is not waited for. */
#define KEPT_S 2.0
/* So much of the past says when blocks come: as little as holds a block that was not delayed, as servers lose and insert
 * some milliseconds of their own now and then. */
#define WINDOW_NS 250000000
/* A server's stream that goes on after less than this has been moved to another source. */
#define PAUSE_NS 50000000
/* A block is up to one block old when it comes, and may be late by another on a busy machine. */
#define OLDEST_BLOCKS 2

RVA_REALTIME static int64_t duration_ns(const rva_gap *gap, uint64_t samples) {
    return (int64_t)((double)samples * 1e9 / gap->rate_hz);
}

int rva_gap_open(double rate_hz, uint32_t block_samples, size_t stride_bytes, bool keeps_time, rva_gap **out) {
    *out = NULL;
    rva_gap *gap = calloc(1, sizeof *gap);
    if (!gap) return RVA_ERROR_MEMORY;
    gap->rate_hz = rate_hz;
    gap->block_samples = block_samples;
    gap->stride_bytes = stride_bytes;
    gap->keeps_time = keeps_time;
    gap->capacity = (uint32_t)(KEPT_S * rate_hz / block_samples) + 1;
    gap->blocks = calloc(gap->capacity, sizeof *gap->blocks);
    gap->sound = calloc(gap->capacity, block_samples * stride_bytes);
    if (!gap->blocks || !gap->sound) {
        rva_gap_close(gap);
        return RVA_ERROR_MEMORY;
    }
    rva_rt_touch(gap->blocks, gap->capacity * sizeof *gap->blocks);
    rva_rt_touch(gap->sound, gap->capacity * block_samples * stride_bytes);
    *out = gap;
    return RVA_OK;
}

void rva_gap_close(rva_gap *gap) {
    if (!gap) return;
    free(gap->blocks);
    free(gap->sound);
    free(gap);
}

RVA_REALTIME static int64_t newest_ns(const rva_gap *gap) {
    return gap->newest_ns[0] < gap->newest_ns[1] ? gap->newest_ns[0] : gap->newest_ns[1];
}

RVA_REALTIME static void note_time(rva_gap *gap, size_t samples, int64_t end_ns) {
    gap->position += samples;
    gap->times_ns[gap->next_time] = end_ns - duration_ns(gap, gap->position);
    gap->next_time = (gap->next_time + 1) % RVA_GAP_TIMES;
    if (gap->times < RVA_GAP_TIMES) gap->times++;
}

/* When the newest sample was there: by arrival at `arrival_ns`, and so it is unless the server keeps time; then the median of
 * its word for the newest `count` blocks counts, where that is possible. */
RVA_REALTIME static int64_t timed_ns(const rva_gap *gap, int64_t arrival_ns, uint32_t count) {
    if (!gap->keeps_time || !count) return arrival_ns;
    int64_t sorted_ns[RVA_GAP_TIMES];
    for (uint32_t i = 0; i < count; i++) {
        const int64_t time_ns = gap->times_ns[(gap->next_time + RVA_GAP_TIMES - 1 - i) % RVA_GAP_TIMES];
        uint32_t at = i;
        for (; at && sorted_ns[at - 1] > time_ns; at--) sorted_ns[at] = sorted_ns[at - 1];
        sorted_ns[at] = time_ns;
    }
    const int64_t median_ns = sorted_ns[count / 2] + duration_ns(gap, gap->position);
    const int64_t earliest_ns = arrival_ns - OLDEST_BLOCKS * duration_ns(gap, gap->block_samples);
    return median_ns < earliest_ns ? earliest_ns : median_ns > arrival_ns ? arrival_ns : median_ns;
}

RVA_REALTIME bool rva_gap_is_late(const rva_gap *gap, size_t samples, int64_t arrived_ns) {
    return gap->window_ns &&
           arrived_ns - newest_ns(gap) - duration_ns(gap, samples) >= duration_ns(gap, gap->block_samples);
}

RVA_REALTIME static void restart(rva_gap *gap, int64_t arrived_ns, int64_t newest_ns) {
    gap->newest_ns[0] = gap->newest_ns[1] = newest_ns;
    gap->window_ns = arrived_ns;
}

RVA_REALTIME int64_t rva_gap_follow(rva_gap *gap, size_t samples, int64_t arrived_ns, int64_t end_ns) {
    const int64_t step_ns = duration_ns(gap, samples);
    if (!gap->window_ns) restart(gap, arrived_ns, arrived_ns - step_ns);
    for (int i = 0; i < 2; i++) gap->newest_ns[i] += step_ns;
    if (arrived_ns - gap->window_ns > WINDOW_NS) {
        gap->newest_ns[1] = gap->newest_ns[0];
        gap->newest_ns[0] = arrived_ns;
        gap->window_ns = arrived_ns;
    }
    if (arrived_ns < gap->newest_ns[0]) gap->newest_ns[0] = arrived_ns;
    note_time(gap, samples, end_ns);
    return timed_ns(gap, newest_ns(gap), gap->times);
}

RVA_REALTIME void rva_gap_begin(rva_gap *gap, int64_t arrived_ns, int64_t resume_ns, bool is_certain) {
    gap->last_ns = arrived_ns;
    gap->attended_ns = 0;
    gap->is_resumed = resume_ns != 0;
    gap->before_ns = resume_ns ? resume_ns : newest_ns(gap);
    gap->timed_ns = timed_ns(gap, gap->before_ns, gap->times); /* a stream that resumes has no times yet */
    gap->begin_ns = INT64_MAX;
    gap->is_certain = is_certain;
    gap->kept_samples = 0;
    gap->count = 0;
}

RVA_REALTIME bool rva_gap_is_open(const rva_gap *gap) { return gap->last_ns != 0; }

RVA_REALTIME static uint32_t times_kept(const rva_gap *gap) {
    return gap->count < RVA_GAP_TIMES ? gap->count : RVA_GAP_TIMES;
}

RVA_REALTIME int64_t rva_gap_keep(rva_gap *gap, const void *block, size_t samples, int64_t arrived_ns, int64_t end_ns) {
    memcpy(gap->sound + (size_t)gap->count * gap->block_samples * gap->stride_bytes, block, samples * gap->stride_bytes);
    gap->blocks[gap->count++] = (rva_gap_block){.samples = (uint32_t)samples, .end_ns = end_ns};
    gap->kept_samples += samples;
    const int64_t kept_ns = duration_ns(gap, gap->kept_samples), since_ns = arrived_ns - gap->last_ns;
    const bool is_earlier = gap->begin_ns - (arrived_ns - kept_ns) > duration_ns(gap, samples) / EARLIER_PART;
    gap->attended_ns = is_earlier ? 0 : gap->attended_ns + (since_ns < ATTENDED_NS ? since_ns : ATTENDED_NS);
    gap->last_ns = arrived_ns;
    if (arrived_ns - kept_ns < gap->begin_ns) gap->begin_ns = arrived_ns - kept_ns;
    note_time(gap, samples, end_ns);
    return timed_ns(gap, gap->begin_ns + kept_ns, times_kept(gap));
}

/* Less than a block is not distinguished from the blocks' own ways. */
RVA_REALTIME static bool is_nothing(const rva_gap *gap) {
    return !gap->is_certain && gap->begin_ns - gap->before_ns < duration_ns(gap, gap->block_samples);
}

RVA_REALTIME bool rva_gap_is_known(const rva_gap *gap) {
    return is_nothing(gap) || gap->attended_ns >= KNOWN_NS || gap->count == gap->capacity;
}

RVA_REALTIME int64_t rva_gap_unbroken_ns(const rva_gap *gap) {
    return gap->timed_ns + duration_ns(gap, gap->kept_samples);
}

RVA_REALTIME int64_t rva_gap_end(rva_gap *gap, int64_t arrived_ns) {
    const int64_t kept_ns = duration_ns(gap, gap->kept_samples), newest_ns = gap->begin_ns + kept_ns;
    int64_t lost_ns = gap->begin_ns - gap->before_ns;
    gap->last_ns = 0;
    if (is_nothing(gap)) {
        for (int i = 0; i < 2; i++) gap->newest_ns[i] += kept_ns;
        if (newest_ns < gap->newest_ns[0]) gap->newest_ns[0] = newest_ns;
        return -1;
    }
    if (gap->is_resumed || lost_ns >= PAUSE_NS) lost_ns = timed_ns(gap, newest_ns, times_kept(gap)) - kept_ns - gap->timed_ns;
    restart(gap, arrived_ns, newest_ns);
    gap->times = times_kept(gap);
    /* Nothing says by now that a block is missing that may only be late; nor, where so much waited that it did not fit, that
     * any is. */
    const bool has_waited = gap->count == gap->capacity && !gap->attended_ns;
    if (!gap->is_certain && gap->attended_ns < KNOWN_NS) return -1;
    return lost_ns > 0 && !has_waited ? (int64_t)((double)lost_ns * gap->rate_hz * 1e-9 + 0.5) : 0;
}
