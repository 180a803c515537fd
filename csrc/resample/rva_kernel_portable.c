/* The kernel in plain C, for any processor, and the plainest statement of what the others do. */
#include "resample/rva_kernel.h"

#define LANES 8

static bool is_supported(void) { return true; }

RVA_REALTIME static void deal(const float *samples, size_t count, uint32_t ways, float *const *to, size_t at) {
    for (uint32_t r = 0; r < ways; r++)
        for (size_t i = 0; i < count; i++) to[r][at + i] = samples[i * ways + r];
}

RVA_REALTIME static uint32_t deal_int16(const int16_t *samples, size_t pairs, float scale, float *first, float *second) {
    uint32_t clipped = 0;
    for (size_t i = 0; i < pairs; i++) {
        const int16_t a = samples[2 * i], b = samples[2 * i + 1];
        first[i] = (float)a * scale;
        second[i] = (float)b * scale;
        clipped += (uint32_t)(a == INT16_MAX) + (uint32_t)(a == INT16_MIN);
        clipped += (uint32_t)(b == INT16_MAX) + (uint32_t)(b == INT16_MIN);
    }
    return clipped;
}

RVA_REALTIME static void half_band(const float *even, const float *odd, const rva_filter_half *half, size_t count,
                                   float *y) {
    for (size_t j = 0; j < count; j++) y[j] = 0.5f * even[j];
    for (uint32_t k = 0; k < half->taps; k++) {
        const float side = half->side[k], *older = odd - k - 1, *newer = odd + k;
        for (size_t j = 0; j < count; j++) y[j] += side * (older[j] + newer[j]);
    }
}

RVA_REALTIME static float dot(const float *row, const float *window, uint32_t taps) {
    float lanes[LANES] = {0};
    for (uint32_t k = 0; k < taps; k += LANES)
        for (uint32_t i = 0; i < LANES; i++) lanes[i] += row[k + i] * window[k + i];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

RVA_REALTIME static void rows(const rva_filter_bank *bank, const float *history, size_t *index, uint32_t *phase,
                              size_t count, float *y) {
    const float *first = history + bank->after + 1 - bank->taps;
    for (size_t n = 0; n < count; n++) {
        if (bank->is_interpolated) {
            float u, around[4];
            const float *row = rva_kernel_rows_at(bank, *phase, &u);
            for (uint32_t i = 0; i < 4; i++) around[i] = dot(row + i * bank->taps, first + *index, bank->taps);
            y[n] = rva_kernel_between(around, u);
        } else {
            y[n] = dot(bank->table + (size_t)*phase * bank->taps, first + *index, bank->taps);
        }
        rva_kernel_step(bank, index, phase);
    }
}

/* `phases` of LANES cycles from `at` on; a constant where it is called. */
static inline __attribute__((always_inline)) void tile_lanes(const rva_filter_bank *bank, float *const *streams,
                                                             size_t at, const float *next, int phases, float *y) {
    float first[LANES] = {0}, second[LANES] = {0};
    for (uint32_t r = 0; r < bank->down; r++) {
        const float *samples = streams[r] + at;
        for (uint32_t q = 0; q < bank->cycles; q++, samples++, next += phases) {
            for (int i = 0; i < LANES; i++) {
                first[i] += next[0] * samples[i];
                if (phases == 2) second[i] += next[1] * samples[i];
            }
        }
    }
    for (size_t i = 0; i < LANES; i++, at++) {
        y[at * bank->up] = first[i];
        if (phases == 2) y[at * bank->up + 1] = second[i];
    }
}

RVA_REALTIME static void tile(const rva_filter_bank *bank, float *const *streams, size_t count, float *y) {
    for (uint32_t p = 0; p < bank->up; p += 2) {
        const float *table = bank->table + (size_t)p * bank->down * bank->cycles;
        for (size_t at = 0; at < count; at += LANES) {
            if (p + 2 <= bank->up) tile_lanes(bank, streams, at, table, 2, y + p);
            else tile_lanes(bank, streams, at, table, 1, y + p);
        }
    }
}

#undef LANES
#define LANES 1
typedef float lanes;

#include "resample/rva_lanes.h"
#include "voice/rva_spectrum_lanes.h"

const rva_kernel rva_kernel_portable = {
    .name = "portable",
    .lanes = 8,
    .is_supported = is_supported,
    .deal = deal,
    .deal_int16 = deal_int16,
    .half_band = half_band,
    .rows = rows,
    .tile = tile,
    .spectrum = &spectrum,
};
