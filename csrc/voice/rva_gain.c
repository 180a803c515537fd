#include "voice/rva_gain.h"

#include <math.h>
#include <string.h>

#include "core/rva.h"
#include "core/rva_rt.h"

enum { SEGMENT = 32 /* samples, 2 ms: the limiter's step */, MEAN_HOPS = 188 /* 3 s */ };

static const double FULL_SCALE = 32768.0 * 32768.0;
static const double CEILING = 29204.0; /* -1 dBFS */
static const double MOST_DB = 24.0, LEAST_DB = -20.0;
static const double NOISE_DBFS = -50.0;
static const double FLOOR_BIAS_DB = 3.0; /* by how much the noise is above the least of it, which rva_vad knows */
static const double LOUDER_DB = 8.0, SOFTER_DB = 14.0; /* another voice; soft syllables of the same one are not */
static const double SLEW_DB = 60.0 * RVA_HOP_SAMPLES / 16000.0; /* a hop */
/* Soft syllables look like noise until a pause comes: so slowly that they do not matter. */
static const double NOISE_SLEW_DB = 10.0 * RVA_HOP_SAMPLES / 16000.0;
static const double APPROACH = 0.06;                            /* of what the gain is off, a hop of speech */
static const double RELEASE_DB = 40.0 * SEGMENT / 16000.0;
/* Speech for the purpose of the gain begins where +24 dB is not yet in vain. */
static const double SPEECH_DBFS = -62.0, SPEECH_MARGIN_DB = 9.0, SPEECH_HYSTERESIS_DB = 3.0;

static double factor_of(double decibels) { return pow(10.0, decibels / 20.0); }
static double decibels_of(double energy) { return 10.0 * log10(energy / FULL_SCALE); }
static double clamped(double value, double low, double high) { return fmin(high, fmax(low, value)); }

int rva_gain_open(rva_gain *gain, double target_dbfs) {
    if (!(target_dbfs >= -40.0 && target_dbfs <= -12.0)) return -1;
    memset(gain, 0, sizeof *gain);
    rva_vad_open(&gain->vad, SPEECH_DBFS, SPEECH_MARGIN_DB, SPEECH_HYSTERESIS_DB);
    gain->target_db = target_dbfs;
    gain->applied = 1.0;
    return 0;
}

/* One more hop of speech: the mean of it, begun anew where the last half second is off it. */
RVA_REALTIME static void hear_speech(rva_gain *gain, double energy) {
    gain->recent[gain->next] = energy;
    gain->next = (gain->next + 1) % RVA_GAIN_RECENT;
    if (gain->recents < RVA_GAIN_RECENT) gain->recents++;
    if (gain->means < MEAN_HOPS) gain->means++;
    gain->mean += (energy - gain->mean) / gain->means;
    if (gain->recents < RVA_GAIN_RECENT) return;
    double recent = 0.0;
    for (int i = 0; i < RVA_GAIN_RECENT; i++) recent += gain->recent[i];
    recent /= RVA_GAIN_RECENT;
    double louder_db = decibels_of(recent) - decibels_of(gain->mean);
    if (louder_db < LOUDER_DB && louder_db > -SOFTER_DB) return;
    gain->mean = recent;
    gain->means = RVA_GAIN_RECENT;
}

/* The gain goes on by a hop: towards the target in speech, and down where it would raise noise. */
RVA_REALTIME static void steer(rva_gain *gain, int is_speech) {
    if (is_speech && gain->means >= RVA_GAIN_RECENT / 4) {
        double wanted = clamped(gain->target_db - decibels_of(gain->mean), LEAST_DB, MOST_DB);
        double off = wanted - gain->gain_db;
        gain->gain_db += clamped(APPROACH * off, -SLEW_DB, SLEW_DB);
    }
    double most_db = fmax(0.0, NOISE_DBFS - FLOOR_BIAS_DB - rva_vad_floor_dbfs(&gain->vad));
    if (gain->gain_db > most_db) gain->gain_db = fmax(most_db, gain->gain_db - NOISE_SLEW_DB);
}

RVA_REALTIME static void end_hop(rva_gain *gain, int is_speech) {
    if (is_speech && gain->energy > 0.0) hear_speech(gain, gain->energy / RVA_HOP_SAMPLES);
    steer(gain, is_speech);
    gain->energy = 0.0;
    gain->filled = 0;
}

RVA_REALTIME static int32_t sample_at(const uint8_t *bytes, size_t i) {
    return (int16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
}

/* Multiplies a segment by a gain that goes evenly to where it shall be, and lower at once where a sample needs that. */
RVA_REALTIME static void apply(rva_gain *gain, const uint8_t *in, uint8_t *out, size_t samples) {
    double peak = 0.0;
    for (size_t i = 0; i < samples; i++) {
        double value = sample_at(in, i);
        peak = fmax(peak, fabs(value));
        gain->energy += value * value;
    }
    gain->limit_db = fmin(0.0, gain->limit_db + RELEASE_DB * (double)samples / SEGMENT);
    double to = factor_of(gain->gain_db + gain->limit_db);
    if (to * peak > CEILING) {
        to = CEILING / peak;
        gain->limit_db = fmin(0.0, 20.0 * log10(to) - gain->gain_db);
    }
    double step = (to - gain->applied) / (double)(SEGMENT - gain->filled % SEGMENT);
    for (size_t i = 0; i < samples; i++) {
        double value = sample_at(in, i);
        gain->applied += step;
        double made = clamped(value * gain->applied, -CEILING, CEILING);
        int32_t rounded = (int32_t)(made < 0.0 ? made - 0.5 : made + 0.5);
        out[2 * i] = (uint8_t)rounded;
        out[2 * i + 1] = (uint8_t)(rounded >> 8);
    }
}

RVA_REALTIME void rva_gain_process(rva_gain *gain, const void *pcm, void *out, size_t samples) {
    const uint8_t *in = pcm;
    uint8_t *to = out;
    while (samples > 0) {
        size_t length = SEGMENT - gain->filled % SEGMENT;
        if (length > samples) length = samples;
        uint8_t decisions[2];
        size_t decided = rva_vad_feed(&gain->vad, in, length, decisions);
        apply(gain, in, to, length);
        gain->filled += (uint32_t)length;
        if (decided) end_hop(gain, decisions[0]);
        in += 2 * length;
        to += 2 * length;
        samples -= length;
    }
}

RVA_REALTIME void rva_gain_skip(rva_gain *gain) {
    rva_vad_skip(&gain->vad);
    gain->energy = 0.0;
    gain->filled = 0;
}

double rva_gain_db(const rva_gain *gain) { return 20.0 * log10(gain->applied); }
