/* The kernel for AVX2 and FMA: eight lanes, sixteen registers. */
#if defined(__x86_64__) || defined(__i386__)
#include "resample/rva_kernel.h"

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define LANES 8
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

#define IN_REGISTER(a) __asm__("" : "+x"(a))
#define MULTIPLY_ADD(a, b, c) ((lanes)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define INTERLEAVE(a, b, low, high)                                                                                   \
    do {                                                                                                              \
        const __m256 lower = _mm256_unpacklo_ps((__m256)(a), (__m256)(b));                                            \
        const __m256 upper = _mm256_unpackhi_ps((__m256)(a), (__m256)(b));                                            \
        low = (lanes)_mm256_permute2f128_ps(lower, upper, 0x20);                                                      \
        high = (lanes)_mm256_permute2f128_ps(lower, upper, 0x31);                                                     \
    } while (0)
#define SUM4(a, b, c, d, y)                                                                                           \
    do {                                                                                                              \
        const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps((__m256)(a), (__m256)(b)),                                 \
                                            _mm256_hadd_ps((__m256)(c), (__m256)(d)));                                \
        _mm_storeu_ps(y, _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1)));                 \
    } while (0)

#include "resample/rva_kernel_lanes.h"
#include "voice/rva_spectrum_lanes.h"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static bool is_supported(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

const rva_kernel rva_kernel_avx2 = {
    .name = "avx2",
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
typedef int rva_kernel_avx2_is_not_for_this_processor;
#endif
