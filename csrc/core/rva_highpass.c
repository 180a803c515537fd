#include "core/rva_highpass.h"

#include <math.h>

void rva_highpass_open(rva_highpass *highpass) {
    highpass->mean = 0.0f;
    highpass->share = (float)-expm1(-2 * 3.14159265358979323846 * RVA_HIGHPASS_HZ / RVA_RATE_HZ);
}

RVA_REALTIME void rva_highpass_run(rva_highpass *highpass, float *samples, size_t count) {
    const float share = highpass->share;
    float mean = highpass->mean;
    for (size_t i = 0; i < count; i++) {
        const float value = samples[i];
        samples[i] = value - mean;
        mean += share * (value - mean);
    }
    /* In silence the mean would decay into denormals, which some processors take a hundred times as long to add. */
    highpass->mean = mean > -1e-20f && mean < 1e-20f ? 0.0f : mean;
}
