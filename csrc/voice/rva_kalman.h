/* rva_kalman - the linear part of echo cancellation: what of the microphone's sound the reference explains. Internal.
 *
 * A partitioned-block frequency-domain Kalman filter: G. Enzner, P. Vary, "Frequency-domain adaptive Kalman filter for
 * acoustic echo control in hands-free telephones", Signal Processing 86 (2006); F. Kuech, E. Mabande, G. Enzner, "State-space
 * architecture of the partitioned-block-based acoustic echo controller", ICASSP 2014. Blocks are hops of 256 samples.
 *
 * There are two of it. The steady one holds a path for certain once it has learnt it, and so does not notice when it changes;
 * the quick one is never certain, follows a change within a second, and is noisy. When the quick one's error is clearly the
 * smaller for a while, the steady one takes over what it has learnt.
 *
 * A loudspeaker at its limit bends the sound: beside the reference its cube has partitions too (F. Kuech, W. Kellermann,
 * "Orthogonalized power filters for nonlinear acoustic echo cancellation", Signal Processing 86, 2006). */
#ifndef RVA_KALMAN_H
#define RVA_KALMAN_H

#include <stdbool.h>

#include "voice/rva_fft.h"

#define RVA_KALMAN_STRAIGHT 20 /* partitions of 16 ms: how long the echo may take, delay and reverberation */
#define RVA_KALMAN_BENT 8      /* for the loudspeaker's distortion */
#define RVA_KALMAN_PARTITIONS (RVA_KALMAN_STRAIGHT + RVA_KALMAN_BENT)

typedef float rva_kalman_spectra[RVA_KALMAN_PARTITIONS][RVA_FFT_ROOM];

typedef struct {
    rva_kalman_spectra w_re, w_im, c; /* the path as it is known, and how uncertain that is */
    float noise[RVA_FFT_ROOM];        /* power of what is not echo */
    float power;                      /* of the error, smoothed */
    uint32_t turn;                    /* the partition to be kept causal next */
} rva_kalman_filter;

typedef struct {
    rva_kalman_spectra x_re, x_im;        /* the reference's, a ring, and behind it those of its cube, another one */
    uint8_t at[RVA_KALMAN_PARTITIONS];    /* where each partition's is now */
    uint64_t restarts, takeovers;
    float before[RVA_FFT_HALF], bent_before[RVA_FFT_HALF]; /* the reference's last block, and its cube */
    float heard;                /* power of the microphone's sound, smoothed */
    rva_kalman_filter steady, quick;
} rva_kalman;

void rva_kalman_open(rva_kalman *kalman);

/* Real-time safe. A block of 256: the error (microphone without echo) and the estimated echo, which sum up to `microphone`. */
RVA_REALTIME void rva_kalman_block(rva_kalman *kalman, const rva_fft *fft, const float *microphone, const float *reference,
                                   float *error, float *echo);

#define RVA_KALMAN_HISTORY (RVA_KALMAN_STRAIGHT + 1) /* blocks of the reference that the filter knows */

/* Real-time safe. The echo will come `samples` later (negative: sooner) against the reference than it did. `history` is the
 * reference's last RVA_KALMAN_HISTORY blocks as they would have been, moved; the oldest first. */
RVA_REALTIME void rva_kalman_move(rva_kalman *kalman, const rva_fft *fft, int32_t samples, const float *history);

/* Real-time safe. Knows nothing any more of the echo's path. */
RVA_REALTIME void rva_kalman_restart(rva_kalman *kalman);

#endif
