#include "rva_convert.h"

#include <math.h>
#include <string.h>

static const struct {
    uint32_t bytes;
    float scale;
} formats[] = {
    [RVA_FORMAT_S16] = {2, 1.0f / 32768.0f},  [RVA_FORMAT_S24] = {3, 1.0f / 8388608.0f},
    [RVA_FORMAT_S32] = {4, 1.0f / 2147483648.0f}, [RVA_FORMAT_F32] = {4, 1.0f},
    [RVA_FORMAT_U8] = {1, 1.0f / 128.0f},
};

int rva_convert_open(rva_converter *converter, const rva_config *config) {
    if (config->channels < 1 || config->channels > RVA_CHANNELS_MAX) return RVA_ERROR_CHANNELS;
    if (config->format < RVA_FORMAT_S16 || config->format > RVA_FORMAT_U8) return RVA_ERROR_FORMAT;
    if (config->channels < 32 && config->channel_mask >> config->channels) return RVA_ERROR_CHANNELS;
    if (!(config->gain_db >= -60.0f && config->gain_db <= 60.0f)) return RVA_ERROR_GAIN;
    memset(converter, 0, sizeof *converter);
    converter->format = config->format;
    converter->channels = config->channels;
    for (uint32_t channel = 0; channel < config->channels; channel++)
        if (!config->channel_mask || config->channel_mask >> channel & 1)
            converter->heard[converter->heard_count++] = channel;
    converter->sample_bytes = formats[config->format].bytes;
    converter->stride_bytes = converter->sample_bytes * config->channels;
    converter->scale =
        (float)(pow(10.0, config->gain_db / 20.0) / converter->heard_count) * formats[config->format].scale;
    return RVA_OK;
}

/* One device sample as a float in the format's own units, and whether it is at full scale. */
static inline float read_sample(uint32_t format, const unsigned char *at, uint32_t *clipped) {
    switch (format) {
    case RVA_FORMAT_S16: {
        int16_t value;
        memcpy(&value, at, sizeof value);
        *clipped += value == INT16_MAX || value == INT16_MIN;
        return value;
    }
    case RVA_FORMAT_S24: {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        int32_t value = (int32_t)((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8) >> 8;
#else
        int32_t value = (int32_t)((uint32_t)at[2] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[0] << 8) >> 8;
#endif
        *clipped += value == 8388607 || value == -8388608;
        return (float)value;
    }
    case RVA_FORMAT_S32: {
        int32_t value;
        memcpy(&value, at, sizeof value);
        *clipped += value == INT32_MAX || value == INT32_MIN;
        return (float)value;
    }
    case RVA_FORMAT_F32: {
        float value;
        memcpy(&value, at, sizeof value);
        *clipped += value >= 1.0f || value <= -1.0f;
        if (!(value == value)) return 0.0f;
        return value > 16.0f ? 16.0f : value < -16.0f ? -16.0f : value;
    }
    default:
        *clipped += *at == 0 || *at == 255;
        return (float)*at - 128.0f;
    }
}

RVA_REALTIME uint32_t rva_convert_run(const rva_converter *converter, const void *block, size_t samples, float *mono) {
    uint32_t clipped = 0;
    const unsigned char *row = block;
    for (size_t i = 0; i < samples; i++, row += converter->stride_bytes) {
        float sum = 0.0f;
        for (uint32_t k = 0; k < converter->heard_count; k++)
            sum += read_sample(converter->format, row + converter->heard[k] * converter->sample_bytes, &clipped);
        mono[i] = sum * converter->scale;
    }
    return clipped;
}
