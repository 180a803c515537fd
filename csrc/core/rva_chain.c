/* rva_chain - convert, resample, quantise, level, frame: the whole real-time path, no device in sight (rva.h). */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/rva.h"
#include "core/rva_convert.h"
#include "core/rva_highpass.h"
#include "core/rva_level.h"
#include "core/rva_quantize.h"
#include "resample/rva_resample.h"
#include "core/rva_ring.h"
#include "core/rva_rt.h"
#include "core/rva_tap.h"

typedef struct {
    _Atomic uint64_t blocks, device_samples, converted_samples, finished_frames;
    _Atomic uint64_t dropped_frames, dropped_samples, overruns, lost_samples, clipped, wake_failures;
    _Atomic int64_t last_block_ns;
    _Atomic uint32_t open_samples;
} rva_counters;

struct rva_chain {
    rva_ring ring;
    /* written by any thread */
    _Alignas(RVA_CACHE_LINE) _Atomic uint64_t flush_at; /* position, or NO_FLUSH */
    _Atomic(rva_tap *) tap;
    /* the producer's alone from here on */
    _Alignas(RVA_CACHE_LINE) rva_counters counters; /* stored by the producer, read by anybody */
    rva_converter converter;
    rva_resampler *resampler;
    rva_highpass highpass;
    uint32_t options;
    uint32_t rate_hz;
    int wake_fd;
    int64_t end_ns;                         /* when the newest input sample was at the microphone */
    uint64_t seq, position;                 /* of the open frame */
    uint32_t filled;                        /* samples in the open frame */
    uint32_t hop_filled, clipped, zero_run; /* of the open hop; zero_run lives across hops */
    uint64_t ring_lost, device_lost;        /* to be reported with the next frame that gets through */
    uint64_t loss_seen;                     /* device samples noted but not yet worth a sample at 16 kHz, times 16,000 */
    uint32_t flags;
    float last[RVA_RESAMPLE_OUTPUTS]; /* what the resampler holds at the end */
};

#define NO_FLUSH UINT64_MAX

/* Statistics are counts of their own: nothing is ordered by them, so relaxed will do. A load and a store are enough,
 * as only the producer stores. */
#define COUNT(field, amount)                                                                                          \
    atomic_store_explicit(&(field), atomic_load_explicit(&(field), memory_order_relaxed) + (amount), memory_order_relaxed)

int rva_chain_open(const rva_config *config, rva_chain **out) {
    *out = NULL;
    rva_chain *chain = aligned_alloc(RVA_CACHE_LINE, sizeof *chain);
    if (!chain) return RVA_ERROR_MEMORY;
    memset(chain, 0, sizeof *chain);
    chain->rate_hz = config->rate_hz;
    chain->options = config->options;
    rva_highpass_open(&chain->highpass);
    chain->wake_fd = config->wake_fd;
    atomic_init(&chain->flush_at, NO_FLUSH);
    atomic_init(&chain->tap, NULL);
    int code = rva_convert_open(&chain->converter, config);
    if (code == RVA_OK) code = rva_resample_open(config, &chain->resampler);
    if (code == RVA_OK) code = rva_ring_open(&chain->ring, config->capacity_frames);
    if (code != RVA_OK) {
        rva_chain_close(chain);
        return code;
    }
    *out = chain;
    return RVA_OK;
}

void rva_chain_close(rva_chain *chain) {
    if (!chain) return;
    rva_resample_close(chain->resampler);
    rva_ring_close(&chain->ring);
    free(atomic_load_explicit(&chain->tap, memory_order_relaxed));
    free(chain);
}

RVA_REALTIME static void wake_consumer(rva_chain *chain) {
    if (chain->wake_fd < 0) return;
    const uint64_t one = 1; /* what an eventfd takes; a pipe takes it as eight bytes */
    if (write(chain->wake_fd, &one, sizeof one) != (ssize_t)sizeof one) COUNT(chain->counters.wake_failures, 1);
}

/* Closes the open hop: what belongs to the hop and is not counted by rva_level_add. */
RVA_REALTIME static void close_hop(rva_chain *chain, rva_frame *frame, rva_hop *hop) {
    hop->clipped = chain->clipped;
    frame->clipped += hop->clipped;
    frame->peak = hop->peak > frame->peak ? hop->peak : frame->peak;
    chain->zero_run = hop->zero_run_samples;
    chain->clipped = 0;
    chain->hop_filled = 0;
}

/* Hands the open frame over, or drops it when the ring is full; `captured_ns` is its last sample's time. */
RVA_REALTIME static void finish_frame(rva_chain *chain, int64_t captured_ns) {
    rva_frame *frame = rva_ring_acquire(&chain->ring);
    uint32_t length = chain->filled;
    if (chain->hop_filled) close_hop(chain, frame, &frame->hops[(length - 1) / RVA_HOP_SAMPLES]);
    memset(frame->pcm + length, 0, (RVA_FRAME_SAMPLES - length) * sizeof *frame->pcm);
    rva_quantize_to_little_endian(frame->pcm, length);
    frame->seq = chain->seq++;
    frame->position_samples = chain->position;
    frame->length_samples = length;
    frame->captured_ns = captured_ns;
    frame->ring_lost_samples = chain->ring_lost;
    frame->device_lost_samples = chain->device_lost;
    frame->flags = chain->flags | (chain->ring_lost ? RVA_FLAG_DISCONTINUITY : 0);
    frame->finished_ns = rva_clock_ns();
    chain->position += length;
    COUNT(chain->counters.finished_frames, 1);
    if (rva_ring_commit(&chain->ring)) {
        chain->ring_lost = chain->device_lost = 0;
        chain->flags = 0;
        wake_consumer(chain);
    } else {
        chain->ring_lost += length;
        chain->flags &= ~(uint32_t)RVA_FLAG_FLUSHED;
        COUNT(chain->counters.dropped_frames, 1);
        COUNT(chain->counters.dropped_samples, length);
    }
    chain->filled = 0;
    atomic_store_explicit(&chain->counters.open_samples, 0, memory_order_relaxed);
}

/* When the newest sample of the open frame was at the microphone. `left` outputs of the resampler are still to be put into
 * frames, `unfed` samples of the block are still to be resampled. */
RVA_REALTIME static int64_t captured_ns(const rva_chain *chain, size_t left, size_t unfed) {
    double behind_s = (rva_resample_ahead_samples(chain->resampler) + (double)unfed) / chain->rate_hz;
    return chain->end_ns - (int64_t)((behind_s + (double)(left + 1) / RVA_RATE_HZ) * 1e9);
}

RVA_CALLBACK static void append(rva_chain *chain, const float *samples, uint32_t count) {
    rva_frame *frame = rva_ring_acquire(&chain->ring);
    if (chain->filled == 0) {
        memset(frame->hops, 0, sizeof frame->hops);
        frame->clipped = frame->peak = 0;
    }
    rva_hop *hop = &frame->hops[chain->filled / RVA_HOP_SAMPLES];
    if (chain->hop_filled == 0) hop->zero_run_samples = chain->zero_run;
    int16_t *pcm = frame->pcm + chain->filled;
    if (chain->options & RVA_OPTION_DITHER) rva_quantize_run_dithered(samples, count, chain->position + chain->filled, pcm);
    else rva_quantize_run(samples, count, pcm);
    rva_level_add(hop, pcm, count);
    chain->filled += count;
    chain->hop_filled += count;
    if (chain->hop_filled == RVA_HOP_SAMPLES) close_hop(chain, frame, hop);
    COUNT(chain->counters.converted_samples, count);
    atomic_store_explicit(&chain->counters.open_samples, chain->filled, memory_order_relaxed);
}

/* Ends the open frame for a request that has been reached, unless another has taken its place in the meantime. */
RVA_REALTIME static void flush(rva_chain *chain, uint64_t reached, size_t left, size_t unfed) {
    if (!atomic_compare_exchange_strong_explicit(&chain->flush_at, &reached, NO_FLUSH, memory_order_relaxed,
                                                 memory_order_relaxed))
        return;
    if (chain->filled == 0) return;
    chain->flags |= RVA_FLAG_FLUSHED;
    finish_frame(chain, captured_ns(chain, left, unfed));
}

/* Puts the resampler's outputs into frames, hop by hop. */
RVA_CALLBACK static void collect(rva_chain *chain, float *samples, size_t count, size_t unfed) {
    if (chain->options & RVA_OPTION_DC_BLOCK) rva_highpass_run(&chain->highpass, samples, count);
    while (count) {
        size_t step = RVA_HOP_SAMPLES - chain->hop_filled;
        uint64_t here = chain->position + chain->filled;
        uint64_t flush_at = atomic_load_explicit(&chain->flush_at, memory_order_relaxed);
        if (flush_at > here && flush_at - here < step) step = (size_t)(flush_at - here);
        step = step < count ? step : count;
        append(chain, samples, (uint32_t)step);
        samples += step;
        count -= step;
        if (chain->filled == RVA_FRAME_SAMPLES) finish_frame(chain, captured_ns(chain, count, unfed));
        if (flush_at == here + step) flush(chain, flush_at, count, unfed);
    }
}

RVA_CALLBACK void rva_chain_push(rva_chain *chain, const void *block, size_t samples, int64_t end_ns) {
    chain->end_ns = end_ns;
    uint64_t flush_at = atomic_load_explicit(&chain->flush_at, memory_order_relaxed);
    if (flush_at <= chain->position + chain->filled) flush(chain, flush_at, 0, samples);
    rva_tap *tap = atomic_load_explicit(&chain->tap, memory_order_acquire);
    if (tap) rva_tap_take(tap, block, samples);
    const unsigned char *at = block;
    for (size_t left = samples; left;) {
        size_t step = left < RVA_RESAMPLE_CHUNK ? left : RVA_RESAMPLE_CHUNK;
        uint32_t clipped = 0;
        float *outputs;
        const size_t count = rva_convert_resample(&chain->converter, at, step, &clipped, chain->resampler, &outputs);
        chain->clipped += clipped;
        if (clipped) COUNT(chain->counters.clipped, clipped);
        at += step * chain->converter.stride_bytes;
        left -= step;
        collect(chain, outputs, count, left);
    }
    COUNT(chain->counters.blocks, 1);
    COUNT(chain->counters.device_samples, samples);
    atomic_store_explicit(&chain->counters.last_block_ns, rva_clock_ns(), memory_order_release);
}

RVA_REALTIME int rva_chain_feed(rva_chain *chain, const void *block, size_t bytes) {
    const size_t samples = bytes / chain->converter.stride_bytes;
    if (bytes != samples * chain->converter.stride_bytes) return RVA_ERROR_LENGTH;
    const uint64_t fed = atomic_load_explicit(&chain->counters.device_samples, memory_order_relaxed) + samples;
    const uint64_t seconds = fed / chain->rate_hz, rest = fed % chain->rate_hz;
    rva_chain_push(chain, block, samples, (int64_t)(seconds * 1000000000 + rest * 1000000000 / chain->rate_hz));
    return (int)rva_ring_queued(&chain->ring);
}

RVA_REALTIME void rva_chain_note_loss(rva_chain *chain, uint64_t samples) {
    /* Loss adds up exactly: what is below one sample at 16 kHz is carried on. */
    uint64_t scaled = chain->loss_seen + samples * RVA_RATE_HZ;
    chain->loss_seen = scaled % chain->rate_hz;
    chain->device_lost += scaled / chain->rate_hz;
    chain->flags |= RVA_FLAG_DISCONTINUITY;
    COUNT(chain->counters.overruns, 1);
    COUNT(chain->counters.lost_samples, scaled / chain->rate_hz);
}

RVA_REALTIME void rva_chain_request_flush(rva_chain *chain) { rva_chain_flush_at(chain, 0); }

RVA_REALTIME void rva_chain_flush_at(rva_chain *chain, uint64_t position_samples) {
    atomic_store_explicit(&chain->flush_at, position_samples, memory_order_relaxed);
}

RVA_REALTIME uint64_t rva_chain_due_samples(const rva_chain *chain) {
    const uint64_t here = chain->position + chain->filled, full = chain->position + RVA_FRAME_SAMPLES;
    const uint64_t flush_at = atomic_load_explicit(&chain->flush_at, memory_order_relaxed);
    if (flush_at <= here) return 1;
    return rva_resample_due_samples(chain->resampler, (flush_at < full ? flush_at : full) - here);
}

uint64_t rva_chain_flush_in_samples(const rva_chain *chain) {
    const uint64_t flush_at = atomic_load_explicit(&chain->flush_at, memory_order_relaxed);
    const uint64_t here = atomic_load_explicit(&chain->counters.converted_samples, memory_order_relaxed);
    return flush_at == NO_FLUSH ? UINT64_MAX : flush_at > here ? flush_at - here : 0;
}

RVA_REALTIME void rva_chain_finish(rva_chain *chain) {
    collect(chain, chain->last, rva_resample_end(chain->resampler, chain->last), 0);
    if (chain->filled) {
        chain->flags |= RVA_FLAG_FLUSHED;
        finish_frame(chain, chain->end_ns);
    }
}

const rva_frame *rva_chain_peek(rva_chain *chain) { return rva_ring_peek(&chain->ring); }

void rva_chain_advance(rva_chain *chain) { rva_ring_advance(&chain->ring); }

void rva_chain_statistics(const rva_chain *chain, rva_statistics *statistics) {
    const rva_counters *counters = &chain->counters;
#define READ(field) atomic_load_explicit(&counters->field, memory_order_relaxed)
    *statistics = (rva_statistics){
        .blocks = READ(blocks),
        .device_samples = READ(device_samples),
        .converted_samples = READ(converted_samples),
        .finished_frames = READ(finished_frames),
        .ring_dropped_frames = READ(dropped_frames),
        .ring_dropped_samples = READ(dropped_samples),
        .device_overruns = READ(overruns),
        .device_lost_samples = READ(lost_samples),
        .clipped = READ(clipped),
        .wake_failures = READ(wake_failures),
        .last_block_ns = atomic_load_explicit(&counters->last_block_ns, memory_order_acquire),
        .queued_frames = rva_ring_queued(&chain->ring),
        .open_samples = READ(open_samples),
    };
#undef READ
}

double rva_chain_group_delay_s(const rva_chain *chain) { return rva_resample_group_delay_s(chain->resampler); }

int rva_chain_tap(rva_chain *chain, size_t samples) {
    rva_tap *tap = rva_tap_make(chain->converter.stride_bytes, samples), *none = NULL;
    if (!tap) return RVA_ERROR_MEMORY;
    if (atomic_compare_exchange_strong_explicit(&chain->tap, &none, tap, memory_order_acq_rel, memory_order_relaxed)) return RVA_OK;
    free(tap);
    return RVA_ERROR_CAPACITY;
}

size_t rva_chain_tapped(const rva_chain *chain, const void **sound) {
    const rva_tap *tap = atomic_load_explicit(&chain->tap, memory_order_acquire);
    *sound = tap ? tap->sound : NULL;
    return tap ? atomic_load_explicit(&tap->filled, memory_order_acquire) : 0;
}

const char *rva_chain_kernel(const rva_chain *chain) { return rva_resample_kernel(chain->resampler); }

int64_t rva_now_ns(void) { return rva_clock_ns(); }

const char *rva_error_text(int code) {
    switch (code) {
    case RVA_OK: return "no error";
    case RVA_ERROR_RATE: return "the device's rate is outside 8,000 to 192,000 Hz";
    case RVA_ERROR_CHANNELS: return "channels are not 1 to 32, or a channel is chosen that the device does not have";
    case RVA_ERROR_FORMAT: return "the sample format is not one of int16, int24, int32, float32, uint8";
    case RVA_ERROR_CAPACITY: return "the ring's capacity is not 1 to 65,536 frames";
    case RVA_ERROR_PROFILE: return "the resampling profile or phase is unknown";
    case RVA_ERROR_KERNEL: return "RAVATAR_AUDIO_KERNEL names a kernel that does not exist or that this processor cannot run";
    case RVA_ERROR_MEMORY: return "out of memory";
    case RVA_ERROR_LENGTH: return "the bytes are no whole number of samples over all channels";
    case RVA_ERROR_GAIN: return "the gain is not -60 to +60 dB";
    default: return "unknown error";
    }
}
