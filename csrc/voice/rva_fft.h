/* rva_fft - the Fourier transform of 512 real samples, for spectra of two hops. Internal.
 *
 * 256 complex values make a square of 16 by 16, whose columns are transformed, turned, transposed and transformed again: each
 * step runs over neighbours in memory, so the same few lines serve vectors of any width (rva_spectrum_lanes.h). */
#ifndef RVA_FFT_H
#define RVA_FFT_H

#include <stdint.h>

#include "core/rva_rt.h"

#define RVA_FFT_SAMPLES 512
#define RVA_FFT_HALF (RVA_FFT_SAMPLES / 2)
#define RVA_FFT_BINS (RVA_FFT_HALF + 1)
#define RVA_FFT_ROOM 272 /* floats of a spectrum's real or imaginary part: the bins, and zeros to whole vectors */

struct rva_spectrum;

typedef struct rva_fft {
    const struct rva_spectrum *kernel;
    float square_re[RVA_FFT_HALF], square_im[RVA_FFT_HALF]; /* exp(-2 pi i j k / 256) at 16 j + k */
    float half_re[RVA_FFT_HALF], half_im[RVA_FFT_HALF];     /* exp(-2 pi i k / 512) */
} rva_fft;

/* Any thread. Computes the tables, for the loops of `kernel`. */
void rva_fft_open(rva_fft *fft, const struct rva_spectrum *kernel);

/* Real-time safe. Bins 0 to 256 of `samples`, not scaled; zeros behind them. No two of them may overlap. */
RVA_REALTIME void rva_fft_forward(const rva_fft *fft, const float *samples, float *re, float *im);

/* Real-time safe. The samples that a spectrum is of. The imaginary parts of bins 0 and 256 are taken for zero. */
RVA_REALTIME void rva_fft_inverse(const rva_fft *fft, const float *re, const float *im, float *samples);

#endif
