/* The kernel for NEON: four lanes; thirty-two registers and fused multiply-add on arm64, sixteen and none on armv7, where
 * the compiler's baseline may be without NEON and the processor is asked. */
#if defined(__aarch64__) || defined(__arm__)
#include "resample/rva_kernel.h"

#if defined(__arm__)
#include <sys/auxv.h>
#ifndef __clang__
#pragma GCC push_options
/* The FPU by name: of a compiler that was built for another one, "arch=armv7-a+neon" does not change it. */
#pragma GCC target("arch=armv7-a,fpu=neon")
#endif
#endif
#include <arm_neon.h>

#define LANES 4
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

#define IN_REGISTER(a) __asm__("" : "+w"(a))
#define INTERLEAVE(a, b, low, high)                                                                                   \
    do {                                                                                                              \
        const float32x4x2_t zipped = vzipq_f32((float32x4_t)(a), (float32x4_t)(b));                                   \
        low = (lanes)zipped.val[0];                                                                                   \
        high = (lanes)zipped.val[1];                                                                                  \
    } while (0)
#if defined(__aarch64__)
#define MULTIPLY_ADD(a, b, c) ((lanes)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define SUM4(a, b, c, d, y)                                                                                           \
    vst1q_f32(y, vpaddq_f32(vpaddq_f32((float32x4_t)(a), (float32x4_t)(b)),                                           \
                            vpaddq_f32((float32x4_t)(c), (float32x4_t)(d))))
#else
/* GCC makes a product or sum of the vector type one of its lanes' one by one here, as NEON takes denormals for zero. */
#define MULTIPLY(a, b) ((lanes)vmulq_f32((float32x4_t)(a), (float32x4_t)(b)))
#define ADD(a, b) ((lanes)vaddq_f32((float32x4_t)(a), (float32x4_t)(b)))
#define SUBTRACT(a, b) ((lanes)vsubq_f32((float32x4_t)(a), (float32x4_t)(b)))
#define LARGER(a, b) ((lanes)vmaxq_f32((float32x4_t)(a), (float32x4_t)(b)))
#define MULTIPLY_ADD(a, b, c) ((lanes)vmlaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define HALVES(a) vpadd_f32(vget_low_f32((float32x4_t)(a)), vget_high_f32((float32x4_t)(a)))
#define SUM4(a, b, c, d, y)                                                                                           \
    vst1q_f32(y, vcombine_f32(vpadd_f32(HALVES(a), HALVES(b)), vpadd_f32(HALVES(c), HALVES(d))))
#endif

#include "resample/rva_kernel_lanes.h"
#include "voice/rva_spectrum_lanes.h"

#if defined(__arm__) && !defined(__clang__)
#pragma GCC pop_options
#endif

/* Outside: it runs on every processor. */
#if defined(__aarch64__)
static bool is_supported(void) { return true; }
#else
static bool is_supported(void) { return (getauxval(AT_HWCAP) & HWCAP_ARM_NEON) != 0; }
#endif

const rva_kernel rva_kernel_neon = {
    .name = "neon",
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
typedef int rva_kernel_neon_is_not_for_this_processor;
#endif
