/* The vector kernels' common body, on the compilers' own vector types. The including file has defined, for its
 * instruction set: LANES, the type `lanes` of as many floats, MULTIPLY_ADD(a, b, c) = a * b + c, where the compiler's own
 * operators will not do also MULTIPLY(a, b) and ADD(a, b), SUM4(a, b, c, d, y), which writes the sum over the lanes of each
 * to y[0..3], IN_REGISTER(a), which keeps the compiler from loading a twice, INTERLEAVE(a, b, low, high), which makes
 * a0 b0 a1 b1 ... of a and b, and is_supported(). No include guard: one inclusion is one kernel. A callback finds its caches
 * cold: what runs in most of them is kept short, and out of the way of the rest. */
#include "resample/rva_lanes.h"

/* Vectors of outputs of one and of two phases at once: no more than the registers hold, and few to spare for the cycles that
 * 10 ms make, one more than 160 and than 80. */
#define WIDE1 (LANES == 16 ? 11 : 7)
#ifdef __arm__
#define WIDE2 5
#else
#define WIDE2 6
#endif

typedef int32_t words __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef int16_t shorts __attribute__((vector_size(2 * LANES * sizeof(int16_t))));

__attribute__((noinline)) RVA_REALTIME static void deal_any(const float *samples, size_t each, uint32_t ways,
                                                           float *const *to, size_t at) {
    for (uint32_t r = 0; r < ways; r++)
        for (size_t i = 0; i < each; i++) to[r][at + i] = samples[i * ways + r];
}

/* With `ways` a constant the compiler finds the shuffles; of whole vectors only, as the code for a rest would be several
 * times as long. */
INLINE void deal_ways(const float *restrict samples, size_t each, uint32_t ways, float *const *to,
                      size_t at) {
    float *restrict a = to[0] + at, *restrict b = to[1] + at, *restrict c = to[ways > 2 ? 2 : 1] + at;
    each = (each + LANES - 1) / LANES * LANES;
    for (size_t i = 0; i < each; i++) {
        a[i] = samples[i * ways];
        b[i] = samples[i * ways + 1];
        if (ways > 2) c[i] = samples[i * ways + 2];
    }
}

RVA_CALLBACK static void deal(const float *samples, size_t each, uint32_t ways, float *const *to, size_t at) {
    if (ways == 2) deal_ways(samples, each, 2, to, at);
    else if (ways == 3) deal_ways(samples, each, 3, to, at);
    else deal_any(samples, each, ways, to, at);
}

/* A word holds a pair, so that shifts alone take it apart. What is at full scale is counted in 16 bits, up to once for each
 * vector; the four sums of a word cannot carry into one another either. */
RVA_CALLBACK static uint32_t deal_int16(const int16_t *samples, size_t pairs, float scale, float *first, float *second) {
    const int later = RVA_FIRST_IS_HIGHEST ? 16 : 0;
    shorts clipped = {0};
    for (size_t i = 0; i < pairs; i += LANES) {
        words both;
        memcpy(&both, samples + 2 * i, sizeof both);
        store(first + i, MULTIPLY(__builtin_convertvector((both << (16 - later)) >> 16, lanes), splat(scale)));
        store(second + i, MULTIPLY(__builtin_convertvector((both << later) >> 16, lanes), splat(scale)));
        const shorts values = (shorts)both;
        clipped -= (values ^ (values >> 15)) == INT16_MAX; /* what is equal is -1 */
    }
    uint64_t counts[sizeof clipped / sizeof(uint64_t)], total = 0;
    memcpy(counts, &clipped, sizeof counts);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) total += counts[i];
    return (uint32_t)(total * 0x0001000100010001u >> 48);
}

/* Two vectors at a time, as one alone would wait for itself. */
RVA_CALLBACK static void half_band(const float *even, const float *odd, const rva_filter_half *half, size_t count,
                                   float *y) {
    const lanes centre = splat(0.5f);
    for (size_t j = 0; j < count; j += 2 * LANES) {
        lanes a = MULTIPLY(centre, load(even + j)), b = MULTIPLY(centre, load(even + j + LANES));
        const float *older = odd + j - 1, *newer = odd + j;
        for (uint32_t k = 0; k < half->taps; k++, older--, newer++) {
            const lanes side = splat(half->side[k]);
            a = MULTIPLY_ADD(side, ADD(load(older), load(newer)), a);
            b = MULTIPLY_ADD(side, ADD(load(older + LANES), load(newer + LANES)), b);
        }
        store(y + j, a);
        store(y + j + LANES, b);
    }
}

/* Four sums of products at a time, as one alone would wait for itself. */
INLINE void dot4(const float *const rows[4], const float *const windows[4], uint32_t taps, float *y) {
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    for (uint32_t k = 0; k < taps; k += LANES) {
        a = MULTIPLY_ADD(load(rows[0] + k), load(windows[0] + k), a);
        b = MULTIPLY_ADD(load(rows[1] + k), load(windows[1] + k), b);
        c = MULTIPLY_ADD(load(rows[2] + k), load(windows[2] + k), c);
        d = MULTIPLY_ADD(load(rows[3] + k), load(windows[3] + k), d);
    }
    SUM4(a, b, c, d, y);
}

RVA_REALTIME static void rows_by_phase(const rva_filter_bank *bank, const float *first, size_t *index, uint32_t *phase,
                                       size_t count, float *y) {
    const uint32_t taps = bank->taps;
    size_t at = *index, n = 0;
    uint32_t p = *phase;
    const float *rows[4], *windows[4];
    for (; n + 4 <= count; n += 4) {
        for (int i = 0; i < 4; i++) {
            rows[i] = bank->table + (size_t)p * taps;
            windows[i] = first + at;
            rva_kernel_step(bank, &at, &p);
        }
        dot4(rows, windows, taps, y + n);
    }
    for (; n < count; n++) { /* the last few in the same way, so that all are added up alike */
        float four[4];
        for (int i = 0; i < 4; i++) rows[i] = bank->table + (size_t)p * taps, windows[i] = first + at;
        dot4(rows, windows, taps, four);
        y[n] = four[0];
        rva_kernel_step(bank, &at, &p);
    }
    *index = at;
    *phase = p;
}

RVA_REALTIME static void rows_between(const rva_filter_bank *bank, const float *first, size_t *index, uint32_t *phase,
                                      size_t count, float *y) {
    const uint32_t taps = bank->taps;
    for (size_t n = 0; n < count; n++) {
        float u, around[4];
        const float *row = rva_kernel_rows_at(bank, *phase, &u), *window = first + *index;
        const float *const rows[4] = {row, row + taps, row + 2 * taps, row + 3 * taps};
        const float *const windows[4] = {window, window, window, window};
        dot4(rows, windows, taps, around);
        y[n] = rva_kernel_between(around, u);
        rva_kernel_step(bank, index, phase);
    }
}

RVA_REALTIME static void rows(const rva_filter_bank *bank, const float *history, size_t *index, uint32_t *phase,
                              size_t count, float *y) {
    const float *first = history + bank->after + 1 - bank->taps;
    (bank->is_interpolated ? rows_between : rows_by_phase)(bank, first, index, phase, count, y);
}

/* One or two phases of many to where they belong. */
__attribute__((noinline)) RVA_REALTIME static void scatter(const float *sums, size_t count, uint32_t up, float *y) {
    for (size_t j = 0; j < count; j++) y[j * up] = sums[j];
}

/* `wide` vectors of cycles, of one or two phases; both are constants where it is called. */
INLINE void tile_block(const rva_filter_bank *bank, float *const *streams, size_t at, const float *table, int phases,
                       int wide, float *y) {
    lanes sums[2][WIDE1];
    for (int p = 0; p < phases; p++)
        for (int v = 0; v < wide; v++) sums[p][v] = (lanes){0};
    for (uint32_t r = 0; r < bank->down; r++) {
        const float *samples = streams[r] + at, *const end = samples + bank->cycles;
        for (; samples < end; samples++, table += phases) {
            const lanes first = splat(table[0]), second = splat(table[phases - 1]);
#pragma GCC unroll 16
            for (int v = 0; v < wide; v++) {
                lanes sample = load(samples + v * LANES);
                IN_REGISTER(sample); /* for both phases: loads are what limits this loop */
                sums[0][v] = MULTIPLY_ADD(first, sample, sums[0][v]);
                if (phases == 2) sums[1][v] = MULTIPLY_ADD(second, sample, sums[1][v]);
            }
        }
    }
    y += at * bank->up;
    if (__builtin_expect(phases == 2 && bank->up == 2, 1)) { /* from 24 kHz */
#pragma GCC unroll 16
        for (int v = 0; v < wide; v++) {
            lanes low, high;
            INTERLEAVE(sums[0][v], sums[1][v], low, high);
            store(y + 2 * v * LANES, low);
            store(y + (2 * v + 1) * LANES, high);
        }
        return;
    }
    float kept[2][WIDE1 * LANES];
    for (int p = 0; p < phases; p++)
        for (int v = 0; v < wide; v++) store(kept[p] + v * LANES, sums[p][v]);
    for (int p = 0; p < phases; p++) scatter(kept[p], (size_t)wide * LANES, bank->up, y + p);
}

/* All blocks are equally wide, so that there is one piece of code to fetch: the last overlaps the one before, and the only one
 * may make more than is asked for. */
INLINE void tile_phases(const rva_filter_bank *bank, float *const *streams, size_t count, const float *table,
                        int phases, float *y) {
    const int wide = phases == 2 ? WIDE2 : WIDE1;
    const size_t vectors = (count + LANES - 1) / LANES;
    const size_t last = vectors > (size_t)wide ? vectors - (size_t)wide : 0;
    for (size_t first = 0; first < vectors; first += (size_t)wide) {
        const size_t overlapping = first < last ? first : last;
        tile_block(bank, streams, overlapping * LANES, table, phases, wide, y);
    }
}

/* The last phase of an odd number; out of the way of most callbacks. */
__attribute__((noinline)) RVA_REALTIME static void tile_one_phase(const rva_filter_bank *bank,
                                                                  float *const *streams, size_t count,
                                                                  const float *table, float *y) {
    tile_phases(bank, streams, count, table, 1, y);
}

RVA_CALLBACK static void tile(const rva_filter_bank *bank, float *const *streams, size_t count, float *y) {
    const float *table = bank->table;
    const size_t pair = (size_t)2 * bank->down * bank->cycles;
    uint32_t p = 0;
    for (; p + 2 <= bank->up; p += 2, table += pair) tile_phases(bank, streams, count, table, 2, y + p);
    if (p < bank->up) tile_one_phase(bank, streams, count, table, y + p);
}

