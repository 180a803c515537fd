/* rva_spectrum - the inner loops of echo cancellation, once for each instruction set (rva_kernel). Internal.
 *
 * Each value is computed from its own bin alone, by the same sums and products in the same order whatever the vectors'
 * width, and none of them fused: so all kernels give the same bits. */
#ifndef RVA_SPECTRUM_H
#define RVA_SPECTRUM_H

#include "voice/rva_fft.h"
#include "voice/rva_kalman.h"
#include "core/rva_rt.h"

typedef struct rva_spectrum {
    /* The transform of 256 complex values, in place. */
    RVA_REALTIME void (*transform)(const rva_fft *fft, float *re, float *im);

    /* Between the transform of 256 complex values and that of the 512 real ones they were: takes it apart, and joins it.
     * `back` is the spectrum from its end: at k what belongs to 256 - k. */
    RVA_REALTIME void (*part)(const rva_fft *fft, const float *back_re, const float *back_im, float *re, float *im);
    RVA_REALTIME void (*join)(const rva_fft *fft, const float *back_re, const float *back_im, float *re, float *im);

    /* Lets a filter grow older by one block, `keep` of it (1: it stands still), to no less than `least` of uncertainty, and
     * gives what it makes of the reference: the estimated echo's spectrum, and the power that its uncertainty is worth. */
    RVA_REALTIME void (*predict)(const rva_kalman *kalman, rva_kalman_filter *filter, float keep, float least, float *y_re,
                                 float *y_im, float *doubt);

    /* Learns from the error's spectrum. */
    RVA_REALTIME void (*learn)(const rva_kalman *kalman, rva_kalman_filter *filter, const float *e_re, const float *e_im,
                               const float *doubt);

    /* What a filter makes of the reference, after learning. */
    RVA_REALTIME void (*apply)(const rva_kalman *kalman, const rva_kalman_filter *filter, float *y_re, float *y_im);

    /* power = re^2 + im^2; smoothed = keep * smoothed + (1 - keep) * power */
    RVA_REALTIME void (*smooth)(const float *re, const float *im, float keep, float *power, float *smoothed);

    /* Wiener gains against `echo` times `over`, by the decision-directed rule; `before` is the last block's power, and
     * becomes this one's. Where there is no echo the gain is 1. Applies them. */
    RVA_REALTIME void (*weigh)(const float *power, const float *echo, float over, float least, float *before, float *gain,
                               float *re, float *im);
} rva_spectrum;

#endif
