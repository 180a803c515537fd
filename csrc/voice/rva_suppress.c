#include "voice/rva_suppress.h"

#include <math.h>
#include <string.h>

#include "voice/rva_spectrum.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

enum { BLOCK = RVA_FFT_HALF, ROOM = RVA_FFT_ROOM, BINS = RVA_FFT_BINS, WINDOW_BLOCKS = 31 /* 0.5 s */ };
enum { FROM = 300 * RVA_FFT_SAMPLES / 16000, TO = 5000 * RVA_FFT_SAMPLES / 16000 }; /* where speech is */

static const float UNKNOWN = 1e30f;       /* a minimum of nothing */
static const float LOUD = 1e5f;           /* power of an estimated echo whose ratio to the error tells something */
static const float KEEP = 0.6f;           /* of a power, from block to block */
static const float FADE = 0.6f;           /* of what is left of an echo, likewise */
static const float BIAS = 2.0f;           /* a minimum is below what it is the minimum of */
static const float LEAST_LEAK = 0.0316f;  /* -15 dB: how far the linear filter is trusted; the trade of echo for voice */
static const float LEAST_GAIN = 0.0316f;  /* -30 dB */
static const float OVER = 6.0f;           /* how many times what is left is assumed while nobody else speaks */
static const float QUIET_DB = 6.0f, HEARD_DB = 12.0f; /* standing out: nobody speaks; somebody does */

void rva_suppress_open(rva_suppress *suppress) {
    memset(suppress, 0, sizeof *suppress);
    for (int i = 0; i < RVA_FFT_SAMPLES; i++) suppress->window[i] = (float)sin(3.14159265358979323846 * i / RVA_FFT_SAMPLES);
    uint32_t *edges = suppress->edges, bands = 0;
    edges[bands++] = 0;
    for (int i = 0; i < RVA_SUPPRESS_BANDS - 2; i++) { /* from 125 Hz on evenly by pitch */
        const uint32_t edge = (uint32_t)lround(4.0 * pow((BINS - 1) / 4.0, i / (RVA_SUPPRESS_BANDS - 2.0)));
        if (edge > edges[bands - 1]) edges[bands++] = edge;
    }
    edges[bands] = BINS;
    suppress->bands = bands;
    for (uint32_t n = 0; n < RVA_SUPPRESS_BANDS; n++) {
        suppress->leak[n] = 0.3f;
        suppress->least[n] = UNKNOWN;
        for (int j = 0; j < RVA_SUPPRESS_WINDOWS; j++) suppress->leasts[j][n] = UNKNOWN;
    }
    for (int k = 0; k < ROOM; k++) suppress->gain[k] = 1.0f;
}

RVA_REALTIME static float sum(const float *values, uint32_t from, uint32_t to) {
    float total = 0.0f;
    for (uint32_t k = from; k < to; k++) total += values[k];
    return total;
}

/* Who speaks can only make the ratio of error to echo larger: so the least one is the leak. */
RVA_REALTIME static void track_leak(rva_suppress *suppress) {
    for (uint32_t n = 0; n < suppress->bands; n++) {
        const uint32_t from = suppress->edges[n], to = suppress->edges[n + 1];
        const float error = sum(suppress->error_power, from, to), echo = sum(suppress->echo_power, from, to);
        if (echo > LOUD) suppress->least[n] = fminf(suppress->least[n], error / echo);
        float least = suppress->least[n];
        for (int j = 0; j < RVA_SUPPRESS_WINDOWS; j++) least = fminf(least, suppress->leasts[j][n]);
        if (least < UNKNOWN) suppress->leak[n] = fminf(fmaxf(BIAS * least, LEAST_LEAK), 1.0f);
        for (uint32_t k = from; k < to; k++) {
            const float left = fmaxf(suppress->leak[n] * suppress->echo_power[k], FADE * suppress->left[k]);
            suppress->left[k] = left > 1e-3f ? left : 0.0f;
        }
    }
    if (++suppress->blocks < WINDOW_BLOCKS) return;
    suppress->blocks = 0;
    memcpy(suppress->leasts[suppress->window_at], suppress->least, sizeof suppress->least);
    suppress->window_at = (suppress->window_at + 1) % RVA_SUPPRESS_WINDOWS;
    for (uint32_t n = 0; n < RVA_SUPPRESS_BANDS; n++) suppress->least[n] = UNKNOWN;
}

/* How many times what is left is assumed: more while nobody else speaks, where the error is no louder than that can be. */
RVA_REALTIME static float caution(rva_suppress *suppress) {
    const float error = 1.0f + sum(suppress->error_power, FROM, TO), left = 1.0f + sum(suppress->left, FROM, TO);
    memmove(suppress->recent, suppress->recent + 1, sizeof suppress->recent - sizeof *suppress->recent);
    suppress->recent[RVA_SUPPRESS_RECENT - 1] = 10.0f * log10f(error / left);
    float most = suppress->recent[0];
    for (int i = 1; i < RVA_SUPPRESS_RECENT; i++) most = fmaxf(most, suppress->recent[i]);
    const float heard = fminf(fmaxf((most - QUIET_DB) / (HEARD_DB - QUIET_DB), 0.0f), 1.0f);
    return OVER + heard * (1.0f - OVER);
}

RVA_REALTIME static void window(const rva_suppress *suppress, float *before, const float *block, float *samples) {
    memcpy(samples, before, BLOCK * sizeof *samples);
    memcpy(samples + BLOCK, block, BLOCK * sizeof *samples);
    memcpy(before, block, BLOCK * sizeof *before);
    for (int i = 0; i < RVA_FFT_SAMPLES; i++) samples[i] *= suppress->window[i];
}

RVA_REALTIME void rva_suppress_block(rva_suppress *suppress, const rva_fft *fft, const float *error, const float *echo,
                                     float *out) {
    float samples[RVA_FFT_SAMPLES], re[ROOM], im[ROOM], power[ROOM];
    window(suppress, suppress->echo, echo, samples);
    rva_fft_forward(fft, samples, re, im);
    fft->kernel->smooth(re, im, KEEP, power, suppress->echo_power);
    window(suppress, suppress->error, error, samples);
    rva_fft_forward(fft, samples, re, im);
    fft->kernel->smooth(re, im, KEEP, power, suppress->error_power);
    track_leak(suppress);
    fft->kernel->weigh(power, suppress->left, caution(suppress), LEAST_GAIN, suppress->before, suppress->gain, re, im);
    rva_fft_inverse(fft, re, im, samples);
    for (int i = 0; i < BLOCK; i++) {
        out[i] = suppress->tail[i] + samples[i] * suppress->window[i];
        suppress->tail[i] = samples[BLOCK + i] * suppress->window[BLOCK + i];
    }
}
