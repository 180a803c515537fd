// zita-resampler is C++; this is its contender.
#include <zita-resampler/resampler.h>

#include "resample_driver.h"

struct zita_state {
    Resampler resampler;
    float out[4096];
};

static void *zita_open(unsigned rate_hz, int) {
    zita_state *state = new zita_state;
    if (state->resampler.setup(rate_hz, OUT_HZ, 1, 48)) {
        delete state;
        return nullptr;
    }
    return state;
}

static size_t zita_process(void *opaque, const void *block, size_t samples, int16_t *out) {
    zita_state *state = static_cast<zita_state *>(opaque);
    Resampler &resampler = state->resampler;
    resampler.inp_count = static_cast<unsigned>(samples);
    resampler.inp_data = const_cast<float *>(static_cast<const float *>(block));
    resampler.out_count = 4096;
    resampler.out_data = state->out;
    resampler.process();
    const size_t made = 4096 - resampler.out_count;
    round_to_s16(state->out, made, out);
    return made;
}

static void zita_close(void *state) { delete static_cast<zita_state *>(state); }

extern const contender zita_48 = {"zita 48", 2, 0, 0, zita_open, zita_process, zita_close};
