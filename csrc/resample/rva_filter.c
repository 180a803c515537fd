#include "resample/rva_filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "resample/rva_prototype_data.h"

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

/* The prototype at `at` knots after its beginning. */
static double prototype_value(const rva_prototype *prototype, double at) {
    double values[RVA_PROTOTYPE_DEGREE + 1];
    int last = (int)floor(at);
    spline_values(RVA_PROTOTYPE_DEGREE, at - last, values);
    double sum = 0.0;
    for (int i = 0; i <= RVA_PROTOTYPE_DEGREE; i++) {
        int knot = last - RVA_PROTOTYPE_DEGREE + i;
        if (knot >= 0 && knot < prototype->knots) sum += values[i] * prototype->coefficients[knot];
    }
    return sum;
}

/* The minimum-phase prototype rises with u ** degree: how many knots pass before it is worth a ten-millionth. Leaving
 * that out makes it that much quicker. */
static double idle_knots(const rva_prototype *prototype) {
    double level = 1e-7 / fabs(prototype->coefficients[0]);
    for (int d = 2; d <= RVA_PROTOTYPE_DEGREE; d++) level *= d;
    return pow(level, 1.0 / RVA_PROTOTYPE_DEGREE);
}

/* Group delay at 1 kHz in knots: the real part of sum n c z^n / sum c z^n, and the spline's own half width. */
static double prototype_delay(const rva_prototype *prototype) {
    double w = 2 * PI * 1000.0 / prototype->knot_hz;
    double re = 0, im = 0, re_ramp = 0, im_ramp = 0;
    for (int i = 0; i < prototype->knots; i++) {
        double c = prototype->coefficients[i];
        re += c * cos(w * i);
        im += c * sin(w * i);
        re_ramp += i * c * cos(w * i);
        im_ramp += i * c * sin(w * i);
    }
    return (re_ramp * re + im_ramp * im) / (re * re + im * im) + 0.5 * (RVA_PROTOTYPE_DEGREE + 1);
}

/* How a prototype lies on a bank's input; in input samples. */
typedef struct {
    const rva_prototype *prototype;
    double knots_per_sample;
    double support;
    double lead;   /* how much newer than the output's own time the prototype's beginning is */
    double newest; /* the same of the newest sample that takes part */
} placement;

/* The weight of a sample that is `age` input samples older than the output. */
static float weight(const placement *at, double age) {
    if (age < -at->newest) return 0.0f;
    return (float)(prototype_value(at->prototype, (age + at->lead) * at->knots_per_sample) * at->knots_per_sample);
}

static int allocate_table(rva_filter_bank *bank, size_t count) {
    bank->table = aligned_alloc(RVA_CACHE_LINE, rva_rt_whole_lines(count * sizeof *bank->table));
    return bank->table ? RVA_OK : RVA_ERROR_MEMORY;
}

static int open_rows(rva_filter_bank *bank, const placement *at, uint32_t lanes) {
    bank->is_interpolated = bank->up > RVA_FILTER_ROWS_MAX;
    const double step = bank->is_interpolated ? 1.0 / RVA_FILTER_GRID : 1.0 / bank->up;
    const double first = bank->is_interpolated ? -step : 0.0;
    const uint32_t rows = bank->is_interpolated ? RVA_FILTER_GRID + 3 : bank->up;
    bank->after = (uint32_t)floor(at->newest + first + step * (rows - 1));
    const uint32_t taps = bank->after + 1 + (uint32_t)floor(at->support - at->lead - first);
    bank->taps = (taps + lanes - 1) / lanes * lanes;
    if (allocate_table(bank, (size_t)rows * bank->taps) != RVA_OK) return RVA_ERROR_MEMORY;
    for (uint32_t row = 0; row < rows; row++)
        for (uint32_t k = 0; k < bank->taps; k++) {
            const double age = first + step * row + (double)bank->taps - 1 - k - bank->after;
            bank->table[(size_t)row * bank->taps + k] = weight(at, age);
        }
    return RVA_OK;
}

static int open_tiles(rva_filter_bank *bank, const placement *at) {
    const uint32_t up = bank->up, down = bank->down;
    const uint32_t newest = (uint32_t)floor(at->newest * up); /* of the first output of a cycle, in samples times `up` */
    bank->back = (uint32_t)floor(at->support - at->lead) / down + 1;
    bank->cycles = bank->back + (newest + (up - 1) * down) / up / down + 1;
    bank->first = bank->back * down * up + newest;
    if (allocate_table(bank, (size_t)up * down * bank->cycles) != RVA_OK) return RVA_ERROR_MEMORY;
    float *next = bank->table;
    for (uint32_t p = 0; p < up; p += 2)
        for (uint32_t r = 0; r < down; r++)
            for (uint32_t q = 0; q < bank->cycles; q++)
                for (uint32_t each = p; each < p + 2 && each < up; each++) {
                    const double sample = ((double)q - bank->back) * down + r;
                    *next++ = weight(at, (double)each * down / up - sample);
                }
    return RVA_OK;
}

/* Adds a bank from a rate of `in` to one of `out`, both in the same unit, of which `unit` make 1 Hz. */
static int add_bank(rva_filter *filter, const rva_prototype *prototype, bool is_minimum, uint32_t in, uint32_t out,
                    double unit, uint32_t lanes) {
    rva_filter_bank *bank = &filter->banks[filter->bank_count++];
    const uint32_t divisor = gcd(in, out);
    bank->up = out / divisor;
    bank->down = in / divisor;
    bank->down_index = bank->down / bank->up;
    bank->down_phase = bank->down % bank->up;
    bank->grid_per_phase = (double)RVA_FILTER_GRID / bank->up;
    bank->is_tiled = bank->up <= RVA_FILTER_CYCLE_MAX && bank->down <= RVA_FILTER_CYCLE_MAX;
    const double rate_hz = in / unit, stretch = rate_hz < RVA_RATE_HZ ? RVA_RATE_HZ / rate_hz : 1.0;
    const double idle = is_minimum ? idle_knots(prototype) : 0.0;
    placement at = {.prototype = prototype, .knots_per_sample = prototype->knot_hz / (rate_hz * stretch)};
    at.support = (prototype->knots + RVA_PROTOTYPE_DEGREE) / at.knots_per_sample;
    at.lead = is_minimum ? idle / at.knots_per_sample : at.support / 2;
    at.newest = is_minimum ? 0.0 : at.lead;
    filter->group_delay_s += (prototype_delay(prototype) - idle) * stretch / prototype->knot_hz;
    const int code = bank->is_tiled ? open_tiles(bank, &at) : open_rows(bank, &at, lanes);
    filter->lookahead_s += (bank->is_tiled ? at.newest : bank->after) / rate_hz;
    return code;
}

static void add_half_band(rva_filter *filter, double rate_hz, const rva_half_band *classes) {
    int chosen = RVA_HALF_BAND_CLASSES - 1;
    while (rate_hz < classes[chosen].rate_hz) chosen--;
    rva_filter_half *half = &filter->halves[filter->half_count++];
    half->taps = (uint32_t)classes[chosen].taps;
    for (uint32_t k = 0; k < half->taps; k++) half->side[k] = (float)classes[chosen].side[k];
    filter->group_delay_s += (2 * half->taps - 1) / rate_hz;
    filter->lookahead_s += (2 * half->taps - 1) / rate_hz;
}

int rva_filter_open(rva_filter *filter, uint32_t rate_hz, uint32_t profile, uint32_t phase, uint32_t lanes) {
    memset(filter, 0, sizeof *filter);
    if (rate_hz < RVA_RATE_MIN_HZ || rate_hz > RVA_RATE_MAX_HZ) return RVA_ERROR_RATE;
    if (profile >= RVA_PROTOTYPE_PROFILES || phase > RVA_PHASE_MINIMUM) return RVA_ERROR_PROFILE;
    filter->ratio_up = RVA_RATE_HZ / gcd(RVA_RATE_HZ, rate_hz);
    filter->ratio_down = rate_hz / gcd(RVA_RATE_HZ, rate_hz);
    const rva_prototype_set *set = &rva_prototypes[profile];
    if (rate_hz == RVA_RATE_HZ) return RVA_OK;
    if (phase == RVA_PHASE_MINIMUM) return add_bank(filter, &set->minimum, true, rate_hz, RVA_RATE_HZ, 1.0, lanes);
    if (rate_hz < RVA_RATE_HZ) return add_bank(filter, &set->linear, false, rate_hz, RVA_RATE_HZ, 1.0, lanes);

    const uint32_t between_hz = RVA_PROTOTYPE_BETWEEN_HZ;
    uint32_t halved = 1;
    for (; rate_hz >= 2 * between_hz * halved; halved *= 2)
        add_half_band(filter, (double)rate_hz / halved, rva_half_bands[profile]);
    int code = RVA_OK;
    if (rate_hz != between_hz * halved)
        code = add_bank(filter, &set->wide, false, rate_hz, between_hz * halved, halved, lanes);
    if (code == RVA_OK) code = add_bank(filter, &set->linear, false, between_hz, RVA_RATE_HZ, 1.0, lanes);
    return code;
}

void rva_filter_close(rva_filter *filter) {
    for (uint32_t b = 0; b < filter->bank_count; b++) {
        free(filter->banks[b].table);
        filter->banks[b].table = NULL;
    }
}
