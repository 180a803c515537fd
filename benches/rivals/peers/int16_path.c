/* An experiment, in no product: 48 to 16 kHz mono in int16 multiplications (pmaddwd), one filter, no stage before it.
 *
 * The filter is the core's own `balanced` in minimum phase, which is one filter too. A coefficient of 16 bits is too coarse for
 * the stop band; so small ones are kept eight times finer, and where there are larger ones, these are kept twice: coarse, and
 * what is left of them fine. Sums of both kinds become floats before lanes are added up, and cannot overflow. */
#include "contenders.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "resample/rva_filter.h"

enum { DOWN = 3, LANES = 16, TAPS_MAX = 512, MOST_SAMPLES = 480, AT_ONCE = 4 };
#define COARSE 32768.0f
#define FINE (8 * COARSE)

typedef struct {
    _Alignas(64) int16_t fine[TAPS_MAX]; /* oldest sample's first */
    int16_t coarse[TAPS_MAX];            /* from `from` on, others are zero */
    size_t taps, from, held;
    _Alignas(64) int16_t history[TAPS_MAX + 2 * MOST_SAMPLES];
} int16_state;

static void *int16_open(unsigned rate_hz, int input) {
    if (rate_hz != DOWN * OUT_HZ || input != INPUT_S16 || !__builtin_cpu_supports("avx2")) return NULL;
    rva_filter filter;
    int16_state *state = aligned_alloc(64, (sizeof *state + 63) / 64 * 64);
    if (!state || rva_filter_open(&filter, rate_hz, RVA_PROFILE_BALANCED, RVA_PHASE_MINIMUM, 16)) exit(3);
    memset(state, 0, sizeof *state);
    const rva_filter_bank *bank = &filter.banks[0];
    const size_t count = (size_t)(bank->back + 1) * DOWN; /* the newest sample that takes part is the output's own */
    state->taps = (count + LANES - 1) / LANES * LANES;
    if (!bank->is_tiled || bank->up != 1 || state->taps > TAPS_MAX) exit(3);
    state->from = state->taps;
    for (uint32_t r = 0; r < DOWN; r++)
        for (uint32_t q = 0; q < bank->cycles; q++) {
            const long age = ((long)bank->back - (long)q) * DOWN - (long)r;
            if (age < 0) continue;
            const size_t k = state->taps - 1 - (size_t)age;
            const float value = bank->table[(size_t)r * bank->cycles + q];
            float rest = value;
            if (fabsf(value) * FINE > 32767.0f) {
                state->coarse[k] = (int16_t)lrintf(value * COARSE);
                rest -= (float)state->coarse[k] / COARSE;
                if (k < state->from) state->from = k / LANES * LANES;
            }
            state->fine[k] = (int16_t)lrintf(rest * FINE);
        }
    rva_filter_close(&filter);
    state->held = state->taps - 1; /* silence before the first sample */
    return state;
}

__attribute__((target("avx2"))) static inline __m256i sum_of(__m256i sum, __m256i coefficients, const int16_t *samples) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(coefficients, _mm256_loadu_si256((const __m256i *)(const void *)samples)));
}

/* Four outputs share the load of a coefficient. */
__attribute__((target("avx2"))) static void four(const int16_state *state, const int16_t *window, int16_t *out) {
    __m256i fine[AT_ONCE] = {0}, coarse[AT_ONCE] = {0};
    for (size_t k = 0; k < state->taps; k += LANES) {
        const __m256i c = _mm256_load_si256((const __m256i *)(const void *)(state->fine + k));
        for (int i = 0; i < AT_ONCE; i++) fine[i] = sum_of(fine[i], c, window + i * DOWN + k);
    }
    for (size_t k = state->from; k < state->taps; k += LANES) {
        const __m256i c = _mm256_load_si256((const __m256i *)(const void *)(state->coarse + k));
        for (int i = 0; i < AT_ONCE; i++) coarse[i] = sum_of(coarse[i], c, window + i * DOWN + k);
    }
    __m256 sums[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++)
        sums[i] = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(fine[i]), _mm256_set1_ps(1.0f / FINE)),
                                _mm256_mul_ps(_mm256_cvtepi32_ps(coarse[i]), _mm256_set1_ps(1.0f / COARSE)));
    const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(sums[0], sums[1]), _mm256_hadd_ps(sums[2], sums[3]));
    const __m128 whole = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
    const __m128i rounded = _mm_cvtps_epi32(whole);
    _mm_storel_epi64((__m128i *)(void *)out, _mm_packs_epi32(rounded, rounded));
}

static size_t int16_process(void *opaque, const void *block, size_t samples, int16_t *out) {
    int16_state *state = opaque;
    memcpy(state->history + state->held, block, samples * sizeof *state->history);
    state->held += samples;
    const size_t count = state->held < state->taps ? 0 : (state->held - state->taps) / DOWN + 1;
    for (size_t n = 0; n < count; n += AT_ONCE) four(state, state->history + n * DOWN, out + n);
    state->held -= count * DOWN;
    memmove(state->history, state->history + count * DOWN, state->held * sizeof *state->history);
    return count;
}

const contender int16_path = {"int16 multiplications", 1, 0, 1, int16_open, int16_process, free};
#else
const contender int16_path = {"int16 multiplications", 0, 0, 0, 0, 0, 0};
#endif
