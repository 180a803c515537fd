/* rva_stream - a device stream's counters and block timing, shared by the backends (rva_stream.h). */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "streams/rva_stream.h"

/* Only the audio thread stores, so a load and a store are enough; nothing is ordered by the counts. */
#define COUNT(field, amount)                                                                                          \
    atomic_store_explicit(&(field), atomic_load_explicit(&(field), memory_order_relaxed) + (amount), memory_order_relaxed)
#define READ(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* So old may a block's newest sample be; and so old without having to come after what came before. In s. */
#define AGE_MAX_S 60.0
#define AGE_ANYWAY_S 2.0
/* A pause in the blocks and in the capture times that is longer is a loss, where the sound after it is fresh. */
#define PAUSE_S 0.1
#define FRESH_S 0.05
/* Of a block's capture time such a part is believed against the times of those before. */
#define STEADINESS 16

enum { FINEST_BITS = 8, STEP_BITS = 4 };

int64_t rva_stream_bucket_ns(uint32_t bucket) {
    const uint32_t steps = 1u << STEP_BITS;
    if (bucket < steps) return (int64_t)bucket << (FINEST_BITS - STEP_BITS);
    uint32_t octave = bucket / steps - 1;
    return (int64_t)(steps + bucket % steps) << (octave + FINEST_BITS - STEP_BITS);
}

RVA_REALTIME static uint32_t bucket_of(int64_t duration_ns) {
    if (duration_ns < 1 << FINEST_BITS) return duration_ns < 0 ? 0 : (uint32_t)duration_ns >> (FINEST_BITS - STEP_BITS);
    uint32_t top_bit = 63u - (uint32_t)__builtin_clzll((unsigned long long)duration_ns);
    uint32_t step = (uint32_t)(duration_ns >> (top_bit - STEP_BITS)) & ((1u << STEP_BITS) - 1);
    uint32_t bucket = ((top_bit - FINEST_BITS + 1) << STEP_BITS) + step;
    return bucket < RVA_DURATION_BUCKETS ? bucket : RVA_DURATION_BUCKETS - 1;
}

void rva_stream_init(rva_stream *stream, rva_chain *chain, uint32_t rate_hz, int wake_fd, int64_t resume_ns) {
    stream->chain = chain;
    stream->gap = NULL;
    stream->rate_hz = rate_hz;
    stream->wake_fd = wake_fd;
    stream->opened_ns = rva_clock_ns();
    stream->resumes = resume_ns != 0;
    stream->captured_ns = resume_ns;
    stream->is_awaited = 1;
}

int rva_stream_expect_server(rva_stream *stream, uint32_t block_samples, size_t stride_bytes, bool keeps_time) {
    return rva_gap_open(stream->rate_hz, block_samples, stride_bytes, keeps_time, &stream->gap);
}

int rva_stream_rejoin(rva_stream *stream, uint32_t block_samples, size_t stride_bytes, bool keeps_time) {
    stream->resumes = READ(stream->captured_ns) != 0;
    atomic_store_explicit(&stream->is_awaited, 1, memory_order_relaxed);
    return rva_stream_expect_server(stream, block_samples, stride_bytes, keeps_time);
}

RVA_REALTIME static void note_loss(rva_stream *stream, uint64_t samples) {
    COUNT(stream->overruns, 1);
    rva_chain_note_loss(stream->chain, samples);
}

/* Hands on what was kept after a gap, and how long that was; whether anything is missing. */
RVA_REALTIME static bool end_gap(rva_stream *stream, int64_t arrived_ns) {
    rva_gap *gap = stream->gap;
    const int64_t lost_samples = rva_gap_end(gap, arrived_ns);
    if (lost_samples >= 0) note_loss(stream, (uint64_t)lost_samples);
    for (uint32_t i = 0; i < gap->count; i++) {
        const unsigned char *sound = gap->sound + (size_t)i * gap->block_samples * gap->stride_bytes;
        rva_chain_push(stream->chain, sound, gap->blocks[i].samples, gap->blocks[i].end_ns);
    }
    gap->count = 0;
    return lost_samples >= 0;
}

/* A block of a sound server. `end_ns`: when its last sample was at the microphone, as the server has it. */
RVA_REALTIME static void server_block(rva_stream *stream, const void *block, size_t samples, int64_t arrived_ns, int64_t end_ns,
                                      bool has_overrun) {
    rva_gap *gap = stream->gap;
    const int64_t previous_ns = READ(stream->captured_ns);
    const bool fits = samples <= gap->block_samples, resumes = stream->resumes;
    stream->resumes = false;
    if (rva_gap_is_open(gap)) gap->is_certain |= has_overrun;
    else if (fits && previous_ns && (resumes || has_overrun || rva_gap_is_late(gap, samples, arrived_ns)))
        rva_gap_begin(gap, arrived_ns, resumes ? previous_ns : 0, resumes || has_overrun);
    int64_t captured_ns;
    if (rva_gap_is_open(gap) && fits) {
        captured_ns = rva_gap_keep(gap, block, samples, arrived_ns, end_ns);
        if (rva_gap_is_known(gap)) end_gap(stream, arrived_ns);
    } else {
        if (rva_gap_is_open(gap)) end_gap(stream, arrived_ns);
        captured_ns = rva_gap_follow(gap, samples, arrived_ns, end_ns);
        rva_chain_push(stream->chain, block, samples, end_ns);
    }
    atomic_store_explicit(&stream->captured_ns, captured_ns, memory_order_relaxed);
}

/* A block of a device that knows its times. */
RVA_REALTIME static void device_block(rva_stream *stream, const void *block, size_t samples, int64_t arrived_ns,
                                      int64_t end_ns, bool has_overrun) {
    const int64_t previous_ns = READ(stream->captured_ns), last_block_ns = READ(stream->last_block_ns);
    /* The time between the sample before and this block's first is what was lost, to within the clock's jitter. */
    double begin_ns = (double)end_ns - (double)samples * 1e9 / stream->rate_hz;
    if (stream->resumes) begin_ns = fmax(begin_ns, (double)stream->opened_ns);
    double gap_s = previous_ns ? (begin_ns - (double)previous_ns) * 1e-9 : 0;
    /* Sound that is not fresh has waited for us. */
    bool has_paused = gap_s > PAUSE_S && arrived_ns - last_block_ns > (int64_t)(PAUSE_S * 1e9) &&
                      arrived_ns - end_ns < (int64_t)(FRESH_S * 1e9);
    bool is_gap = has_overrun || stream->resumes || has_paused;
    stream->resumes = false;
    if (is_gap) note_loss(stream, gap_s > 0 ? (uint64_t)(gap_s * stream->rate_hz + 0.5) : 0);
    /* Where nothing was lost, time has gone on by the block's length. A device's last times before it dies may be off, and
     * are not to decide how long the gap is. */
    int64_t expected_ns = previous_ns + (int64_t)((double)samples * 1e9 / stream->rate_hz), error_ns = end_ns - expected_ns;
    bool is_steady = previous_ns && !is_gap && llabs(error_ns) < (int64_t)(PAUSE_S * 1e9);
    atomic_store_explicit(&stream->captured_ns, is_steady ? expected_ns + error_ns / STEADINESS : end_ns, memory_order_relaxed);
    rva_chain_push(stream->chain, block, samples, end_ns);
}

/* When a block's last sample was at the microphone. */
RVA_REALTIME static int64_t end_of(rva_stream *stream, int64_t arrived_ns, double age_s) {
    bool is_believable = age_s > -0.05 && age_s < AGE_MAX_S;
    int64_t end_ns = arrived_ns - (is_believable && age_s > 0 ? (int64_t)(age_s * 1e9) : 0);
    /* Sound that has waited for longer, in a server that was stopped, comes after what came before all the same. */
    if (is_believable && age_s >= AGE_ANYWAY_S && end_ns < READ(stream->captured_ns)) {
        is_believable = false;
        end_ns = arrived_ns;
    }
    if (!is_believable) COUNT(stream->untimed_blocks, 1);
    return end_ns;
}

RVA_REALTIME void rva_stream_hole(rva_stream *stream, size_t samples, int64_t arrived_ns, double age_s) {
    const int64_t end_ns = end_of(stream, arrived_ns, age_s);
    if (stream->gap && rva_gap_is_open(stream->gap)) end_gap(stream, arrived_ns);
    note_loss(stream, samples);
    const int64_t captured_ns = stream->gap ? rva_gap_follow(stream->gap, samples, arrived_ns, end_ns) : end_ns;
    atomic_store_explicit(&stream->captured_ns, captured_ns, memory_order_relaxed);
}

RVA_REALTIME void rva_stream_block_begun(rva_stream *stream, const void *block, size_t samples, int64_t arrived_ns, double age_s,
                                         bool has_overrun, int64_t begun_ns) {
    const int64_t end_ns = end_of(stream, arrived_ns, age_s);
    if (stream->gap) server_block(stream, block, samples, arrived_ns, end_ns, has_overrun);
    else device_block(stream, block, samples, arrived_ns, end_ns, has_overrun);
    COUNT(stream->blocks, 1);
    atomic_store_explicit(&stream->last_block_ns, arrived_ns, memory_order_relaxed);
    if (READ(stream->is_awaited) && atomic_exchange(&stream->is_awaited, 0)) rva_stream_wake(stream);
    int64_t duration_ns = rva_clock_ns() - begun_ns;
    if (duration_ns > READ(stream->longest_block_ns))
        atomic_store_explicit(&stream->longest_block_ns, duration_ns, memory_order_relaxed);
    COUNT(stream->durations[bucket_of(duration_ns)], 1);
}

RVA_REALTIME void rva_stream_block(rva_stream *stream, const void *block, size_t samples, int64_t arrived_ns, double age_s,
                                   bool has_overrun) {
    rva_stream_block_begun(stream, block, samples, arrived_ns, age_s, has_overrun, arrived_ns);
}

void rva_stream_close(rva_stream *stream) {
    /* What may be missing, and nobody knows yet, is to be reported by the stream that goes on from here. */
    if (stream->gap && rva_gap_is_open(stream->gap) && !end_gap(stream, READ(stream->last_block_ns)))
        atomic_store_explicit(&stream->captured_ns, rva_gap_unbroken_ns(stream->gap), memory_order_relaxed);
    rva_gap_close(stream->gap);
    stream->gap = NULL;
}

RVA_REALTIME void rva_stream_wake(const rva_stream *stream) {
    const uint64_t one = 1;
    /* A full pipe or eventfd wakes the consumer just as well. */
    if (stream->wake_fd >= 0 && write(stream->wake_fd, &one, sizeof one) < 0) return;
}

RVA_REALTIME void rva_stream_finish(rva_stream *stream, int32_t code) {
    int32_t none = 0;
    atomic_compare_exchange_strong(&stream->finish_code, &none, code);
    atomic_store_explicit(&stream->has_finished, 1, memory_order_release);
    rva_stream_wake(stream);
}

void rva_stream_watch(rva_stream *stream, int64_t stall_ns) {
    atomic_store_explicit(&stream->stall_ns, stall_ns, memory_order_relaxed);
}

RVA_REALTIME int64_t rva_stream_look(rva_stream *stream, int64_t now_ns) {
    const int64_t stall_ns = READ(stream->stall_ns), last_ns = READ(stream->last_block_ns);
    if (!stall_ns || !last_ns) return INT64_MAX;
    if (now_ns - last_ns < stall_ns) return last_ns + stall_ns - now_ns;
    if (stream->reported_ns != last_ns) {
        stream->reported_ns = last_ns;
        atomic_store(&stream->is_awaited, 1);
        rva_stream_wake(stream);
    }
    return stall_ns;
}

void rva_stream_read(const rva_stream *stream, rva_stream_statistics *statistics) {
    *statistics = (rva_stream_statistics){
        .blocks = READ(stream->blocks),
        .overruns = READ(stream->overruns),
        .untimed_blocks = READ(stream->untimed_blocks),
        .longest_block_ns = READ(stream->longest_block_ns),
        .opened_ns = stream->opened_ns,
        .last_block_ns = READ(stream->last_block_ns),
        .captured_ns = READ(stream->captured_ns),
        .has_finished = atomic_load_explicit(&stream->has_finished, memory_order_acquire),
        .finish_code = READ(stream->finish_code),
        .is_real_time = READ(stream->is_real_time),
    };
    for (uint32_t i = 0; i < RVA_DURATION_BUCKETS; i++) statistics->durations[i] = READ(stream->durations[i]);
}
