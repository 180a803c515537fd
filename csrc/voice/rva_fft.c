#include "voice/rva_fft.h"

#include <math.h>
#include <string.h>

#include "voice/rva_spectrum.h"

static const double TURN = 6.283185307179586476925; /* 2 pi */

void rva_fft_open(rva_fft *fft, const rva_spectrum *kernel) {
    fft->kernel = kernel;
    for (int i = 0; i < RVA_FFT_HALF; i++) {
        const double square = TURN * (i / 16 * (i % 16)) / RVA_FFT_HALF, half = TURN * i / RVA_FFT_SAMPLES;
        fft->square_re[i] = (float)cos(square);
        fft->square_im[i] = (float)-sin(square);
        fft->half_re[i] = (float)cos(half);
        fft->half_im[i] = (float)-sin(half);
    }
}

/* 512 real samples are 256 complex ones; even and odd part of their transform are those of the even and of the odd samples. */
RVA_REALTIME void rva_fft_forward(const rva_fft *fft, const float *samples, float *re, float *im) {
    float back_re[RVA_FFT_HALF], back_im[RVA_FFT_HALF];
    for (int i = 0; i < RVA_FFT_HALF; i++) {
        re[i] = samples[2 * i];
        im[i] = samples[2 * i + 1];
    }
    fft->kernel->transform(fft, re, im);
    for (int k = 0; k < RVA_FFT_HALF; k++) {
        back_re[k] = re[(RVA_FFT_HALF - k) % RVA_FFT_HALF];
        back_im[k] = im[(RVA_FFT_HALF - k) % RVA_FFT_HALF];
    }
    memset(re + RVA_FFT_HALF, 0, (RVA_FFT_ROOM - RVA_FFT_HALF) * sizeof *re);
    memset(im + RVA_FFT_HALF, 0, (RVA_FFT_ROOM - RVA_FFT_HALF) * sizeof *im);
    re[RVA_FFT_HALF] = re[0] - im[0];
    fft->kernel->part(fft, back_re, back_im, re, im);
}

RVA_REALTIME void rva_fft_inverse(const rva_fft *fft, const float *re, const float *im, float *samples) {
    float back_re[RVA_FFT_HALF], back_im[RVA_FFT_HALF], z_re[RVA_FFT_HALF], z_im[RVA_FFT_HALF];
    for (int k = 0; k < RVA_FFT_HALF; k++) {
        back_re[k] = re[RVA_FFT_HALF - k];
        back_im[k] = im[RVA_FFT_HALF - k];
    }
    memcpy(z_re, re, sizeof z_re);
    memcpy(z_im, im, sizeof z_im);
    z_im[0] = back_im[0] = 0.0f;
    fft->kernel->join(fft, back_re, back_im, z_re, z_im);
    fft->kernel->transform(fft, z_im, z_re); /* with the parts exchanged: the inverse */
    for (int i = 0; i < RVA_FFT_HALF; i++) {
        samples[2 * i] = z_re[i] * (1.0f / RVA_FFT_HALF);
        samples[2 * i + 1] = z_im[i] * (1.0f / RVA_FFT_HALF);
    }
}
