#include "rva_quantize.h"

#include <math.h>

RVA_REALTIME void rva_quantize_run(const float *samples, size_t count, int16_t *pcm) {
    for (size_t i = 0; i < count; i++) {
        float value = samples[i] * 32768.0f;
        value = value > 32767.0f ? 32767.0f : value < -32768.0f ? -32768.0f : value;
        pcm[i] = (int16_t)lrintf(value);
    }
}

RVA_REALTIME void rva_quantize_to_little_endian(int16_t *pcm, size_t count) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (size_t i = 0; i < count; i++) {
        uint16_t value = (uint16_t)pcm[i];
        pcm[i] = (int16_t)(uint16_t)(value >> 8 | value << 8);
    }
#else
    (void)pcm;
    (void)count;
#endif
}
