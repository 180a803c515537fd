/* The chain against any rate, format, channels, options, cuts and sample bits. What must hold for every input:
 * - nothing breaks (the sanitizers watch), and what cannot be opened says so;
 * - the output does not depend on how the input is cut: samples and levels are the same;
 * - what comes out is input x 16,000 / rate, rounded up, and numbers, positions and lengths fit together.
 *
 * With -DREPLAY it is a program that runs the files of its arguments, for compilers without a fuzzer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/rva.h"

enum { HEADER_BYTES = 14, FRAMES_MOST = 64 };

typedef struct {
    uint64_t samples, frames, hash, position;
} outcome;

#define MUST(condition)                                                                                              \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            fprintf(stderr, "%s does not hold\n", #condition);                                                       \
            abort();                                                                                                 \
        }                                                                                                            \
    } while (0)

static void hash_bytes(uint64_t *hash, const void *data, size_t size) { /* FNV-1a */
    const unsigned char *at = data;
    for (size_t i = 0; i < size; i++) *hash = (*hash ^ at[i]) * 1099511628211u;
}

static void take(rva_chain *chain, outcome *out) {
    for (const rva_frame *frame; (frame = rva_chain_peek(chain)); rva_chain_advance(chain)) {
        MUST(frame->seq == out->frames++);
        MUST(frame->position_samples == out->position);
        MUST(frame->length_samples >= 1 && frame->length_samples <= RVA_FRAME_SAMPLES);
        uint32_t length = 0;
        for (int i = 0; i < RVA_FRAME_HOPS; i++) {
            const rva_hop *hop = &frame->hops[i];
            length += hop->length_samples;
            MUST(hop->peak <= 32768 && hop->energy <= (uint64_t)hop->length_samples << 30);
            hash_bytes(&out->hash, &hop->energy, sizeof hop->energy);
            hash_bytes(&out->hash, &hop->zero_run_samples, sizeof hop->zero_run_samples);
        }
        MUST(length == frame->length_samples);
        for (uint32_t i = length; i < RVA_FRAME_SAMPLES; i++) MUST(frame->pcm[i] == 0);
        hash_bytes(&out->hash, frame->pcm, length * sizeof *frame->pcm);
        out->samples += length;
        out->position += length;
    }
}

/* Pushes everything in cuts that follow from `seed`, and closes the chain. */
static outcome convert(rva_chain *chain, const uint8_t *sound, size_t samples, size_t stride, uint32_t seed) {
    outcome out = {.hash = 14695981039346656037u};
    for (size_t at = 0; at < samples;) {
        seed = seed * 1664525u + 1013904223u;
        size_t step = seed >> 28 == 0 ? 4096 : seed >> 24;
        if (step == 0) step = 1;
        if (step > samples - at) step = samples - at;
        rva_chain_push(chain, sound + at * stride, step, (int64_t)at);
        at += step;
        take(chain, &out);
    }
    rva_chain_finish(chain);
    take(chain, &out);
    rva_statistics statistics;
    rva_chain_statistics(chain, &statistics);
    MUST(statistics.ring_dropped_frames == 0 && statistics.device_samples == samples);
    MUST(statistics.converted_samples == out.samples);
    rva_chain_close(chain);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t rates[] = {8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 176400, 192000};
    static const size_t bytes[] = {0, 2, 3, 4, 4, 1};
    if (size < HEADER_BYTES) return 0;
    uint32_t chosen = data[0];
    rva_config config = {
        .rate_hz = chosen < 200 ? rates[chosen % 11] : 7000u + (data[1] | data[2] << 8) * 3u,
        .channels = data[3] < 200 ? 1u + data[3] % 4 : data[3] - 200u,
        .format = data[4] % 7,
        .channel_mask = data[5],
        .profile = data[6] % 4,
        .phase = data[7] % 3,
        .options = data[8] & RVA_OPTION_DC_BLOCK,
        .gain_db = (float)(int8_t)data[9],
        .capacity_frames = FRAMES_MOST,
        .wake_fd = -1,
    };
    rva_chain *chain;
    int code = rva_chain_open(&config, &chain);
    if (code != RVA_OK) {
        MUST(chain == NULL && rva_error_text(code) != NULL);
        return 0;
    }
    size_t stride = bytes[config.format] * config.channels;
    size_t samples = (size - HEADER_BYTES) / stride;
    if (samples > 20000) samples = 20000;
    /* A copy of the exact size, so that a read beyond the block is caught. */
    uint8_t *sound = malloc(samples * stride + 1);
    memcpy(sound, data + HEADER_BYTES, samples * stride);
    uint32_t seed;
    memcpy(&seed, data + 10, sizeof seed);
    outcome one = convert(chain, sound, samples, stride, seed);
    MUST(rva_chain_open(&config, &chain) == RVA_OK);
    outcome other = convert(chain, sound, samples, stride, ~seed);
    MUST(one.hash == other.hash && one.samples == other.samples);
    MUST(one.samples == ((uint64_t)samples * RVA_RATE_HZ + config.rate_hz - 1) / config.rate_hz);
    free(sound);
    return 0;
}

#ifdef REPLAY
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) return perror(argv[i]), 2;
        static uint8_t data[1 << 20];
        size_t size = fread(data, 1, sizeof data, file);
        fclose(file);
        LLVMFuzzerTestOneInput(data, size);
    }
    printf("%d inputs\n", argc - 1);
    return 0;
}
#endif
