#include "rva_resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Kaiser-windowed sinc, one table row per phase. */
struct rva_resampler {
    uint32_t up, down;      /* output m lies at input position m * down / up */
    uint32_t half, taps;    /* taps = 2 * half, around the position */
    uint32_t rate_hz;
    int64_t fed, made;      /* input samples taken, outputs given, since the beginning */
    int64_t next_index;     /* floor(made * down / up) */
    uint32_t next_phase;    /* (made * down) mod up */
    int64_t total;          /* outputs in all, once the end is known; else -1 */
    int64_t first;          /* input index of buffer[0] */
    size_t filled;
    size_t room;
    float *buffer;
    float *table; /* up rows of `taps` */
};

static double bessel_i0(double x) {
    double sum = 1.0, term = 1.0;
    for (int k = 1; k < 60; k++) {
        term *= (x / (2 * k)) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

static uint32_t gcd(uint32_t a, uint32_t b) {
    while (b) {
        uint32_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static void rewind_state(rva_resampler *r) {
    r->fed = r->made = r->next_index = 0;
    r->next_phase = 0;
    r->total = -1;
    r->first = -(int64_t)(r->half - 1);
    r->filled = r->half - 1;
    memset(r->buffer, 0, r->room * sizeof *r->buffer);
}

int rva_resample_open(const rva_config *config, rva_resampler **resampler) {
    *resampler = NULL;
    if (config->rate_hz < RVA_RATE_MIN_HZ || config->rate_hz > RVA_RATE_MAX_HZ) return RVA_ERROR_RATE;
    if (config->profile > RVA_PROFILE_HIGH || config->phase > RVA_PHASE_MINIMUM) return RVA_ERROR_PROFILE;
    rva_resampler *r = calloc(1, sizeof *r);
    if (!r) return RVA_ERROR_MEMORY;
    uint32_t divisor = gcd(RVA_RATE_HZ, config->rate_hz);
    r->rate_hz = config->rate_hz;
    r->up = RVA_RATE_HZ / divisor;
    r->down = config->rate_hz / divisor;
    double low_hz = config->rate_hz < RVA_RATE_HZ ? config->rate_hz : RVA_RATE_HZ;
    double pass_hz = 0.45625 * low_hz, stop_hz = 0.5 * low_hz; /* 7.3 kHz and 8 kHz of a 16 kHz output */
    double attenuation_db = 104.0;
    double beta = 0.1102 * (attenuation_db - 8.7); /* Kaiser 1974 */
    double width = 2 * M_PI * (stop_hz - pass_hz) / config->rate_hz;
    r->half = (uint32_t)ceil((attenuation_db - 7.95) / (2.285 * width) / 2) + 1;
    if (r->up == r->down) r->half = 1;
    r->taps = 2 * r->half;
    r->room = r->taps + 2 * RVA_RESAMPLE_CHUNK;
    r->table = malloc((size_t)r->up * r->taps * sizeof *r->table);
    r->buffer = calloc(r->room, sizeof *r->buffer);
    if (!r->table || !r->buffer) {
        rva_resample_close(r);
        return RVA_ERROR_MEMORY;
    }
    double cutoff = (pass_hz + stop_hz) / config->rate_hz; /* of the input's Nyquist frequency */
    for (uint32_t phase = 0; phase < r->up; phase++) {
        float *row = r->table + (size_t)phase * r->taps;
        double sum = 0.0;
        for (uint32_t k = 0; k < r->taps; k++) {
            double t = (double)k - (r->half - 1) - (double)phase / r->up;
            double u = t / r->half;
            double window = u * u < 1.0 ? bessel_i0(beta * sqrt(1.0 - u * u)) / bessel_i0(beta) : 0.0;
            double x = M_PI * cutoff * t;
            row[k] = (float)(window * cutoff * (fabs(x) < 1e-9 ? 1.0 : sin(x) / x));
            sum += row[k];
        }
        for (uint32_t k = 0; k < r->taps; k++) row[k] = (float)(row[k] / sum);
    }
    if (r->up == r->down) r->table[0] = 1.0f, r->table[1] = 0.0f;
    rewind_state(r);
    *resampler = r;
    return RVA_OK;
}

void rva_resample_close(rva_resampler *r) {
    if (!r) return;
    free(r->table);
    free(r->buffer);
    free(r);
}

RVA_REALTIME void rva_resample_feed(rva_resampler *r, const float *mono, size_t samples) {
    int64_t oldest = r->next_index - (int64_t)(r->half - 1);
    size_t drop = (size_t)(oldest - r->first);
    if (drop > r->filled) drop = r->filled;
    memmove(r->buffer, r->buffer + drop, (r->filled - drop) * sizeof *r->buffer);
    r->first += (int64_t)drop;
    r->filled -= drop;
    memcpy(r->buffer + r->filled, mono, samples * sizeof *mono);
    r->filled += samples;
    r->fed += (int64_t)samples;
}

RVA_REALTIME size_t rva_resample_run(rva_resampler *r, float *output, size_t room) {
    size_t made = 0;
    int64_t limit = r->first + (int64_t)r->filled;
    while (made < room && r->made != r->total && r->next_index + (int64_t)r->half < limit) {
        const float *row = r->table + (size_t)r->next_phase * r->taps;
        const float *window = r->buffer + (r->next_index - (int64_t)(r->half - 1) - r->first);
        float sum = 0.0f;
        for (uint32_t k = 0; k < r->taps; k++) sum += row[k] * window[k];
        output[made++] = sum;
        r->made++;
        uint64_t phase = (uint64_t)r->next_phase + r->down;
        r->next_index += (int64_t)(phase / r->up);
        r->next_phase = (uint32_t)(phase % r->up);
    }
    if (made < room && r->total >= 0) rewind_state(r);
    return made;
}

RVA_REALTIME void rva_resample_end(rva_resampler *r) {
    r->total = (r->fed * r->up + r->down - 1) / r->down;
    float zeros[RVA_RESAMPLE_CHUNK] = {0};
    int64_t fed = r->fed;
    for (uint32_t left = r->half + 1; left;) {
        uint32_t step = left < RVA_RESAMPLE_CHUNK ? left : RVA_RESAMPLE_CHUNK;
        rva_resample_feed(r, zeros, step);
        left -= step;
    }
    r->fed = fed;
}

RVA_REALTIME double rva_resample_ahead_samples(const rva_resampler *r) {
    return (double)(r->fed - 1 - r->next_index) - (double)r->next_phase / r->up;
}

double rva_resample_group_delay_s(const rva_resampler *r) { return (double)r->half / r->rate_hz; }

const char *rva_resample_kernel(const rva_resampler *r) {
    (void)r;
    return "portable";
}
