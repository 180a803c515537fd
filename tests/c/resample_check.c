/* Checks the resampler from C: every kernel that runs here against the portable one, how the input is cut, counts, and
 * int16 that goes straight into the first stage against int16 that is converted before.
 *
 * resample_check [quick] [KERNEL...]: the kernels named must be there; quick is less sound and one way of cutting it, for
 * emulated processors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/rva_convert.h"
#include "resample/rva_kernel.h"
#include "resample/rva_resample.h"

static int failures;

#define CHECK(condition, ...)                                                                                         \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            failures++;                                                                                               \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                           \
            fprintf(stderr, __VA_ARGS__);                                                                             \
            fputc('\n', stderr);                                                                                      \
        }                                                                                                             \
    } while (0)

static const char *const names[] = {"portable", "sse2", "avx2", "avx512", "neon"};
static const uint32_t rates_hz[] = {8000, 11025, 12000, 16000, 16001, 22050, 24000, 32000, 44100, 48000, 96000, 191999};

enum { INPUT = 5000, OUTPUT = 2 * INPUT + 16 };

static float input[INPUT], expected[OUTPUT], output[OUTPUT];
static size_t inputs = INPUT;
static uint32_t cuts[] = {1, 47, 1887};
static size_t cut_count = 3;

static uint32_t noise(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* The whole input in blocks of 1 to `longest` samples (0: as long as can be); returns the number of outputs. */
static size_t convert(uint32_t rate_hz, uint32_t profile, uint32_t phase, uint32_t longest, float *to) {
    const rva_config config = {
        .rate_hz = rate_hz, .channels = 1, .format = RVA_FORMAT_F32, .profile = profile, .phase = phase};
    rva_resampler *resampler;
    const int code = rva_resample_open(&config, &resampler);
    CHECK(code == RVA_OK, "%d at %u Hz", code, (unsigned)rate_hz);
    if (code != RVA_OK) exit(1);
    static float made[RVA_RESAMPLE_OUTPUTS];
    memcpy(rva_resample_input(resampler), input + 100, 101 * sizeof *input); /* an earlier sound leaves nothing */
    float *outputs;
    rva_resample_run(resampler, 101, &outputs);
    rva_resample_end(resampler, made);
    uint32_t state = rate_hz + longest;
    size_t total = 0;
    for (size_t at = 0; at < inputs;) {
        size_t step = longest ? 1 + noise(&state) % longest : RVA_RESAMPLE_CHUNK;
        step = step < inputs - at ? step : inputs - at;
        step = step < RVA_RESAMPLE_CHUNK ? step : RVA_RESAMPLE_CHUNK;
        memcpy(rva_resample_input(resampler), input + at, step * sizeof *input);
        const size_t count = rva_resample_run(resampler, step, &outputs);
        memcpy(to + total, outputs, count * sizeof *to);
        total += count;
        at += step;
    }
    const size_t count = rva_resample_end(resampler, made);
    memcpy(to + total, made, count * sizeof *to);
    rva_resample_close(resampler);
    return total + count;
}

static void check_kernel(const char *name, uint32_t rate_hz, uint32_t profile, uint32_t phase) {
    setenv("RAVATAR_AUDIO_KERNEL", "portable", 1);
    const size_t wanted = convert(rate_hz, profile, phase, 0, expected);
    CHECK(wanted == ((uint64_t)inputs * 16000 + rate_hz - 1) / rate_hz, "%zu outputs", wanted);
    setenv("RAVATAR_AUDIO_KERNEL", name, 1);
    const size_t count = convert(rate_hz, profile, phase, 0, output);
    CHECK(count == wanted, "%s, %u Hz: %zu and %zu outputs", name, (unsigned)rate_hz, count, wanted);
    float worst = 0.0f;
    for (size_t i = 0; i < count; i++) worst = fmaxf(worst, fabsf(output[i] - expected[i]));
    CHECK(worst < 2e-6f, "%s, %u Hz, profile %u, phase %u: off by %g", name, (unsigned)rate_hz, (unsigned)profile,
          (unsigned)phase, (double)worst);
    memcpy(expected, output, count * sizeof *output);
    for (size_t c = 0; c < cut_count; c++) {
        convert(rate_hz, profile, phase, cuts[c], output);
        CHECK(memcmp(output, expected, count * sizeof *output) == 0, "%s, %u Hz: blocks of up to %u differ", name,
              (unsigned)rate_hz, (unsigned)cuts[c]);
    }
}

/* int16 sound with clipping in it, by the way that a device's block goes (`is_direct`), or converted before. Each block is memory of
 * its own, so that sanitizers see who reads beyond it. Returns the number of outputs. */
static size_t convert_int16(uint32_t rate_hz, uint32_t longest, int is_direct, uint32_t *clipped, float *to) {
    const rva_config config = {.rate_hz = rate_hz, .channels = 1, .format = RVA_FORMAT_S16, .gain_db = 3.0f};
    rva_converter converter;
    rva_resampler *resampler;
    CHECK(rva_convert_open(&converter, &config) == RVA_OK, "%u Hz", (unsigned)rate_hz);
    if (rva_resample_open(&config, &resampler) != RVA_OK) exit(1);
    uint32_t state = rate_hz + longest;
    size_t total = 0;
    *clipped = 0;
    for (size_t at = 0; at < inputs;) {
        size_t step = 1 + noise(&state) % longest;
        step = step < inputs - at ? step : inputs - at;
        int16_t *block = malloc(step * sizeof *block);
        if (!block) exit(1);
        for (size_t i = 0; i < step; i++) {
            const float value = input[at + i] * 40000.0f;
            block[i] = (int16_t)(value > 32767.0f ? 32767.0f : value < -32768.0f ? -32768.0f : value);
        }
        float *outputs;
        size_t count;
        if (is_direct) {
            count = rva_convert_resample(&converter, block, step, clipped, resampler, &outputs);
        } else {
            *clipped += rva_convert_run(&converter, block, step, rva_resample_input(resampler));
            count = rva_resample_run(resampler, step, &outputs);
        }
        free(block);
        memcpy(to + total, outputs, count * sizeof *to);
        total += count;
        at += step;
    }
    rva_resample_close(resampler);
    return total;
}

static void check_int16(const char *name, uint32_t rate_hz) {
    setenv("RAVATAR_AUDIO_KERNEL", name, 1);
    uint32_t wanted_clipped, clipped;
    const size_t wanted = convert_int16(rate_hz, RVA_RESAMPLE_CHUNK, 0, &wanted_clipped, expected);
    CHECK(wanted_clipped > inputs / 10, "%u of %zu", (unsigned)wanted_clipped, inputs);
    for (size_t c = 0; c < cut_count; c++) {
        const uint32_t longest = cuts[c] < RVA_RESAMPLE_CHUNK ? cuts[c] : RVA_RESAMPLE_CHUNK;
        const size_t count = convert_int16(rate_hz, longest, 1, &clipped, output);
        CHECK(count == wanted, "%s, %u Hz: %zu and %zu outputs", name, (unsigned)rate_hz, count, wanted);
        CHECK(clipped == wanted_clipped, "%s, %u Hz: %u and %u clipped", name, (unsigned)rate_hz, (unsigned)clipped,
              (unsigned)wanted_clipped);
        CHECK(memcmp(output, expected, count * sizeof *output) == 0, "%s, %u Hz: int16 in blocks of up to %u differs", name,
              (unsigned)rate_hz, (unsigned)longest);
    }
}

int main(int count, char **arguments) {
    uint32_t state = 1;
    if (count > 1 && strcmp(arguments[1], "quick") == 0) {
        inputs = 1500;
        cuts[0] = 97;
        cut_count = 1;
        arguments++, count--;
    }
    for (size_t i = 0; i < INPUT; i++) input[i] = (float)(noise(&state) & 0xffff) / 32768.0f - 1.0f;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        if (!rva_kernel_find(names[n])) {
            for (int i = 1; i < count; i++) CHECK(strcmp(arguments[i], names[n]) != 0, "%s does not run here", names[n]);
            continue;
        }
        printf("%s\n", names[n]);
        for (size_t r = 0; r < sizeof rates_hz / sizeof *rates_hz; r++)
            for (uint32_t profile = 0; profile <= RVA_PROFILE_HIGH; profile++)
                for (uint32_t phase = 0; phase <= RVA_PHASE_MINIMUM; phase++)
                    if (!profile || r % 3 == profile) check_kernel(names[n], rates_hz[r], profile, phase);
        for (size_t r = 0; r < sizeof rates_hz / sizeof *rates_hz; r++) check_int16(names[n], rates_hz[r]);
    }
    CHECK(!rva_kernel_find("no such kernel"), "found");
    if (failures) fprintf(stderr, "%d failures\n", failures);
    return failures != 0;
}
