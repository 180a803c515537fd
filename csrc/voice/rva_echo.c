#include "voice/rva_echo.h"

#include <math.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "voice/rva_kalman.h"
#include "resample/rva_kernel.h"
#include "core/rva_rt.h"
#include "voice/rva_suppress.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

enum { BLOCK = RVA_ECHO_BLOCK };

static const float PLAYED = 10.0f;        /* RMS of a reference that is heard: -70 dBFS */
static const double REMEMBER = 0.9984;    /* of energies, from block to block that has echo: 10 s */
static const double FIRST_ENERGY = 1e6;   /* below which a ratio of energies tells nothing */

struct rva_echo {
    alignas(RVA_ECHO_ALIGN) rva_kalman kalman;
    rva_suppress suppress;
    rva_fft fft;
    uint32_t options;
    uint64_t blocks, played_blocks;
    double heard, sent, linear; /* energies while the estimated echo is most of what is heard: microphone, output, error */
    double late_heard, late_linear; /* those of the last block, whose output comes with the next; 0: it was not echo */
};

size_t rva_echo_bytes(void) { return sizeof(rva_echo); }

int rva_echo_open(rva_echo *echo, size_t bytes, uint32_t options) {
    if ((uintptr_t)echo % RVA_ECHO_ALIGN || bytes < sizeof *echo || options > RVA_ECHO_SUPPRESS) return -1;
    const rva_kernel *kernel = rva_kernel_find(getenv("RAVATAR_AUDIO_KERNEL"));
    if (!kernel) kernel = rva_kernel_find(NULL);
    memset(echo, 0, sizeof *echo);
    rva_fft_open(&echo->fft, kernel->spectrum);
    rva_kalman_open(&echo->kalman);
    rva_suppress_open(&echo->suppress);
    echo->options = options;
    return 0;
}

RVA_REALTIME static double energy(const float *samples) {
    double sums[8] = {0}, sum = 0.0;
    for (int i = 0; i < BLOCK; i += 8)
        for (int j = 0; j < 8; j++) sums[j] += (double)samples[i + j] * (double)samples[i + j];
    for (int j = 0; j < 8; j++) sum += sums[j];
    return sum;
}

/* Bytes, as a big-endian machine and an odd address have them in the same order. */
RVA_REALTIME static void read_block(const uint8_t *pcm, float *samples) {
    for (int i = 0; i < BLOCK; i++) samples[i] = (int16_t)(pcm[2 * i] | pcm[2 * i + 1] << 8);
}

RVA_REALTIME static void write_block(uint8_t *pcm, const float *samples) {
    for (int i = 0; i < BLOCK; i++) {
        const long value = lrintf(fminf(fmaxf(samples[i], -32768.0f), 32767.0f));
        pcm[2 * i] = (uint8_t)((unsigned long)value & 0xff);
        pcm[2 * i + 1] = (uint8_t)((unsigned long)value >> 8 & 0xff);
    }
}

/* `late` is by how many blocks the output is behind: its energy belongs to the block before. */
RVA_REALTIME static void count(rva_echo *echo, const float *microphone, const float *error, const float *estimate,
                               const float *out) {
    const double heard = energy(microphone), estimated = energy(estimate), linear = energy(error);
    const bool is_echo = estimated > 0.5 * heard && heard > BLOCK * 100.0;
    const double now_heard = is_echo ? heard : 0.0, now_linear = is_echo ? linear : 0.0;
    const bool is_late = echo->options & RVA_ECHO_SUPPRESS;
    const double of_output = is_late ? echo->late_heard : now_heard;
    if (of_output > 0.0) {
        echo->heard = REMEMBER * echo->heard + of_output;
        echo->sent = REMEMBER * echo->sent + energy(out);
        echo->linear = REMEMBER * echo->linear + (is_late ? echo->late_linear : now_linear);
    }
    echo->late_heard = now_heard;
    echo->late_linear = now_linear;
}

RVA_REALTIME int rva_echo_process(rva_echo *echo, const void *microphone, const void *reference, void *out,
                                  size_t samples) {
    if (samples % BLOCK) return -1;
    for (size_t at = 0; at < 2 * samples; at += 2 * BLOCK) {
        float heard[BLOCK], played[BLOCK], error[BLOCK], estimate[BLOCK], sent[BLOCK];
        read_block((const uint8_t *)microphone + at, heard);
        read_block((const uint8_t *)reference + at, played);
        echo->blocks++;
        echo->played_blocks += energy(played) > BLOCK * PLAYED * PLAYED;
        rva_kalman_block(&echo->kalman, &echo->fft, heard, played, error, estimate);
        if (echo->options & RVA_ECHO_SUPPRESS) rva_suppress_block(&echo->suppress, &echo->fft, error, estimate, sent);
        else memcpy(sent, error, sizeof sent);
        count(echo, heard, error, estimate, sent);
        write_block((uint8_t *)out + at, sent);
    }
    return 0;
}

_Static_assert(RVA_ECHO_HISTORY == RVA_KALMAN_HISTORY * BLOCK, "what the filter knows of the reference");

RVA_REALTIME void rva_echo_move(rva_echo *echo, int32_t samples, const void *history) {
    float blocks[RVA_ECHO_HISTORY];
    for (int n = 0; n < RVA_KALMAN_HISTORY; n++) read_block((const uint8_t *)history + 2 * n * BLOCK, blocks + n * BLOCK);
    rva_kalman_move(&echo->kalman, &echo->fft, samples, blocks);
}

RVA_REALTIME void rva_echo_restart(rva_echo *echo) {
    rva_kalman_restart(&echo->kalman);
    echo->heard = echo->sent = echo->linear = 0.0;
}

static double decibels(double over, double under) { return under > 0.0 ? 10.0 * log10(over / under) : 0.0; }

RVA_REALTIME void rva_echo_statistics_of(const rva_echo *echo, rva_echo_statistics *statistics) {
    const bool is_known = echo->heard > FIRST_ENERGY;
    *statistics = (rva_echo_statistics){
        .blocks = echo->blocks,
        .played_blocks = echo->played_blocks,
        .restarts = echo->kalman.restarts,
        .erle_db = is_known ? decibels(echo->heard, echo->sent + 1.0) : 0.0,
        .is_settled = is_known && echo->linear < 0.25 * echo->heard,
    };
}
