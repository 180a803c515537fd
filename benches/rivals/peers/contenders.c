/* The contenders: this project's core in its profiles, and the libraries that its users would reach for. */
#include "contenders.h"

#include <stdlib.h>
#include <string.h>

#include "core/rva_convert.h"
#include "core/rva_quantize.h"
#include "resample/rva_resample.h"

typedef struct {
    rva_converter converter;
    rva_resampler *resampler;
} own_state;

static void own_close(void *opaque) {
    own_state *state = opaque;
    rva_resample_close(state->resampler);
    free(state);
}

static void *own_open(unsigned rate_hz, int input, uint32_t profile, uint32_t phase) {
    own_state *state = calloc(1, sizeof *state);
    rva_config config = {.rate_hz = rate_hz, .channels = 1, .profile = profile, .phase = phase, .capacity_frames = 8};
    config.format = input == INPUT_S16 ? RVA_FORMAT_S16 : RVA_FORMAT_F32;
    if (!state || rva_convert_open(&state->converter, &config) || rva_resample_open(&config, &state->resampler)) exit(3);
    return state;
}

static size_t own_process(void *opaque, const void *block, size_t samples, int16_t *out) {
    own_state *state = opaque;
    const unsigned char *at = block;
    size_t made = 0;
    while (samples) {
        const size_t step = samples < RVA_RESAMPLE_CHUNK ? samples : RVA_RESAMPLE_CHUNK;
        uint32_t clipped = 0;
        float *outputs;
        const size_t count = rva_convert_resample(&state->converter, at, step, &clipped, state->resampler, &outputs);
        rva_quantize_run(outputs, count, out + made);
        made += count;
        at += step * state->converter.stride_bytes;
        samples -= step;
    }
    return made;
}

#define OWN(identifier, text, profile, phase, cold)                                                                   \
    static void *identifier##_open(unsigned rate_hz, int input) { return own_open(rate_hz, input, profile, phase); }  \
    static const contender identifier = {text, 3, 0, cold, identifier##_open, own_process, own_close}

OWN(own_balanced, "balanced", RVA_PROFILE_BALANCED, RVA_PHASE_LINEAR, 1);
OWN(own_low, "low_latency", RVA_PROFILE_LOW_LATENCY, RVA_PHASE_LINEAR, 1);
OWN(own_high, "high", RVA_PROFILE_HIGH, RVA_PHASE_LINEAR, 0);
OWN(own_minimum, "balanced minimum", RVA_PROFILE_BALANCED, RVA_PHASE_MINIMUM, 0);

#ifdef HAVE_SOXR
#include <soxr.h>

static void *soxr_any_open(unsigned rate_hz, int input, unsigned long quality) {
    const soxr_io_spec_t io = soxr_io_spec(input == INPUT_S16 ? SOXR_INT16_I : SOXR_FLOAT32_I, SOXR_INT16_I);
    soxr_io_spec_t undithered = io;
    undithered.flags = SOXR_NO_DITHER;
    const soxr_quality_spec_t spec = soxr_quality_spec(quality, 0);
    return soxr_create(rate_hz, OUT_HZ, 1, NULL, &undithered, &spec, NULL);
}
static void *soxr_hq_open(unsigned rate_hz, int input) { return soxr_any_open(rate_hz, input, SOXR_HQ); }
static void *soxr_vhq_open(unsigned rate_hz, int input) { return soxr_any_open(rate_hz, input, SOXR_VHQ); }
static size_t soxr_any_process(void *state, const void *block, size_t samples, int16_t *out) {
    size_t made = 0;
    soxr_process(state, block, samples, NULL, out, 4096, &made);
    return made;
}
static void soxr_any_close(void *state) { soxr_delete(state); }
static const contender soxr_hq = {"soxr HQ", 3, 0, 1, soxr_hq_open, soxr_any_process, soxr_any_close};
static const contender soxr_vhq = {"soxr VHQ", 3, 0, 0, soxr_vhq_open, soxr_any_process, soxr_any_close};
#endif

#ifdef HAVE_SPEEX
#include <speex/speex_resampler.h>

typedef struct {
    SpeexResamplerState *resampler;
    int input;
    float out[4096];
} speex_state;

static void *speex_open(unsigned rate_hz, int input, int quality) {
    speex_state *state = calloc(1, sizeof *state);
    int error = 0;
    state->resampler = speex_resampler_init(1, rate_hz, OUT_HZ, quality, &error);
    state->input = input;
    return state;
}
static void *speex_5_open(unsigned rate_hz, int input) { return speex_open(rate_hz, input, 5); }
static void *speex_7_open(unsigned rate_hz, int input) { return speex_open(rate_hz, input, 7); }
static void *speex_10_open(unsigned rate_hz, int input) { return speex_open(rate_hz, input, 10); }
static size_t speex_process(void *opaque, const void *block, size_t samples, int16_t *out) {
    speex_state *state = opaque;
    spx_uint32_t taken = (spx_uint32_t)samples, made = 4096;
    if (state->input == INPUT_S16) {
        speex_resampler_process_int(state->resampler, 0, block, &taken, out, &made);
    } else {
        speex_resampler_process_float(state->resampler, 0, block, &taken, state->out, &made);
        round_to_s16(state->out, made, out);
    }
    return made;
}
static void speex_close(void *opaque) {
    speex_state *state = opaque;
    speex_resampler_destroy(state->resampler);
    free(state);
}
static const contender speex_5 = {"speexdsp q5", 3, 0, 0, speex_5_open, speex_process, speex_close};
static const contender speex_7 = {"speexdsp q7", 3, 0, 0, speex_7_open, speex_process, speex_close};
static const contender speex_10 = {"speexdsp q10", 3, 1, 0, speex_10_open, speex_process, speex_close};
#endif

#ifdef HAVE_SAMPLERATE
#include <samplerate.h>

typedef struct {
    SRC_STATE *resampler;
    double ratio;
    float out[4096];
} src_state;

static void *src_open(unsigned rate_hz, int input) {
    (void)input;
    src_state *state = calloc(1, sizeof *state);
    int error = 0;
    state->resampler = src_new(SRC_SINC_MEDIUM_QUALITY, 1, &error);
    state->ratio = (double)OUT_HZ / rate_hz;
    return state;
}
static size_t src_run(void *opaque, const void *block, size_t samples, int16_t *out) {
    src_state *state = opaque;
    SRC_DATA data = {.data_in = block, .input_frames = (long)samples, .data_out = state->out, .output_frames = 4096};
    data.src_ratio = state->ratio;
    src_process(state->resampler, &data);
    round_to_s16(state->out, (size_t)data.output_frames_gen, out);
    return (size_t)data.output_frames_gen;
}
static void src_close(void *opaque) {
    src_state *state = opaque;
    src_delete(state->resampler);
    free(state);
}
static const contender samplerate_medium = {"libsamplerate MEDIUM", 2, 1, 0, src_open, src_run, src_close};
#endif

#ifdef HAVE_SWRESAMPLE
#include <libavutil/opt.h>
#include <libswresample/swresample.h>

static void *swr_any_open(unsigned rate_hz, int input) {
    SwrContext *context = swr_alloc();
    av_opt_set_int(context, "in_channel_layout", 4, 0); /* front centre */
    av_opt_set_int(context, "out_channel_layout", 4, 0);
    av_opt_set_int(context, "in_sample_rate", rate_hz, 0);
    av_opt_set_int(context, "out_sample_rate", OUT_HZ, 0);
    av_opt_set_sample_fmt(context, "in_sample_fmt", input == INPUT_S16 ? AV_SAMPLE_FMT_S16 : AV_SAMPLE_FMT_FLT, 0);
    av_opt_set_sample_fmt(context, "out_sample_fmt", AV_SAMPLE_FMT_S16, 0);
    av_opt_set_int(context, "filter_size", 64, 0);
    if (swr_init(context) < 0) exit(4);
    return context;
}
static size_t swr_any_process(void *state, const void *block, size_t samples, int16_t *out) {
    const uint8_t *in = block;
    uint8_t *to = (uint8_t *)out;
    const int made = swr_convert(state, &to, 4096, &in, (int)samples);
    return made < 0 ? 0 : (size_t)made;
}
static void swr_any_close(void *state) {
    SwrContext *context = state;
    swr_free(&context);
}
static const contender swresample_64 = {"libswresample 64", 3, 0, 0, swr_any_open, swr_any_process, swr_any_close};
#endif

const contender *const contenders[] = {
    &own_balanced, &own_low, &own_high, &own_minimum, &int16_path,
#ifdef HAVE_SOXR
    &soxr_hq, &soxr_vhq,
#endif
#ifdef HAVE_SPEEX
    &speex_5, &speex_7, &speex_10,
#endif
#ifdef HAVE_ZITA
    &zita_48,
#endif
#ifdef HAVE_SAMPLERATE
    &samplerate_medium,
#endif
#ifdef HAVE_SWRESAMPLE
    &swresample_64,
#endif
    NULL,
};
