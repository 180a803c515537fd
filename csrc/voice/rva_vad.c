#include "voice/rva_vad.h"

#include <math.h>
#include <string.h>

#include "core/rva.h"
#include "core/rva_rt.h"

enum { WINDOW_HOPS = 31, WINDOWS = 4 }; /* 0.5 s each: the floor looks back 2 s and what the open one has */

static const double FULL_SCALE = 32768.0 * 32768.0;
static const double SMOOTHING = 0.75; /* of the energy from hop to hop: a time constant of 56 ms */
static const double UNKNOWN = 1e300;  /* a minimum of nothing */

static double power_ratio(double decibels) { return pow(10.0, decibels / 10.0); }

int rva_vad_open(rva_vad *vad, double level_dbfs, double margin_db, double hysteresis_db) {
    if (!(level_dbfs >= -90.0 && level_dbfs <= 0.0) || !(margin_db >= 0.0 && margin_db <= 40.0) ||
        !(hysteresis_db >= 0.0 && hysteresis_db <= 20.0))
        return -1;
    memset(vad, 0, sizeof *vad);
    vad->level = FULL_SCALE * power_ratio(level_dbfs);
    vad->margin = margin_db > 0.0 ? power_ratio(margin_db) : 0.0;
    vad->release = power_ratio(-hysteresis_db);
    vad->smoothed = -1.0;
    vad->window_minimum = UNKNOWN;
    for (int i = 0; i < WINDOWS; i++) vad->minima[i] = UNKNOWN;
    return 0;
}

/* The smallest of the windows; the floor before there is one is the first hop. */
RVA_REALTIME static void track_floor(rva_vad *vad, double energy) {
    vad->smoothed = vad->smoothed < 0.0 ? energy : SMOOTHING * vad->smoothed + (1.0 - SMOOTHING) * energy;
    vad->window_minimum = fmin(vad->window_minimum, vad->smoothed);
    double floor = vad->window_minimum;
    for (int i = 0; i < WINDOWS; i++) floor = fmin(floor, vad->minima[i]);
    vad->floor = floor;
    if (++vad->hops < WINDOW_HOPS) return;
    vad->minima[vad->window] = vad->window_minimum;
    vad->window = (vad->window + 1) % WINDOWS;
    vad->window_minimum = UNKNOWN;
    vad->hops = 0;
}

RVA_REALTIME static uint8_t decide(rva_vad *vad) {
    double energy = (double)vad->energy / RVA_HOP_SAMPLES;
    /* Against the floor of before, which this hop has not lifted. */
    double threshold = fmax(vad->level, vad->smoothed < 0.0 ? 0.0 : vad->floor * vad->margin);
    if (vad->is_speech) threshold *= vad->release;
    vad->is_speech = energy >= threshold;
    track_floor(vad, energy);
    rva_vad_skip(vad);
    return (uint8_t)vad->is_speech;
}

RVA_REALTIME size_t rva_vad_feed(rva_vad *vad, const void *pcm, size_t samples, uint8_t *decisions) {
    const uint8_t *bytes = pcm;
    size_t decided = 0;
    for (size_t i = 0; i < samples; i++) {
        int32_t value = (int16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
        vad->energy += (uint32_t)(value * value);
        if (++vad->filled == RVA_HOP_SAMPLES) decisions[decided++] = decide(vad);
    }
    return decided;
}

RVA_REALTIME void rva_vad_skip(rva_vad *vad) {
    vad->energy = 0;
    vad->filled = 0;
}

double rva_vad_floor_dbfs(const rva_vad *vad) {
    return vad->smoothed < 0.0 || vad->floor <= 0.0 ? -200.0 : 10.0 * log10(vad->floor / FULL_SCALE);
}
