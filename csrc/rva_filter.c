#include "rva_filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rva_prototype_data.h"

#define PI 3.14159265358979323846

static uint32_t gcd(uint32_t a, uint32_t b) {
    while (b) {
        uint32_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* The degree + 1 B-splines that are not zero at `u` in [0, 1) of their last knot interval, oldest first: de Boor's
 * recurrence on uniform knots (A Practical Guide to Splines, chapter X). */
static void spline_values(int degree, double u, double *values) {
    values[0] = 1.0;
    for (int d = 1; d <= degree; d++) {
        double carried = 0.0;
        for (int i = 0; i < d; i++) {
            double share = values[i] / d;
            values[i] = carried + share * (i + 1 - u);
            carried = share * (d - 1 - i + u);
        }
        values[d] = carried;
    }
}

static double knot(const rva_prototype *prototype, uint32_t phase, int i) {
    if (i < 0 || i >= prototype->knots) return 0.0;
    if (phase == RVA_PHASE_MINIMUM) return prototype->minimum[i];
    return prototype->linear[abs(i - prototype->knots / 2)];
}

/* The prototype at `at` knots after its beginning. */
static double prototype_value(const rva_prototype *prototype, uint32_t phase, double at) {
    double values[RVA_PROTOTYPE_MAX_DEGREE + 1];
    int last = (int)floor(at);
    spline_values(prototype->degree, at - last, values);
    double sum = 0.0;
    for (int i = 0; i <= prototype->degree; i++)
        sum += values[i] * knot(prototype, phase, last - prototype->degree + i);
    return sum;
}

static double support_knots(const rva_prototype *prototype) { return prototype->knots + prototype->degree; }

/* The minimum-phase prototype rises with u ** degree: how many knots pass before it is worth a ten-millionth. Leaving
 * that out makes it that much quicker. */
static double idle_knots(const rva_prototype *prototype) {
    double level = 1e-7 / fabs(prototype->minimum[0]);
    for (int d = 2; d <= prototype->degree; d++) level *= d;
    return pow(level, 1.0 / prototype->degree);
}

/* Group delay at 1 kHz: the real part of sum n c z^n / sum c z^n, and the spline's own half width. */
static double prototype_delay_s(const rva_prototype *prototype, uint32_t phase) {
    double w = 2 * PI * 1000.0 / RVA_PROTOTYPE_KNOT_HZ;
    double re = 0, im = 0, re_ramp = 0, im_ramp = 0;
    for (int i = 0; i < prototype->knots; i++) {
        double c = knot(prototype, phase, i);
        re += c * cos(w * i);
        im += c * sin(w * i);
        re_ramp += i * c * cos(w * i);
        im_ramp += i * c * sin(w * i);
    }
    double delay = (re_ramp * re + im_ramp * im) / (re * re + im * im);
    if (phase == RVA_PHASE_MINIMUM) delay -= idle_knots(prototype);
    return (delay + 0.5 * (prototype->degree + 1)) / RVA_PROTOTYPE_KNOT_HZ;
}

/* Adds the half bands that the rate allows and returns the rate after them. */
static double open_stages(rva_filter *filter, uint32_t rate_hz, uint32_t profile) {
    double rate = rate_hz;
    const rva_half_band *classes = rva_half_bands[profile];
    while (filter->stage_count < RVA_FILTER_STAGES_MAX && rate >= classes[0].rate_hz) {
        int chosen = RVA_HALF_BAND_CLASSES - 1;
        while (rate < classes[chosen].rate_hz) chosen--;
        rva_filter_stage *stage = &filter->stages[filter->stage_count++];
        stage->taps = (uint32_t)classes[chosen].taps;
        for (uint32_t k = 0; k < stage->taps; k++) stage->side[k] = (float)classes[chosen].side[k];
        filter->group_delay_s += (2 * stage->taps - 1) / rate;
        rate /= 2;
    }
    return rate;
}

int rva_filter_open(rva_filter *filter, uint32_t rate_hz, uint32_t profile, uint32_t phase) {
    memset(filter, 0, sizeof *filter);
    if (rate_hz < RVA_RATE_MIN_HZ || rate_hz > RVA_RATE_MAX_HZ) return RVA_ERROR_RATE;
    if (profile >= RVA_PROTOTYPE_COUNT || phase > RVA_PHASE_MINIMUM) return RVA_ERROR_PROFILE;
    filter->up = filter->down = filter->down_index = 1;
    filter->ratio_up = RVA_RATE_HZ / gcd(RVA_RATE_HZ, rate_hz);
    filter->ratio_down = rate_hz / gcd(RVA_RATE_HZ, rate_hz);
    filter->is_copy = rate_hz == RVA_RATE_HZ;
    if (filter->is_copy) return RVA_OK;

    const rva_prototype *prototype = &rva_prototypes[profile];
    double rate = phase == RVA_PHASE_LINEAR ? open_stages(filter, rate_hz, profile) : rate_hz;
    double scale = RVA_RATE_HZ > rate ? RVA_RATE_HZ / rate : 1.0; /* of the prototype's time */
    double knots_per_sample = RVA_PROTOTYPE_KNOT_HZ / (rate * scale);
    uint32_t up = RVA_RATE_HZ << filter->stage_count, divisor = gcd(up, rate_hz);
    filter->up = up / divisor;
    filter->down = rate_hz / divisor;
    filter->down_index = filter->down / filter->up;
    filter->down_phase = filter->down % filter->up;
    filter->group_delay_s += prototype_delay_s(prototype, phase) * scale;

    /* How much newer than the output's own time the prototype's beginning is, and the newest sample that takes part:
     * in input samples. */
    double support = support_knots(prototype) / knots_per_sample;
    double lead = phase == RVA_PHASE_LINEAR ? support / 2 : idle_knots(prototype) / knots_per_sample;
    double newest = phase == RVA_PHASE_LINEAR ? lead : 0.0;
    filter->is_interpolated = filter->up > RVA_FILTER_ROWS_MAX;
    double last_fraction = filter->is_interpolated ? 1.0 + 1.0 / RVA_FILTER_GRID : (double)(filter->up - 1) / filter->up;
    filter->after = (uint32_t)floor(newest + last_fraction);
    uint32_t taps = filter->after + 1 + (uint32_t)floor(support - lead + 1.0 / RVA_FILTER_GRID);
    filter->taps = (taps + RVA_FILTER_LANES - 1) / RVA_FILTER_LANES * RVA_FILTER_LANES;
    uint32_t rows = filter->is_interpolated ? RVA_FILTER_GRID + 3 : filter->up;
    size_t bytes = (size_t)rows * filter->taps * sizeof *filter->table;
    filter->table = aligned_alloc(RVA_CACHE_LINE, rva_rt_whole_lines(bytes));
    if (!filter->table) return RVA_ERROR_MEMORY;
    for (uint32_t row = 0; row < rows; row++) {
        double fraction = filter->is_interpolated ? ((double)row - 1) / RVA_FILTER_GRID : (double)row / filter->up;
        for (uint32_t k = 0; k < filter->taps; k++) {
            /* where in the prototype sample k lies, in input samples: its age at the output, and the lead */
            double age = fraction + lead + (double)filter->taps - 1 - k - filter->after;
            double value = prototype_value(prototype, phase, age * knots_per_sample);
            filter->table[(size_t)row * filter->taps + k] = (float)(value * knots_per_sample);
        }
    }
    return RVA_OK;
}

void rva_filter_close(rva_filter *filter) {
    free(filter->table);
    filter->table = NULL;
}
