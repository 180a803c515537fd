/* The kernel for AVX-512 (F, BW, DQ, VL): sixteen lanes, thirty-two registers. */
#if defined(__x86_64__) || defined(__i386__)
#include "resample/rva_kernel.h"

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif

#define LANES 16
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

#define IN_REGISTER(a) __asm__("" : "+v"(a))
#define MULTIPLY_ADD(a, b, c) ((lanes)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define INTERLEAVE(a, b, low, high)                                                                                   \
    do {                                                                                                              \
        const __m512i at = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);                 \
        low = (lanes)_mm512_permutex2var_ps((__m512)(a), at, (__m512)(b));                                            \
        high = (lanes)_mm512_permutex2var_ps((__m512)(a), _mm512_or_si512(at, _mm512_set1_epi32(8)), (__m512)(b));    \
    } while (0)
#define FOLD(a) _mm256_add_ps(_mm512_castps512_ps256((__m512)(a)), _mm512_extractf32x8_ps((__m512)(a), 1))
#define SUM4(a, b, c, d, y)                                                                                           \
    do {                                                                                                              \
        const __m256 pairs =                                                                                          \
            _mm256_hadd_ps(_mm256_hadd_ps(FOLD(a), FOLD(b)), _mm256_hadd_ps(FOLD(c), FOLD(d)));                       \
        _mm_storeu_ps(y, _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1)));                 \
    } while (0)

#include "resample/rva_kernel_lanes.h"
#include "voice/rva_spectrum_lanes.h"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static bool is_supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}

const rva_kernel rva_kernel_avx512 = {
    .name = "avx512",
    .lanes = LANES,
    .is_supported = is_supported,
    .deal = deal,
    .deal_int16 = deal_int16,
    .half_band = half_band,
    .rows = rows,
    .tile = tile,
    .spectrum = &spectrum,
};
#else
typedef int rva_kernel_avx512_is_not_for_this_processor;
#endif
