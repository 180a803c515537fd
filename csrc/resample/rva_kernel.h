/* rva_kernel - the inner loops of resampling and of spectra, once for each instruction set. Internal.
 *
 * Each kernel adds up in an order of its own, which depends on the filter only, never on where a block begins or ends:
 * so one kernel's output is bit-identical however the input is cut, and two kernels agree to far less than one LSB. */
#ifndef RVA_KERNEL_H
#define RVA_KERNEL_H

#include <string.h>

#include "resample/rva_filter.h"
#include "core/rva_rt.h"
#include "voice/rva_spectrum.h"

#define RVA_KERNEL_LANES_MAX 16
#define RVA_KERNEL_WIDE_MAX 11 /* vectors that a tile is made of, at most */

typedef struct {
    const char *name;
    uint32_t lanes;             /* a power of two; rows are a multiple of this long; tiles write as many cycles at a time */
    bool (*is_supported)(void); /* by this processor; may make system calls, called at open only */

    /* Deals samples out: to[r][at + i] = samples[i * ways + r], i < count. Reads and writes up to a whole number of lanes of
     * each. */
    RVA_REALTIME void (*deal)(const float *samples, size_t count, uint32_t ways, float *const *to, size_t at);

    /* The same two ways of int16 samples, times `scale`: first[i] = samples[2 * i] * scale, i < pairs, which are a multiple of
     * `lanes` and below 2^15. Touches nothing beyond these, and returns how many are at full scale. */
    RVA_REALTIME uint32_t (*deal_int16)(const int16_t *samples, size_t pairs, float scale, float *first, float *second);

    /* y[j] = even[j] / 2 + sum side[k] * (odd[j + k] + odd[j - k - 1]), j < count */
    RVA_REALTIME void (*half_band)(const float *even, const float *odd, const rva_filter_half *half, size_t count,
                                   float *y);

    /* `count` outputs of a bank in rows, the first at *index + *phase / up of the history; steps these. */
    RVA_REALTIME void (*rows)(const rva_filter_bank *bank, const float *history, size_t *index, uint32_t *phase,
                              size_t count, float *y);

    /* All outputs of `count` cycles: y[j * up + p] is phase p of cycle j, streams[r][j + q] the samples that the table's
     * (r, q) belongs to. Reads and writes RVA_KERNEL_WIDE_MAX times RVA_KERNEL_LANES_MAX cycles if there are fewer, else
     * up to a whole number of lanes of cycles. */
    RVA_REALTIME void (*tile)(const rva_filter_bank *bank, float *const *streams, size_t count, float *y);

    const rva_spectrum *spectrum; /* echo cancellation's */
} rva_kernel;

/* Steps a position by one output. */
RVA_REALTIME static inline void rva_kernel_step(const rva_filter_bank *bank, size_t *index, uint32_t *phase) {
    const uint32_t next = *phase + bank->down_phase;
    const uint32_t wrapped = next >= bank->up;
    *index += bank->down_index + wrapped;
    *phase = next - (wrapped ? bank->up : 0);
}

/* Moves floats to lower memory, and up to RVA_KERNEL_LANES_MAX - 1 behind them too. They are few, and memmove is code in pages of
 * its own, which a callback would find cold. */
RVA_CALLBACK static inline void rva_kernel_shift(float *to, const float *from, size_t count) {
    for (size_t i = 0; i < count; i += RVA_KERNEL_LANES_MAX) {
        float lanes[RVA_KERNEL_LANES_MAX];
        memcpy(lanes, from + i, sizeof lanes);
        memcpy(to + i, lanes, sizeof lanes);
    }
}

/* Of an interpolated bank: the first of the four rows around a phase, and how far between the middle two it is. */
RVA_REALTIME static inline const float *rva_kernel_rows_at(const rva_filter_bank *bank, uint32_t phase, float *u) {
    const double at = (double)phase * bank->grid_per_phase;
    const uint32_t row = (uint32_t)at;
    *u = (float)(at - row);
    return bank->table + (size_t)row * bank->taps;
}

/* Cubic Lagrange interpolation at `u` in [0, 1) between y[1] and y[2]. */
RVA_REALTIME static inline float rva_kernel_between(const float y[4], float u) {
    const float p = u + 1.0f, q = u - 1.0f, r = u - 2.0f;
    return (p * q * r * 0.5f * y[1] - u * q * r * (1.0f / 6.0f) * y[0]) +
           (p * u * q * (1.0f / 6.0f) * y[3] - p * u * r * 0.5f * y[2]);
}

/* The fastest kernel that this processor runs, or the one that `name` asks for (NULL or empty: no wish); NULL when that
 * does not exist here. Not real-time safe. */
const rva_kernel *rva_kernel_find(const char *name);

extern const rva_kernel rva_kernel_portable;
#if defined(__x86_64__) || defined(__i386__)
extern const rva_kernel rva_kernel_sse2, rva_kernel_avx2, rva_kernel_avx512;
#elif defined(__aarch64__) || defined(__arm__)
extern const rva_kernel rva_kernel_neon;
#endif

#endif
