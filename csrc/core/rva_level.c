#include "core/rva_level.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef struct {
    uint64_t energy;
    int32_t low, high;
    size_t sounding; /* samples up to the last one that is not zero */
} summary;

/* All whole eights of the samples; returns how many samples these are. At most RVA_HOP_SAMPLES, so that 16 bits count them. */
static inline size_t add_eights(summary *sum, const int16_t *pcm, size_t count) {
    size_t i = 0;
#if defined(__SSE2__)
    const __m128i zero = _mm_setzero_si128();
    __m128i energy = zero, low = zero, high = zero, sounding = zero, number = _mm_setr_epi16(1, 2, 3, 4, 5, 6, 7, 8);
    for (; i + 8 <= count; i += 8) {
        const __m128i value = _mm_loadu_si128((const __m128i *)(const void *)(pcm + i));
        const __m128i squares = _mm_madd_epi16(value, value); /* two by two: up to 2^31, without sign */
        energy = _mm_add_epi64(energy, _mm_unpacklo_epi32(squares, zero));
        energy = _mm_add_epi64(energy, _mm_unpackhi_epi32(squares, zero));
        low = _mm_min_epi16(low, value);
        high = _mm_max_epi16(high, value);
        sounding = _mm_max_epi16(sounding, _mm_andnot_si128(_mm_cmpeq_epi16(value, zero), number));
        number = _mm_add_epi16(number, _mm_set1_epi16(8));
    }
    uint64_t energies[2];
    int16_t lows[8], highs[8], soundings[8];
    _mm_storeu_si128((__m128i *)(void *)energies, energy);
    _mm_storeu_si128((__m128i *)(void *)lows, low);
    _mm_storeu_si128((__m128i *)(void *)highs, high);
    _mm_storeu_si128((__m128i *)(void *)soundings, sounding);
    sum->energy = energies[0] + energies[1];
    for (int lane = 0; lane < 8; lane++) {
        sum->low = lows[lane] < sum->low ? lows[lane] : sum->low;
        sum->high = highs[lane] > sum->high ? highs[lane] : sum->high;
        sum->sounding = (size_t)soundings[lane] > sum->sounding ? (size_t)soundings[lane] : sum->sounding;
    }
#elif defined(__aarch64__)
    static const uint16_t first[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint64x2_t energy = vdupq_n_u64(0);
    int16x8_t low = vdupq_n_s16(0), high = low;
    uint16x8_t sounding = vdupq_n_u16(0), number = vld1q_u16(first);
    for (; i + 8 <= count; i += 8) {
        const int16x8_t value = vld1q_s16(pcm + i);
        energy = vpadalq_u32(energy, vreinterpretq_u32_s32(vmull_s16(vget_low_s16(value), vget_low_s16(value))));
        energy = vpadalq_u32(energy, vreinterpretq_u32_s32(vmull_high_s16(value, value)));
        low = vminq_s16(low, value);
        high = vmaxq_s16(high, value);
        sounding = vmaxq_u16(sounding, vandq_u16(vtstq_s16(value, value), number));
        number = vaddq_u16(number, vdupq_n_u16(8));
    }
    sum->energy = vaddvq_u64(energy);
    sum->low = vminvq_s16(low);
    sum->high = vmaxvq_s16(high);
    sum->sounding = vmaxvq_u16(sounding);
#else
    (void)sum, (void)pcm, (void)count;
#endif
    return i;
}

RVA_CALLBACK void rva_level_add(rva_hop *hop, const int16_t *pcm, size_t count) {
    summary sum = {0};
    for (size_t i = add_eights(&sum, pcm, count); i < count; i++) {
        const int32_t value = pcm[i];
        sum.energy += (uint32_t)(value * value);
        sum.low = value < sum.low ? value : sum.low;
        sum.high = value > sum.high ? value : sum.high;
        sum.sounding = value ? i + 1 : sum.sounding;
    }
    const uint32_t peak = (uint32_t)(sum.high > -sum.low ? sum.high : -sum.low);
    uint64_t run = count - sum.sounding;
    if (run == count) run += hop->zero_run_samples;
    hop->zero_run_samples = run > UINT32_MAX ? UINT32_MAX : (uint32_t)run;
    hop->energy += sum.energy;
    hop->length_samples += (uint32_t)count;
    hop->peak = peak > hop->peak ? peak : hop->peak;
}
