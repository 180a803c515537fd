/* The kernel for SSE2, which every x86-64 processor has: four lanes, sixteen registers. */
#if defined(__x86_64__) || defined(__i386__)
#include "resample/rva_kernel.h"

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("sse2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("sse2")
#endif

#define LANES 4
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

#define IN_REGISTER(a) __asm__("" : "+x"(a))
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define INTERLEAVE(a, b, low, high)                                                                                   \
    do {                                                                                                              \
        low = (lanes)_mm_unpacklo_ps((__m128)(a), (__m128)(b));                                                       \
        high = (lanes)_mm_unpackhi_ps((__m128)(a), (__m128)(b));                                                      \
    } while (0)
#define SUM4(a, b, c, d, y)                                                                                           \
    do {                                                                                                              \
        __m128 row0 = (__m128)(a), row1 = (__m128)(b), row2 = (__m128)(c), row3 = (__m128)(d);                        \
        _MM_TRANSPOSE4_PS(row0, row1, row2, row3);                                                                    \
        _mm_storeu_ps(y, _mm_add_ps(_mm_add_ps(row0, row2), _mm_add_ps(row1, row3)));                                 \
    } while (0)

#include "resample/rva_kernel_lanes.h"
#include "voice/rva_spectrum_lanes.h"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static bool is_supported(void) { return __builtin_cpu_supports("sse2"); }

const rva_kernel rva_kernel_sse2 = {
    .name = "sse2",
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
typedef int rva_kernel_sse2_is_not_for_this_processor;
#endif
