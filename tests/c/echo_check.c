/* Checks the canceller from C: the transform against its definition, every kernel that runs here against the portable one,
 * bit for bit, how the sound is cut, what passes untouched, and that an echo goes. Usage: echo_check [quick] [KERNEL...]: the
 * kernels that must run here. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "voice/rva_echo.h"
#include "voice/rva_fft.h"
#include "resample/rva_kernel.h"

static int failures;
#define CHECK(condition, ...)                                                                                         \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            printf("line %d: %s: ", __LINE__, #condition);                                                            \
            printf(__VA_ARGS__);                                                                                      \
            putchar('\n');                                                                                            \
            failures++;                                                                                               \
        }                                                                                                             \
    } while (0)

enum { SECOND = 62 * RVA_ECHO_BLOCK };
static const char *const names[] = {"portable", "sse2", "avx2", "avx512", "neon"};
enum { NAMES = sizeof names / sizeof *names };

static uint32_t state = 12345;
static double chance(void) { /* about even in -1 to 1 */
    state = state * 1664525u + 1013904223u;
    return (double)(int32_t)state / 2147483648.0;
}

static void check_transform(const rva_kernel *kernel) {
    rva_fft fft;
    float samples[RVA_FFT_SAMPLES], back[RVA_FFT_SAMPLES], re[RVA_FFT_ROOM], im[RVA_FFT_ROOM];
    rva_fft_open(&fft, kernel->spectrum);
    for (int i = 0; i < RVA_FFT_SAMPLES; i++) samples[i] = (float)(chance() * 32768.0);
    rva_fft_forward(&fft, samples, re, im);
    double worst = 0.0;
    for (int k = 0; k < RVA_FFT_BINS; k++) {
        double sum_re = 0.0, sum_im = 0.0;
        for (int i = 0; i < RVA_FFT_SAMPLES; i++) {
            const double angle = 6.283185307179586 * (i * k % RVA_FFT_SAMPLES) / RVA_FFT_SAMPLES;
            sum_re += samples[i] * cos(angle);
            sum_im -= samples[i] * sin(angle);
        }
        worst = fmax(worst, fmax(fabs(sum_re - re[k]), fabs(sum_im - im[k])));
    }
    CHECK(worst < 1.0, "%s: off by %g of sums of 512 samples", kernel->name, worst);
    for (int k = RVA_FFT_BINS; k < RVA_FFT_ROOM; k++) CHECK(re[k] == 0.0f && im[k] == 0.0f, "bin %d", k);
    rva_fft_inverse(&fft, re, im, back);
    for (int i = 0; i < RVA_FFT_SAMPLES; i++)
        CHECK(fabsf(back[i] - samples[i]) < 0.02f, "%s: sample %d is %g, was %g", kernel->name, i, back[i], samples[i]);
}

static rva_echo *opened(const char *kernel, uint32_t options) {
    setenv("RAVATAR_AUDIO_KERNEL", kernel, 1);
    const size_t bytes = (rva_echo_bytes() + RVA_ECHO_ALIGN - 1) / RVA_ECHO_ALIGN * RVA_ECHO_ALIGN;
    rva_echo *echo = aligned_alloc(RVA_ECHO_ALIGN, bytes);
    if (!echo || rva_echo_open(echo, bytes, options)) abort();
    return echo;
}

/* A loudspeaker whose sound comes back over 60 ms, a visitor now and then, pauses of both; little-endian as the core wants it. */
static void make(uint8_t *microphone, uint8_t *reference, int samples) {
    static float played[1024], path[1024];
    memset(played, 0, sizeof played);
    for (int i = 0; i < 1024; i++) path[i] = i < 80 ? 0.0f : (float)(chance() * 0.3 * exp(-(i - 80) / 150.0));
    double coloured = 0.0;
    for (int n = 0; n < samples; n++) {
        coloured = 0.8 * coloured + chance();
        const bool is_played = n / 3000 % 5 != 4, is_talk = n / 7000 % 4 == 3;
        const int x = is_played ? (int)(3000.0 * coloured) : 0;
        played[n % 1024] = (float)x;
        double y = chance() * 5.0 + (is_talk ? 2000.0 * sin(n * 0.07) * sin(n * 0.001) : 0.0);
        for (int i = 0; i < 1024 && i <= n; i++) y += (double)path[i] * (double)played[(n - i) % 1024];
        const int heard = (int)fmin(fmax(y, -32768.0), 32767.0);
        microphone[2 * n] = (uint8_t)heard, microphone[2 * n + 1] = (uint8_t)(heard >> 8);
        reference[2 * n] = (uint8_t)x, reference[2 * n + 1] = (uint8_t)(x >> 8);
    }
}

static double power(const uint8_t *pcm, int from, int to) {
    double sum = 0.0;
    for (int n = from; n < to; n++) {
        const double value = (int16_t)(pcm[2 * n] | pcm[2 * n + 1] << 8);
        sum += value * value;
    }
    return sum / (to - from) + 1e-9;
}

static void check_sameness(const uint8_t *microphone, const uint8_t *reference, int samples, uint32_t options) {
    uint8_t *first = malloc(2 * (size_t)samples), *other = malloc(2 * (size_t)samples + 1);
    rva_echo *echo = opened("portable", options);
    CHECK(!rva_echo_process(echo, microphone, reference, first, (size_t)samples), "refused");
    free(echo);
    const double gone = 10 * log10(power(microphone, 2500, 12000) / power(first, 2500, 12000));
    CHECK(gone > 12.0, "only %g dB of the echo gone in the first 0.75 s", gone);
    for (int n = 0; n < NAMES; n++) {
        if (!rva_kernel_find(names[n])) continue;
        echo = opened(names[n], options);
        for (int at = 0, step = 1; at < samples; step = step % 5 + 1) { /* cut, and at odd addresses */
            int now = step * RVA_ECHO_BLOCK;
            if (now > samples - at) now = samples - at;
            rva_echo_process(echo, microphone + 2 * at, reference + 2 * at, other + 1 + 2 * at, (size_t)now);
            at += now;
        }
        free(echo);
        int differs = 0;
        while (differs < 2 * samples && first[differs] == other[1 + differs]) differs++;
        CHECK(differs == 2 * samples, "%s differs from sample %d on", names[n], differs / 2);
    }
    free(first);
    free(other);
}

static void check_untouched(const uint8_t *microphone, int samples, uint32_t options) {
    const int late = options & RVA_ECHO_SUPPRESS ? RVA_ECHO_BLOCK : 0;
    uint8_t *silence = calloc(2, (size_t)samples), *out = malloc(2 * (size_t)samples);
    rva_echo *echo = opened("", options);
    rva_echo_process(echo, microphone, silence, out, (size_t)samples);
    CHECK(!memcmp(out + 2 * late, microphone, 2 * (size_t)(samples - late)), "options %u", options);
    rva_echo_statistics statistics;
    rva_echo_statistics_of(echo, &statistics);
    CHECK(statistics.played_blocks == 0 && statistics.blocks == (uint64_t)samples / RVA_ECHO_BLOCK, "counts");
    CHECK(!statistics.is_settled && statistics.erle_db == 0.0, "settled on nothing");
    free(echo);
    free(silence);
    free(out);
}

int main(int argc, char **argv) {
    bool is_quick = false;
    for (int n = 1; n < argc; n++) {
        if (!strcmp(argv[n], "quick")) is_quick = true;
        else CHECK(rva_kernel_find(argv[n]), "%s does not run here", argv[n]);
    }
    for (int n = 0; n < NAMES; n++)
        if (rva_kernel_find(names[n])) check_transform(rva_kernel_find(names[n]));
    const int samples = is_quick ? SECOND : 10 * SECOND;
    uint8_t *microphone = malloc(2 * (size_t)samples), *reference = malloc(2 * (size_t)samples);
    make(microphone, reference, samples);
    for (uint32_t options = 0; options <= RVA_ECHO_SUPPRESS; options++) {
        check_sameness(microphone, reference, samples, options);
        check_untouched(microphone, samples, options);
    }
    rva_echo *echo = opened("", RVA_ECHO_SUPPRESS);
    CHECK(rva_echo_process(echo, microphone, reference, microphone, RVA_ECHO_BLOCK - 1) == -1, "half a block");
    CHECK(rva_echo_open(echo, rva_echo_bytes() - 1, 0) == -1, "too small");
    CHECK(rva_echo_open((rva_echo *)(void *)((char *)echo + 4), rva_echo_bytes() + 64, 0) == -1, "not aligned");
    CHECK(rva_echo_open(echo, rva_echo_bytes(), 2) == -1, "an unknown option");
    CHECK(rva_echo_bytes() <= 300 * 1024, "%zu bytes", rva_echo_bytes());
    free(echo);
    free(microphone);
    free(reference);
    printf("%d failures\n", failures);
    return failures != 0;
}
