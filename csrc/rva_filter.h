/* rva_filter - what one device rate needs to become 16 kHz: half-band stages, then a polyphase table. Internal.
 *
 * All rows of the table sample one continuous-time prototype (rva_prototype_data.h), at a time scale of the input's own
 * rate, or of 16 kHz where that is the higher one: above 16 kHz it removes what would alias, below it the images.
 *
 * Rates of 44.1 kHz and more are first halved, as often as that leaves 22.05 kHz or more; not for minimum phase, whose
 * delay the half bands would spoil. */
#ifndef RVA_FILTER_H
#define RVA_FILTER_H

#include <stdbool.h>

#include "rva.h"
#include "rva_rt.h"

#define RVA_FILTER_STAGES_MAX 4
#define RVA_FILTER_SIDE_MAX 16 /* coefficients of one side of a half band */
#define RVA_FILTER_LANES 8     /* rows are padded to a multiple of this, on the side of the older samples */

/* Rows of the table where a rate needs more phases than are worth storing: cubic (Lagrange) interpolation between
 * rows a 64th of an input sample apart is off by less than -140 dB of full scale. */
#define RVA_FILTER_GRID 64
#define RVA_FILTER_ROWS_MAX 1024

typedef struct {
    uint32_t taps; /* of one side */
    float side[RVA_FILTER_SIDE_MAX];
} rva_filter_stage;

typedef struct {
    uint32_t ratio_up, ratio_down; /* 16,000 to the rate, reduced */
    uint32_t stage_count;
    rva_filter_stage stages[RVA_FILTER_STAGES_MAX];
    uint32_t up, down;   /* output m lies at m * down / up samples of the last stage's output (or of the input) */
    uint32_t down_index, down_phase; /* down / up and down % up */
    uint32_t after;      /* a row ends this many samples after floor(m * down / up) */
    uint32_t taps;       /* of a row; a multiple of RVA_FILTER_LANES */
    bool is_interpolated; /* rows are at (row - 1) / RVA_FILTER_GRID, not at row / up */
    bool is_copy;        /* 16 kHz already: there is no filter */
    float *table;        /* rows, oldest sample first */
    double group_delay_s; /* at 1 kHz, of all stages */
} rva_filter;

/* RVA_OK, RVA_ERROR_RATE, RVA_ERROR_PROFILE or RVA_ERROR_MEMORY. Not real-time safe. */
int rva_filter_open(rva_filter *filter, uint32_t rate_hz, uint32_t profile, uint32_t phase);
void rva_filter_close(rva_filter *filter);

/* Steps a position by one output. */
RVA_REALTIME static inline void rva_filter_step(const rva_filter *filter, size_t *index, uint32_t *phase) {
    uint32_t next = *phase + filter->down_phase;
    const uint32_t wrapped = next >= filter->up;
    *index += filter->down_index + wrapped;
    *phase = next - (wrapped ? filter->up : 0);
}

/* Cubic Lagrange interpolation at `u` in [0, 1) between b and c, which have a and d beside them. */
RVA_REALTIME static inline float rva_filter_between(float a, float b, float c, float d, float u) {
    const float p = u + 1.0f, q = u - 1.0f, r = u - 2.0f;
    return (p * q * r * 0.5f * b - u * q * r * (1.0f / 6.0f) * a) + (p * u * q * (1.0f / 6.0f) * d - p * u * r * 0.5f * c);
}

#endif
