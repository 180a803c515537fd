/* rva_suppress - what is left of the echo behind the linear filter, held down where nothing else is heard. Internal.
 *
 * Wiener gains against the estimated echo times a leak: the least ratio of error to estimated echo of the last two seconds,
 * band by band (J.-M. Valin, "On adjusting the learning rate in frequency domain echo cancellation with double-talk", IEEE
 * Trans. ASLP 15(3), 2007). One block late. */
#ifndef RVA_SUPPRESS_H
#define RVA_SUPPRESS_H

#include "voice/rva_fft.h"

#define RVA_SUPPRESS_BANDS 16
#define RVA_SUPPRESS_WINDOWS 4
#define RVA_SUPPRESS_RECENT 8

typedef struct {
    float window[RVA_FFT_SAMPLES];
    float error[RVA_FFT_HALF], echo[RVA_FFT_HALF]; /* the last blocks */
    float tail[RVA_FFT_HALF];                      /* of the output: what the next block is added to */
    float error_power[RVA_FFT_ROOM], echo_power[RVA_FFT_ROOM];       /* smoothed */
    float left[RVA_FFT_ROOM], gain[RVA_FFT_ROOM], before[RVA_FFT_ROOM]; /* power of what is left of the echo; ... */
    float least[RVA_SUPPRESS_BANDS], leasts[RVA_SUPPRESS_WINDOWS][RVA_SUPPRESS_BANDS], leak[RVA_SUPPRESS_BANDS];
    float recent[RVA_SUPPRESS_RECENT]; /* by how much the error stood out of what can be left of the echo, dB */
    uint32_t edges[RVA_SUPPRESS_BANDS + 1], bands, blocks, window_at;
} rva_suppress;

void rva_suppress_open(rva_suppress *suppress);

/* Real-time safe. A block of 256; `out` is the block before. */
RVA_REALTIME void rva_suppress_block(rva_suppress *suppress, const rva_fft *fft, const float *error, const float *echo,
                                     float *out);

#endif
