#include "core/rva_convert.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "resample/rva_kernel.h"
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* With a constant format and constant strides each of these loops becomes vector code. */
#define INLINE static inline __attribute__((always_inline))

static const struct {
    uint32_t bytes;
    float scale;
} formats[] = {
    [RVA_FORMAT_S16] = {2, 1.0f / 32768.0f},  [RVA_FORMAT_S24] = {3, 1.0f / 8388608.0f},
    [RVA_FORMAT_S32] = {4, 1.0f / 2147483648.0f}, [RVA_FORMAT_F32] = {4, 1.0f},
    [RVA_FORMAT_U8] = {1, 1.0f / 128.0f},
};

/* One device sample as a float in the format's own units; adds 1 to *clipped when it is at full scale. Nothing branches,
 * and all counts are 32 bit, as lanes are. */
INLINE float read_sample(uint32_t format, const unsigned char *at, uint32_t *clipped) {
    if (format == RVA_FORMAT_S16) {
        int16_t value;
        memcpy(&value, at, sizeof value);
        *clipped += (uint32_t)(value == INT16_MAX) + (uint32_t)(value == INT16_MIN);
        return (float)value;
    }
    if (format == RVA_FORMAT_S24) {
        const int high = RVA_FIRST_IS_HIGHEST ? 0 : 2;
        const int32_t value = (int32_t)((uint32_t)at[high] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2 - high] << 8);
        *clipped += (uint32_t)(value == 0x7fffff00) + (uint32_t)(value == INT32_MIN);
        return (float)value * (1.0f / 256.0f);
    }
    if (format == RVA_FORMAT_S32) {
        int32_t value;
        memcpy(&value, at, sizeof value);
        *clipped += (uint32_t)(value == INT32_MAX) + (uint32_t)(value == INT32_MIN);
        return (float)value;
    }
    if (format == RVA_FORMAT_F32) { /* on the bits, which order as the magnitudes do: NaN is above infinity */
        int32_t bits;
        memcpy(&bits, at, sizeof bits);
        const int32_t size = bits & INT32_MAX, one = 0x3f800000, limit = RVA_CONVERT_LIMIT_BITS, infinity = 0x7f800000;
        *clipped += (uint32_t)(size >= one) - (uint32_t)(size > infinity);
        int32_t kept = size < limit ? size : limit;
        kept = size > infinity ? 0 : kept;
        kept |= bits & INT32_MIN;
        float value;
        memcpy(&value, &kept, sizeof value);
        return value;
    }
    *clipped += (uint32_t)(*at == 0) + (uint32_t)(*at == 255);
    return (float)*at - 128.0f;
}

/* One heard channel, which is `stride` bytes from sample to sample. */
INLINE uint32_t convert_one(uint32_t format, size_t stride, const unsigned char *restrict at, size_t samples,
                            float scale, float *restrict mono) {
    uint32_t clipped = 0;
    for (size_t i = 0; i < samples; i++) mono[i] = read_sample(format, at + i * stride, &clipped) * scale;
    return clipped;
}

/* Both channels of a stereo device. */
INLINE uint32_t convert_two(uint32_t format, size_t bytes, const unsigned char *restrict at, size_t samples,
                            float scale, float *restrict mono) {
    uint32_t clipped = 0;
    for (size_t i = 0; i < samples; i++) {
        const float left = read_sample(format, at + 2 * i * bytes, &clipped);
        const float right = read_sample(format, at + (2 * i + 1) * bytes, &clipped);
        mono[i] = (left + right) * scale;
    }
    return clipped;
}

INLINE uint32_t convert_some(const rva_converter *converter, uint32_t format, size_t bytes,
                             const unsigned char *restrict at, size_t samples, float *restrict mono) {
    uint32_t clipped = 0;
    for (size_t i = 0; i < samples; i++, at += converter->stride_bytes) {
        float sum = 0.0f;
        for (uint32_t k = 0; k < converter->heard_count; k++)
            sum += read_sample(format, at + converter->heard[k] * bytes, &clipped);
        mono[i] = sum * converter->scale;
    }
    return clipped;
}

INLINE uint32_t convert(const rva_converter *converter, uint32_t format, size_t bytes, const unsigned char *block,
                        size_t samples, float *mono) {
    const float scale = converter->scale;
    const unsigned char *first = block + converter->heard[0] * bytes;
    if (converter->heard_count == 1 && converter->channels == 1)
        return convert_one(format, bytes, first, samples, scale, mono);
    if (converter->heard_count == 1 && converter->channels == 2)
        return convert_one(format, 2 * bytes, first, samples, scale, mono);
    if (converter->heard_count == 2 && converter->channels == 2)
        return convert_two(format, bytes, first, samples, scale, mono);
    return convert_some(converter, format, bytes, block, samples, mono);
}

INLINE uint32_t convert_format(const rva_converter *converter, const void *block, size_t samples, float *mono) {
    switch (converter->format) {
    case RVA_FORMAT_S16: return convert(converter, RVA_FORMAT_S16, 2, block, samples, mono);
    case RVA_FORMAT_S24: return convert(converter, RVA_FORMAT_S24, 3, block, samples, mono);
    case RVA_FORMAT_S32: return convert(converter, RVA_FORMAT_S32, 4, block, samples, mono);
    case RVA_FORMAT_F32: return convert(converter, RVA_FORMAT_F32, 4, block, samples, mono);
    default: return convert(converter, RVA_FORMAT_U8, 1, block, samples, mono);
    }
}

RVA_REALTIME static uint32_t run_anywhere(const rva_converter *converter, const void *block, size_t samples,
                                          float *mono) {
    return convert_format(converter, block, samples, mono);
}

/* int24 by a byte shuffle: compilers take several times as long. Of sixteen bytes twelve, four samples, are spread to the
 * upper bytes of four int32; of eight floats neighbours are added. */
typedef int32_t four_ints __attribute__((vector_size(16)));
typedef float four __attribute__((vector_size(16)));
#if defined(__x86_64__) || defined(__i386__)
#define SHUFFLE __attribute__((target("ssse3")))
#define HAS_SHUFFLE __builtin_cpu_supports("ssse3")
SHUFFLE INLINE four_ints spread(const unsigned char *at) {
    const __m128i places = _mm_setr_epi8(-1, 0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11);
    return (four_ints)_mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)at), places);
}
SHUFFLE INLINE four add_pairs(four a, four b) { return _mm_shuffle_ps(a, b, 0x88) + _mm_shuffle_ps(a, b, 0xdd); }
#elif defined(__aarch64__) && !RVA_FIRST_IS_HIGHEST
#define SHUFFLE
#define HAS_SHUFFLE true
INLINE four_ints spread(const unsigned char *at) {
    static const uint8_t places[] = {255, 0, 1, 2, 255, 3, 4, 5, 255, 6, 7, 8, 255, 9, 10, 11}; /* 255: a zero */
    return (four_ints)vqtbl1q_u8(vld1q_u8(at), vld1q_u8(places));
}
INLINE four add_pairs(four a, four b) { return (four)vpaddq_f32((float32x4_t)a, (float32x4_t)b); }
#endif

#ifdef SHUFFLE
SHUFFLE INLINE four read_four(const unsigned char *at, four_ints *clipped) {
    const four_ints values = spread(at);
    *clipped -= (values == 0x7fffff00) + (values == INT32_MIN); /* what is equal is -1 */
    return __builtin_convertvector(values, four);
}

/* int24 of one channel or of two that are both heard; the rest goes as everywhere else, in the same order of adding. */
RVA_REALTIME SHUFFLE static uint32_t run_int24(const rva_converter *converter, const void *block, size_t samples,
                                               float *mono) {
    const unsigned char *at = block;
    const size_t stride = converter->stride_bytes;
    const bool is_stereo = converter->channels == 2;
    const float scale = converter->scale * (1.0f / 256.0f);
    four_ints clipped = {0};
    size_t done = 0;
    for (; (done + 4) * stride + 4 <= samples * stride; done += 4, at += 4 * stride) { /* a load is four bytes too long */
        four sum = read_four(at, &clipped);
        if (is_stereo) sum = add_pairs(sum, read_four(at + 12, &clipped));
        sum *= scale;
        memcpy(mono + done, &sum, sizeof sum);
    }
    const uint32_t counted = (uint32_t)(clipped[0] + clipped[1] + clipped[2] + clipped[3]);
    return counted + run_anywhere(converter, at, samples - done, mono + done);
}
#endif

#if defined(__x86_64__) || defined(__i386__)
RVA_REALTIME __attribute__((target("avx2"))) static uint32_t run_avx2(const rva_converter *converter, const void *block,
                                                                      size_t samples, float *mono) {
    return convert_format(converter, block, samples, mono);
}
#endif

int rva_convert_open(rva_converter *converter, const rva_config *config) {
    if (config->channels < 1 || config->channels > RVA_CHANNELS_MAX) return RVA_ERROR_CHANNELS;
    if (config->format < RVA_FORMAT_S16 || config->format > RVA_FORMAT_U8) return RVA_ERROR_FORMAT;
    if (config->channels < 32 && config->channel_mask >> config->channels) return RVA_ERROR_CHANNELS;
    if (!(config->gain_db >= -60.0f && config->gain_db <= 60.0f)) return RVA_ERROR_GAIN;
    memset(converter, 0, sizeof *converter);
    converter->run = run_anywhere;
    converter->format = config->format;
    converter->channels = config->channels;
    for (uint32_t channel = 0; channel < config->channels; channel++)
        if (!config->channel_mask || config->channel_mask >> channel & 1)
            converter->heard[converter->heard_count++] = channel;
    converter->is_plain_int16 = config->format == RVA_FORMAT_S16 && config->channels == 1;
    converter->stride_bytes = formats[config->format].bytes * config->channels;
#ifdef SHUFFLE
    const rva_kernel *kernel = rva_kernel_find(getenv("RAVATAR_AUDIO_KERNEL"));
#if defined(__x86_64__) || defined(__i386__)
    if (kernel == &rva_kernel_avx2 || kernel == &rva_kernel_avx512) converter->run = run_avx2;
#endif
    const bool is_short = converter->channels <= 2 && converter->heard_count == converter->channels;
    if (kernel && kernel != &rva_kernel_portable && config->format == RVA_FORMAT_S24 && is_short && HAS_SHUFFLE)
        converter->run = run_int24;
#endif
    converter->scale =
        (float)(pow(10.0, config->gain_db / 20.0) / converter->heard_count) * formats[config->format].scale;
    return RVA_OK;
}

RVA_REALTIME uint32_t rva_convert_run(const rva_converter *converter, const void *block, size_t samples, float *mono) {
    return converter->run(converter, block, samples, mono);
}

RVA_CALLBACK size_t rva_convert_resample(const rva_converter *converter, const void *block, size_t samples,
                                         uint32_t *clipped, rva_resampler *resampler, float **outputs) {
    const unsigned char *at = block;
    if (converter->is_plain_int16) {
        const size_t taken = rva_resample_take_int16(resampler, block, samples, converter->scale, clipped);
        at += taken * sizeof(int16_t);
        samples -= taken;
    }
    if (samples) *clipped += rva_convert_run(converter, at, samples, rva_resample_input(resampler));
    return rva_resample_run(resampler, samples, outputs);
}
