/* Plain C, for any processor; the lanes let a compiler vectorise what it can without changing any order. */
#include "rva_kernel.h"

#define LANES RVA_FILTER_LANES

static bool is_supported(void) { return true; }

RVA_REALTIME static void half_band(const float *even, const float *odd, const rva_filter_stage *stage, size_t count,
                                   float *y) {
    for (size_t j = 0; j < count; j++) y[j] = 0.5f * even[j];
    for (uint32_t k = 0; k < stage->taps; k++) {
        const float side = stage->side[k], *older = odd - k - 1, *newer = odd + k;
        for (size_t j = 0; j < count; j++) y[j] += side * (older[j] + newer[j]);
    }
}

RVA_REALTIME static float dot(const float *row, const float *window, uint32_t taps) {
    float lanes[LANES] = {0};
    for (uint32_t k = 0; k < taps; k += LANES)
        for (uint32_t i = 0; i < LANES; i++) lanes[i] += row[k + i] * window[k + i];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/* Cubic Lagrange interpolation between the four rows around the phase. */
RVA_REALTIME static float dot_between(const rva_filter *filter, const float *window, uint32_t phase) {
    uint64_t scaled = (uint64_t)phase * RVA_FILTER_GRID;
    const float *row = filter->table + scaled / filter->up * filter->taps;
    const float u = (float)(scaled % filter->up) / (float)filter->up;
    const float a = dot(row, window, filter->taps), b = dot(row + filter->taps, window, filter->taps);
    const float c = dot(row + 2 * filter->taps, window, filter->taps);
    const float d = dot(row + 3 * filter->taps, window, filter->taps);
    return rva_filter_between(a, b, c, d, u);
}

RVA_REALTIME static void polyphase(const rva_filter *filter, const float *history, size_t *index, uint32_t *phase,
                                   size_t count, float *y) {
    const float *first = history + filter->after + 1 - filter->taps;
    for (size_t n = 0; n < count; n++) {
        const float *window = first + *index;
        y[n] = filter->is_interpolated ? dot_between(filter, window, *phase)
                                       : dot(filter->table + (size_t)*phase * filter->taps, window, filter->taps);
        rva_filter_step(filter, index, phase);
    }
}

const rva_kernel rva_kernel_portable = {
    .name = "portable",
    .is_supported = is_supported,
    .half_band = half_band,
    .polyphase = polyphase,
};
