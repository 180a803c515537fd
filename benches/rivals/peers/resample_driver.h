/* What benches/rivals/peers has in common: one contender is one library in one setting, fed with mono blocks of 10 ms. */
#ifndef RESAMPLE_DRIVER_H
#define RESAMPLE_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#define OUT_HZ 16000

enum { INPUT_S16, INPUT_F32 };

typedef struct {
    const char *name;
    int takes; /* bit 0: int16, bit 1: float32 */
    int is_slow; /* left out of what takes many calls */
    int is_called_cold;
    void *(*open)(unsigned rate_hz, int input);
    /* Converts `samples` of the input format to int16 (saturated) and returns how many outputs there were. */
    size_t (*process)(void *state, const void *block, size_t samples, int16_t *out);
    void (*close)(void *state);
} contender;

/* float32 to int16 for libraries that give floats: what a user of them would write, and the compiler vectorises. */
static inline void round_to_s16(const float *samples, size_t count, int16_t *out) {
    for (size_t i = 0; i < count; i++) {
        float value = samples[i] * 32768.0f;
        value = value > 32767.0f ? 32767.0f : value < -32768.0f ? -32768.0f : value;
        out[i] = (int16_t)__builtin_lrintf(value);
    }
}

extern const contender int16_path;
#ifdef __cplusplus
extern "C" {
#endif
extern const contender zita_48;
#ifdef __cplusplus
}
#endif

#endif
