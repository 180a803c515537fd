#include "resample/rva_resample.h"

#include <stdlib.h>
#include <string.h>

#include "resample/rva_filter.h"
#include "resample/rva_kernel.h"
#include "resample/rva_polyphase.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O2") /* loops are in the kernels; here less code is less to fetch when a callback finds its caches cold */
#endif

/* Kernels read and write up to this many floats beyond what counts. */
#define SLACK (2 * RVA_KERNEL_LANES_MAX)
/* Half a chunk, what a half band looks around for, and what it has before its beginning. */
#define HALF_ROOM (RVA_RESAMPLE_CHUNK / 2 + 4 * RVA_FILTER_SIDE_MAX + SLACK)
/* More than the samples from before time zero that half bands and a first bank make. */
#define EARLY_MAX 64
/* How many outputs before time zero the wide prototype, 0.9 ms long, can make of sound at 24 kHz; and some. */
#define FIRST_BANK_EARLY 12

/* A half band's input in its two phases; odd[0 .. taps) lies before the sample that even[0] is. */
typedef struct {
    _Alignas(RVA_CACHE_LINE) float even[HALF_ROOM], odd[HALF_ROOM];
    size_t evens, odds; /* held; odds counts the `taps` older ones too */
    bool expects_odd;   /* of the next sample */
} rva_splitter;

struct rva_resampler {
    rva_filter filter;
    const rva_kernel *kernel;
    int64_t fed, made; /* input samples taken, outputs given, since the beginning */
    rva_polyphase banks[RVA_FILTER_BANKS_MAX];
    /* input and output of all stages, from RVA_POLYPHASE_BEFORE on: each takes all of its input before it writes */
    _Alignas(RVA_CACHE_LINE) float samples[RVA_POLYPHASE_BEFORE + RVA_RESAMPLE_OUTPUTS + RVA_POLYPHASE_BEHIND];
    rva_splitter splitters[]; /* one for each half band */
};

/* Everything is silence before the first sample; half bands and a first bank have outputs that lie before it. */
RVA_REALTIME static void rewind_state(rva_resampler *r) {
    uint32_t early = 0; /* samples that a stage gets from before time zero: an even number */
    r->fed = r->made = 0;
    for (uint32_t s = 0; s < r->filter.half_count; s++) {
        rva_splitter *splitter = &r->splitters[s];
        const uint32_t taps = r->filter.halves[s].taps, outputs = (early / 2 + taps + 1) / 2 * 2;
        splitter->evens = outputs - early / 2;
        splitter->odds = splitter->evens + taps;
        splitter->expects_odd = false;
        memset(splitter->even, 0, splitter->evens * sizeof *splitter->even);
        memset(splitter->odd, 0, splitter->odds * sizeof *splitter->odd);
        early = outputs;
    }
    for (uint32_t b = 0; b < r->filter.bank_count; b++) {
        const rva_filter_bank *bank = &r->filter.banks[b];
        uint32_t outputs = b + 1 < r->filter.bank_count ? FIRST_BANK_EARLY : 0;
        if (bank->is_tiled) outputs = (outputs + bank->up - 1) / bank->up * bank->up;
        rva_polyphase_rewind(&r->banks[b], early, outputs);
        early = outputs;
    }
}

int rva_resample_open(const rva_config *config, rva_resampler **resampler) {
    *resampler = NULL;
    const rva_kernel *kernel = rva_kernel_find(getenv("RAVATAR_AUDIO_KERNEL"));
    if (!kernel) return RVA_ERROR_KERNEL;
    rva_filter filter;
    int code = rva_filter_open(&filter, config->rate_hz, config->profile, config->phase, kernel->lanes);
    size_t bytes = sizeof(rva_resampler) + filter.half_count * sizeof(rva_splitter);
    rva_resampler *r = code == RVA_OK ? aligned_alloc(RVA_CACHE_LINE, rva_rt_whole_lines(bytes)) : NULL;
    if (!r) {
        rva_filter_close(&filter);
        return code == RVA_OK ? RVA_ERROR_MEMORY : code;
    }
    memset(r, 0, bytes);
    r->filter = filter;
    r->kernel = kernel;
    size_t room = (RVA_RESAMPLE_CHUNK >> filter.half_count) + EARLY_MAX;
    for (uint32_t b = 0; b < filter.bank_count && code == RVA_OK; b++) {
        const rva_filter_bank *bank = &r->filter.banks[b];
        code = rva_polyphase_open(&r->banks[b], bank, kernel, room);
        room = room * bank->up / bank->down + EARLY_MAX;
    }
    if (code != RVA_OK) {
        rva_resample_close(r);
        return code;
    }
    rewind_state(r);
    *resampler = r;
    return RVA_OK;
}

void rva_resample_close(rva_resampler *r) {
    if (!r) return;
    for (uint32_t b = 0; b < RVA_FILTER_BANKS_MAX; b++) rva_polyphase_close(&r->banks[b]);
    rva_filter_close(&r->filter);
    free(r);
}

/* Deals samples out to the two phases of a half band. */
RVA_CALLBACK static void split(const rva_kernel *kernel, rva_splitter *splitter, const float *samples, size_t count) {
    if (splitter->expects_odd) {
        splitter->odd[splitter->odds++] = *samples++;
        count--;
        splitter->expects_odd = false;
    }
    const size_t pairs = count / 2;
    float *const to[2] = {splitter->even + splitter->evens, splitter->odd + splitter->odds};
    kernel->deal(samples, pairs, 2, to, 0);
    splitter->evens += pairs;
    splitter->odds += pairs;
    if (count % 2) {
        splitter->even[splitter->evens++] = samples[count - 1];
        splitter->expects_odd = true;
    }
}

/* Runs one half band over what is new, writes in place of the samples, and returns how many it wrote. */
RVA_CALLBACK static size_t halve(const rva_kernel *kernel, const rva_filter_half *half, rva_splitter *splitter,
                                 float *samples, size_t count) {
    if (count) split(kernel, splitter, samples, count);
    /* y[j] needs even[j] and odd[.. j + taps - 1], of which `taps` lie before j */
    const size_t whole = splitter->odds < 2 * half->taps - 1 ? 0 : splitter->odds - (2 * half->taps - 1);
    const size_t ready = whole < splitter->evens ? whole : splitter->evens;
    kernel->half_band(splitter->even, splitter->odd + half->taps, half, ready, samples);
    splitter->evens -= ready;
    splitter->odds -= ready;
    rva_kernel_shift(splitter->even, splitter->even + ready, splitter->evens);
    rva_kernel_shift(splitter->odd, splitter->odd + ready, splitter->odds);
    return ready;
}

RVA_CALLBACK float *rva_resample_input(rva_resampler *r) { return r->samples + RVA_POLYPHASE_BEFORE; }

/* Writes up to `most` outputs in place of the input. */
RVA_CALLBACK static size_t run(rva_resampler *r, size_t count, size_t most) {
    float *const samples = rva_resample_input(r);
    for (uint32_t s = 0; s < r->filter.half_count; s++)
        count = halve(r->kernel, &r->filter.halves[s], &r->splitters[s], samples, count);
    for (uint32_t b = 0; b < r->filter.bank_count; b++)
        count = rva_polyphase_run(&r->banks[b], samples, count, b + 1 < r->filter.bank_count ? SIZE_MAX : most);
    r->made += (int64_t)count;
    return count;
}

RVA_CALLBACK size_t rva_resample_run(rva_resampler *r, size_t samples, float **outputs) {
    r->fed += (int64_t)samples;
    *outputs = rva_resample_input(r);
    if (r->filter.bank_count) return run(r, samples, SIZE_MAX);
    r->made += (int64_t)samples;
    return samples;
}

RVA_CALLBACK size_t rva_resample_take_int16(rva_resampler *r, const int16_t *samples, size_t count, float scale,
                                            uint32_t *clipped) {
    if (!r->filter.half_count) return 0;
    rva_splitter *splitter = &r->splitters[0];
    const size_t pairs = count / 2 & ~(size_t)(r->kernel->lanes - 1);
    float *const even = splitter->even + splitter->evens, *const odd = splitter->odd + splitter->odds;
    const bool swapped = splitter->expects_odd;
    *clipped += r->kernel->deal_int16(samples, pairs, scale, swapped ? odd : even, swapped ? even : odd);
    splitter->evens += pairs;
    splitter->odds += pairs;
    r->fed += (int64_t)(2 * pairs);
    return 2 * pairs;
}

RVA_REALTIME size_t rva_resample_end(rva_resampler *r, float *outputs) {
    const int64_t up = r->filter.ratio_up, down = r->filter.ratio_down, total = (r->fed * up + down - 1) / down;
    size_t made = 0;
    while (r->made < total) {
        memset(rva_resample_input(r), 0, RVA_RESAMPLE_CHUNK * sizeof *outputs);
        const size_t count = run(r, RVA_RESAMPLE_CHUNK, (size_t)(total - r->made));
        memcpy(outputs + made, rva_resample_input(r), count * sizeof *outputs);
        made += count;
    }
    rewind_state(r);
    return made;
}

RVA_REALTIME double rva_resample_ahead_samples(const rva_resampler *r) {
    const int64_t scaled = r->made * r->filter.ratio_down, up = r->filter.ratio_up;
    return (double)(r->fed - 1 - scaled / up) - (double)(scaled % up) / (double)up;
}

RVA_REALTIME uint64_t rva_resample_due_samples(const rva_resampler *r, uint64_t outputs) {
    const double last = (double)(r->made + (int64_t)outputs - 1) + r->filter.lookahead_s * RVA_RATE_HZ + 1e-6;
    const int64_t due = (int64_t)(last * r->filter.ratio_down / r->filter.ratio_up) + 1 - r->fed;
    return due > 0 ? (uint64_t)due : 1;
}

double rva_resample_group_delay_s(const rva_resampler *r) { return r->filter.group_delay_s; }

const char *rva_resample_kernel(const rva_resampler *r) { return r->kernel->name; }
