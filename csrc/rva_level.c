#include "rva_level.h"

RVA_REALTIME void rva_level_add(rva_hop *hop, const int16_t *pcm, size_t count) {
    uint64_t energy = 0;
    int32_t low = 0, high = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t value = pcm[i];
        energy += (uint32_t)(value * value);
        low = value < low ? value : low;
        high = value > high ? value : high;
    }
    uint32_t peak = (uint32_t)(high > -low ? high : -low);
    uint64_t run = 0;
    while (run < count && pcm[count - 1 - run] == 0) run++;
    if (run == count) run += hop->zero_run_samples;
    hop->zero_run_samples = run > UINT32_MAX ? UINT32_MAX : (uint32_t)run;
    hop->energy += energy;
    hop->length_samples += (uint32_t)count;
    hop->peak = peak > hop->peak ? peak : hop->peak;
}
