/* rva_convert - device samples, any format and channels, to mono float. Internal. */
#ifndef RVA_CONVERT_H
#define RVA_CONVERT_H

#include <stdbool.h>

#include "core/rva.h"
#include "resample/rva_resample.h"
#include "core/rva_rt.h"

#define RVA_CONVERT_LIMIT_BITS 0x41800000 /* 16.0f, the largest magnitude of a float before gain: 24 dB over full scale */

typedef struct rva_converter rva_converter;

struct rva_converter {
    uint32_t (*run)(const rva_converter *converter, const void *block, size_t samples, float *mono);
    uint32_t format, channels;
    uint32_t heard[RVA_CHANNELS_MAX]; /* indices of the channels that are averaged */
    uint32_t heard_count;
    uint32_t stride_bytes; /* from one sample to the next of the same channel */
    bool is_plain_int16;   /* of one channel: a resampler may take it as it is */
    float scale;           /* full scale of the format to 1.0, gain and 1/heard_count included */
};

/* RVA_OK, or which field is wrong. The loops are compiled once more for AVX2, and go with the resampler's
 * kernel; int24 of one or two channels has a loop of its own for SSSE3 and arm64. */
int rva_convert_open(rva_converter *converter, const rva_config *config);

/* Writes `samples` mono floats (1.0 is full scale; beyond is allowed, NaN becomes 0 and magnitudes are limited) and
 * returns how many heard device samples were at full scale. */
RVA_REALTIME uint32_t rva_convert_run(const rva_converter *converter, const void *block, size_t samples, float *mono);

/* The same into a resampler, which is run; up to RVA_RESAMPLE_CHUNK samples. Adds to *clipped, returns what rva_resample_run
 * returns. */
RVA_REALTIME size_t rva_convert_resample(const rva_converter *converter, const void *block, size_t samples,
                                         uint32_t *clipped, rva_resampler *resampler, float **outputs);

#endif
