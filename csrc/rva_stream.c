/* rva_stream - a device stream's counters and block timing, shared by the backends (rva_stream.h). */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "rva_stream.h"

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
    stream->rate_hz = rate_hz;
    stream->wake_fd = wake_fd;
    stream->opened_ns = rva_clock_ns();
    stream->resumes = resume_ns != 0;
    stream->captured_ns = resume_ns;
}

RVA_REALTIME void rva_stream_block(rva_stream *stream, const void *block, size_t samples, int64_t arrived_ns, double age_s,
                                   bool has_overrun) {
    int64_t previous_ns = READ(stream->captured_ns), last_block_ns = READ(stream->last_block_ns);
    bool is_believable = age_s > -0.05 && age_s < AGE_MAX_S;
    int64_t end_ns = arrived_ns - (is_believable && age_s > 0 ? (int64_t)(age_s * 1e9) : 0);
    /* Sound that has waited for longer, in a server that was stopped, comes after what came before all the same. */
    if (is_believable && age_s >= AGE_ANYWAY_S && end_ns < previous_ns) {
        is_believable = false;
        end_ns = arrived_ns;
    }
    if (!is_believable) COUNT(stream->untimed_blocks, 1);
    /* The time between the sample before and this block's first is what was lost, to within the clock's jitter. */
    double begin_ns = (double)end_ns - (double)samples * 1e9 / stream->rate_hz;
    if (stream->resumes) begin_ns = fmax(begin_ns, (double)stream->opened_ns); /* PipeWire's first times are too early */
    double gap_s = previous_ns ? (begin_ns - (double)previous_ns) * 1e-9 : 0;
    /* A sound server's source that was suspended sends nothing, and nobody says so. Sound that is not fresh has waited
     * for us; and PipeWire's times are wrong until they have settled after that. */
    bool has_paused = gap_s > PAUSE_S && arrived_ns - last_block_ns > (int64_t)(PAUSE_S * 1e9) &&
                      arrived_ns - end_ns < (int64_t)(FRESH_S * 1e9);
    bool is_gap = has_overrun || stream->resumes || has_paused;
    if (is_gap) {
        stream->resumes = false;
        COUNT(stream->overruns, 1);
        rva_chain_note_loss(stream->chain, gap_s > 0 ? (uint64_t)(gap_s * stream->rate_hz + 0.5) : 0);
    }
    /* Where nothing was lost, time has gone on by the block's length. A server's last times before its source dies are
     * off by some 30 ms, and are not to decide how long the gap is. */
    int64_t expected_ns = previous_ns + (int64_t)((double)samples * 1e9 / stream->rate_hz), error_ns = end_ns - expected_ns;
    bool is_steady = previous_ns && !is_gap && llabs(error_ns) < (int64_t)(PAUSE_S * 1e9);
    atomic_store_explicit(&stream->captured_ns, is_steady ? expected_ns + error_ns / STEADINESS : end_ns, memory_order_relaxed);
    rva_chain_push(stream->chain, block, samples, end_ns);
    COUNT(stream->blocks, 1);
    atomic_store_explicit(&stream->last_block_ns, arrived_ns, memory_order_relaxed);
    int64_t duration_ns = rva_clock_ns() - arrived_ns;
    if (duration_ns > READ(stream->longest_block_ns))
        atomic_store_explicit(&stream->longest_block_ns, duration_ns, memory_order_relaxed);
    COUNT(stream->durations[bucket_of(duration_ns)], 1);
}

RVA_REALTIME static void wake_consumer(const rva_stream *stream) {
    const uint64_t one = 1;
    /* A full pipe or eventfd wakes the consumer just as well. */
    if (stream->wake_fd >= 0 && write(stream->wake_fd, &one, sizeof one) < 0) return;
}

RVA_REALTIME void rva_stream_finish(rva_stream *stream, int32_t code) {
    int32_t none = 0;
    atomic_compare_exchange_strong(&stream->finish_code, &none, code);
    atomic_store_explicit(&stream->has_finished, 1, memory_order_release);
    wake_consumer(stream);
}

void rva_stream_watch(rva_stream *stream, int64_t stall_ns) {
    atomic_store_explicit(&stream->stall_ns, stall_ns, memory_order_relaxed);
}

RVA_REALTIME int64_t rva_stream_look(rva_stream *stream, int64_t now_ns) {
    const int64_t stall_ns = READ(stream->stall_ns), last_ns = READ(stream->last_block_ns);
    if (!stall_ns || !last_ns) return INT64_MAX;
    if (now_ns - last_ns < stall_ns) return last_ns + stall_ns - now_ns;
    if (stream->told_ns != last_ns) {
        stream->told_ns = last_ns;
        wake_consumer(stream);
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
