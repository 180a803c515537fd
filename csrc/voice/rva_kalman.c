#include "voice/rva_kalman.h"

#include <math.h>
#include <string.h>

#include "voice/rva_spectrum.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

enum { BLOCK = RVA_FFT_HALF, ROOM = RVA_FFT_ROOM, PARTITIONS = RVA_KALMAN_PARTITIONS };

/* How much of a path is kept from block to block, and how uncertain it stays at least, of the steady and of the quick filter. */
static const float STEADY_KEEP = 0.9995f, STEADY_LEAST = 1e-9f, QUICK_KEEP = 0.998f, QUICK_LEAST = 1e-4f;

/* Of two errors' powers, smoothed over some 0.1 s, which decide which filter takes over from the other; and of an error's and
 * the microphone's: a path that makes its sound louder has nothing to do with the true one. */
static const float FORGET = 0.85f, BETTER = 0.7f, WORSE = 0.5f, USELESS = 1.3f;
static const float LEAST_POWER = 100.0f * BLOCK; /* of a block that is worth a comparison: -70 dBFS */

static const float LEAST_REFERENCE = 100.0f * BLOCK; /* power of a block that tells something of the path: -70 dBFS */

/* The cube of a sample of -12 dBFS is as loud as itself; less what of it the straight partitions explain, by about. */
static const float CUBE = 1.0f / (8192.0f * 8192.0f), STRAIGHT_PART = 0.7f;
static const float FADE = 0.904837418f; /* exp(-0.1): of what a partition may be worth, to the next one */
static const float BENT = 0.1f;         /* of what the first is, for the cube's */

/* What is not known of a path that nothing is known of: an echo that is as loud as the reference, and fades. */
static void forget(rva_kalman_filter *filter) {
    memset(filter, 0, sizeof *filter);
    float c = 1.0f;
    for (int p = 0; p < PARTITIONS; p++) {
        if (p == RVA_KALMAN_STRAIGHT) c = BENT;
        for (int k = 0; k < ROOM; k++) filter->c[p][k] = c;
        c *= FADE;
    }
}

void rva_kalman_open(rva_kalman *kalman) {
    memset(kalman, 0, sizeof *kalman);
    for (int p = 0; p < PARTITIONS; p++) kalman->at[p] = (uint8_t)p;
    rva_kalman_restart(kalman);
}

RVA_REALTIME void rva_kalman_restart(rva_kalman *kalman) {
    forget(&kalman->steady);
    forget(&kalman->quick);
}

/* By sixteen sums side by side, in the same order for all compilers. */
RVA_REALTIME static float product(const float *a, const float *b) {
    float sums[16] = {0};
    for (int i = 0; i < BLOCK; i += 16)
        for (int j = 0; j < 16; j++) sums[j] += a[i + j] * b[i + j];
    float sum = 0.0f;
    for (int j = 0; j < 16; j++) sum += sums[j];
    return sum;
}

/* Of a spectrum of two blocks, circular as it is, the second one: as the block before it was the true one. */
RVA_REALTIME static void newest(const rva_fft *fft, const float *re, const float *im, float *block) {
    float samples[RVA_FFT_SAMPLES];
    rva_fft_inverse(fft, re, im, samples);
    memcpy(block, samples + BLOCK, BLOCK * sizeof *block);
}

/* A partition is BLOCK samples long; what learning has put behind them is taken away, in one partition a block, in turn. */
RVA_REALTIME static void constrain(rva_kalman_filter *filter, const rva_fft *fft) {
    float samples[RVA_FFT_SAMPLES];
    const uint32_t p = filter->turn;
    filter->turn = (p + 1) % PARTITIONS;
    rva_fft_inverse(fft, filter->w_re[p], filter->w_im[p], samples);
    memset(samples + BLOCK, 0, BLOCK * sizeof *samples);
    rva_fft_forward(fft, samples, filter->w_re[p], filter->w_im[p]);
}

/* One block of one filter: error and estimated echo as they were before it learnt from them. */
RVA_REALTIME static void step(const rva_kalman *kalman, rva_kalman_filter *filter, const rva_fft *fft, float keep, float least,
                              const float *microphone, float *error, float *echo) {
    float samples[RVA_FFT_SAMPLES] = {0}, re[ROOM], im[ROOM], doubt[ROOM];
    fft->kernel->predict(kalman, filter, keep, least, re, im, doubt);
    newest(fft, re, im, echo);
    for (int i = 0; i < BLOCK; i++) samples[BLOCK + i] = error[i] = microphone[i] - echo[i];
    rva_fft_forward(fft, samples, re, im);
    fft->kernel->learn(kalman, filter, re, im, doubt);
    constrain(filter, fft);
    filter->power = FORGET * filter->power + (1.0f - FORGET) * product(error, error);
}

RVA_REALTIME static void copy(rva_kalman_filter *to, const rva_kalman_filter *from) {
    const uint32_t turn = to->turn;
    *to = *from;
    to->turn = turn;
}

/* Who speaks is in both errors alike, so that the comparison holds while they do. */
RVA_REALTIME static void compare(rva_kalman *kalman) {
    rva_kalman_filter *steady = &kalman->steady, *quick = &kalman->quick;
    if (kalman->heard < LEAST_POWER) return;
    if (quick->power > USELESS * kalman->heard) {
        forget(quick);
        kalman->restarts++;
    }
    if (steady->power > USELESS * kalman->heard || quick->power < BETTER * steady->power) {
        copy(steady, quick);
        kalman->takeovers++;
    } else if (steady->power < WORSE * quick->power) {
        memcpy(quick->w_re, steady->w_re, sizeof quick->w_re);
        memcpy(quick->w_im, steady->w_im, sizeof quick->w_im);
        quick->power = steady->power;
    }
}

/* Of a ring: the place of the oldest becomes that of the newest. */
RVA_REALTIME static void turn(uint8_t *at, size_t count) {
    const uint8_t oldest = at[count - 1];
    memmove(at + 1, at, count - 1);
    at[0] = oldest;
}

/* The spectrum of a reference's last two blocks. */
RVA_REALTIME static void hear(rva_kalman *kalman, const rva_fft *fft, uint32_t at, float *before, const float *block) {
    float samples[RVA_FFT_SAMPLES];
    memcpy(samples, before, BLOCK * sizeof *samples);
    memcpy(samples + BLOCK, block, BLOCK * sizeof *samples);
    memcpy(before, block, BLOCK * sizeof *samples);
    rva_fft_forward(fft, samples, kalman->x_re[at], kalman->x_im[at]);
}

RVA_REALTIME static void hear_both(rva_kalman *kalman, const rva_fft *fft, const float *reference) {
    float bent[BLOCK];
    for (int i = 0; i < BLOCK; i++) bent[i] = reference[i] * (reference[i] * reference[i] * CUBE - STRAIGHT_PART);
    turn(kalman->at, RVA_KALMAN_STRAIGHT);
    turn(kalman->at + RVA_KALMAN_STRAIGHT, RVA_KALMAN_BENT);
    hear(kalman, fft, kalman->at[0], kalman->before, reference);
    hear(kalman, fft, kalman->at[RVA_KALMAN_STRAIGHT], kalman->bent_before, bent);
}

RVA_REALTIME void rva_kalman_block(rva_kalman *kalman, const rva_fft *fft, const float *microphone, const float *reference,
                                   float *error, float *echo) {
    float re[ROOM], im[ROOM], other_error[BLOCK], other_echo[BLOCK];
    hear_both(kalman, fft, reference);

    /* Where nothing is played nothing is learnt, and nothing forgotten. */
    const bool is_played = product(reference, reference) > LEAST_REFERENCE;
    step(kalman, &kalman->quick, fft, is_played ? QUICK_KEEP : 1.0f, QUICK_LEAST, microphone, other_error, other_echo);
    step(kalman, &kalman->steady, fft, is_played ? STEADY_KEEP : 1.0f, STEADY_LEAST, microphone, error, echo);
    kalman->heard = FORGET * kalman->heard + (1.0f - FORGET) * product(microphone, microphone);
    compare(kalman);

    /* Once more by what has been learnt, where that is better. */
    fft->kernel->apply(kalman, &kalman->steady, re, im);
    newest(fft, re, im, other_echo);
    for (int i = 0; i < BLOCK; i++) other_error[i] = microphone[i] - other_echo[i];
    if (product(other_error, other_error) < product(error, error)) {
        memcpy(error, other_error, sizeof other_error);
        memcpy(echo, other_echo, sizeof other_echo);
    }
}

/* The taps of partitions one behind the other, moved in their place: what comes in from outside is not known. */
RVA_REALTIME static void move(rva_kalman_filter *filter, const rva_fft *fft, int first, int count, int32_t by) {
    float taps[RVA_KALMAN_STRAIGHT * BLOCK], block[RVA_FFT_SAMPLES];
    for (int p = 0; p < count; p++) {
        rva_fft_inverse(fft, filter->w_re[first + p], filter->w_im[first + p], block);
        memcpy(taps + p * BLOCK, block, BLOCK * sizeof *taps);
    }
    memset(block, 0, sizeof block);
    for (int p = 0; p < count; p++) {
        for (int i = 0; i < BLOCK; i++) {
            const int64_t from = (int64_t)p * BLOCK + i - by;
            block[i] = from >= 0 && from < (int64_t)count * BLOCK ? taps[from] : 0.0f;
        }
        rva_fft_forward(fft, block, filter->w_re[first + p], filter->w_im[first + p]);
    }
}

RVA_REALTIME void rva_kalman_move(rva_kalman *kalman, const rva_fft *fft, int32_t samples, const float *history) {
    rva_kalman_filter *const filters[] = {&kalman->steady, &kalman->quick};
    for (int n = 0; n < 2; n++) {
        move(filters[n], fft, 0, RVA_KALMAN_STRAIGHT, samples);
        move(filters[n], fft, RVA_KALMAN_STRAIGHT, RVA_KALMAN_BENT, samples);
    }
    for (int n = 0; n < RVA_KALMAN_HISTORY; n++) hear_both(kalman, fft, history + n * BLOCK);
}
