#include "core/rva_quantize.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* Adding 1.5 * 2^23 rounds a float of magnitude below 2^22 to the nearest integer, ties to even, and leaves that integer
 * in the low bits: no instruction of its own is needed, on any processor. */
static const float shifter = 12582912.0f;
static const int32_t shifter_bits = 0x4b400000;

static inline int16_t quantize(float value) {
    value = value < 32767.0f ? value : 32767.0f;
    value = value > -32768.0f ? value : -32768.0f;
    value += shifter;
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (int16_t)(bits - shifter_bits);
}

/* Eight at a time with the instructions that narrow and saturate at once, which no compiler finds; returns how many. */
static inline size_t quantize_eights(const float *samples, size_t count, int16_t *pcm) {
    size_t i = 0;
#if defined(__SSE2__)
    const __m128 scale = _mm_set1_ps(32768.0f), most = _mm_set1_ps(32767.0f); /* beyond 2^31 conversion gives -2^31 */
    for (; i + 8 <= count; i += 8) {
        const __m128 low = _mm_min_ps(_mm_mul_ps(_mm_loadu_ps(samples + i), scale), most);
        const __m128 high = _mm_min_ps(_mm_mul_ps(_mm_loadu_ps(samples + i + 4), scale), most);
        const __m128i both = _mm_packs_epi32(_mm_cvtps_epi32(low), _mm_cvtps_epi32(high));
        _mm_storeu_si128((__m128i *)(void *)(pcm + i), both);
    }
#elif defined(__aarch64__)
    for (; i + 8 <= count; i += 8) {
        const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(samples + i), 32768.0f));
        const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(samples + i + 4), 32768.0f));
        vst1q_s16(pcm + i, vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)));
    }
#else
    (void)samples, (void)count, (void)pcm;
#endif
    return i;
}

RVA_CALLBACK void rva_quantize_run(const float *restrict samples, size_t count, int16_t *restrict pcm) {
    for (size_t i = quantize_eights(samples, count, pcm); i < count; i++) {
        pcm[i] = quantize(samples[i] * 32768.0f);
#if defined(__GNUC__) && (defined(__SSE2__) || defined(__aarch64__))
        __asm__("" : : : "memory"); /* fewer than eight: no vectors, whose code would be longer than all else here */
#endif
    }
}

/* Triangular noise of two steps' width (Lipshitz, Wannamaker & Vanderkooy 1992): the sum of two uniform 16-bit numbers
 * from a hash of the sample's number, so that cutting cannot change it (finaliser of MurmurHash3). */
static inline float triangle(uint32_t n) {
    n *= 0x9e3779b9u;
    n = (n ^ n >> 16) * 0x85ebca6bu;
    n = (n ^ n >> 13) * 0xc2b2ae35u;
    n ^= n >> 16;
    return (float)(int32_t)((n & 0xffff) + (n >> 16)) * (1.0f / 65536.0f) - 65535.0f / 65536.0f;
}

RVA_REALTIME void rva_quantize_run_dithered(const float *restrict samples, size_t count, uint64_t first,
                                            int16_t *restrict pcm) {
    const uint32_t start = (uint32_t)first;
    for (size_t i = 0; i < count; i++) pcm[i] = quantize(samples[i] * 32768.0f + triangle(start + (uint32_t)i));
}

RVA_REALTIME void rva_quantize_to_little_endian(int16_t *pcm, size_t count) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (size_t i = 0; i < count; i++) {
        uint16_t value = (uint16_t)pcm[i];
        pcm[i] = (int16_t)(uint16_t)(value >> 8 | value << 8);
    }
#else
    (void)pcm;
    (void)count;
#endif
}
