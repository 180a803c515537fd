/* rva_filter - what one device rate needs to become 16 kHz: half bands, then one or two polyphase banks. Internal.
 *
 * All banks sample continuous-time prototypes (rva_prototype_data.h).
 *   above 16 kHz, linear phase    half bands while the rate is 48 kHz or more; a bank of the wide prototype to 24 kHz,
 *                                 unless that is reached already; a bank of the narrow prototype to 16 kHz. The last is
 *                                 the same for all rates, and all tables are small: a callback finds its caches cold
 *   above 16 kHz, minimum phase   one bank of the narrow prototype: what goes before it would delay
 *   16 kHz                        nothing
 *   below 16 kHz                  one bank, the prototype stretched by 16 kHz / rate: it removes the images */
#ifndef RVA_FILTER_H
#define RVA_FILTER_H

#include <stdbool.h>

#include "core/rva.h"
#include "core/rva_rt.h"

#define RVA_FILTER_HALVES_MAX 4
#define RVA_FILTER_SIDE_MAX 16 /* coefficients of one side of a half band */
#define RVA_FILTER_BANKS_MAX 2
#define RVA_FILTER_CYCLE_MAX 12 /* most inputs or outputs of a cycle that is tiled */
#define RVA_FILTER_ROWS_MAX 1024
#define RVA_FILTER_GRID 64

typedef struct {
    uint32_t taps; /* of one side */
    float side[RVA_FILTER_SIDE_MAX];
} rva_filter_half;

/* A polyphase filter: output m lies at m * down / up input samples. Its table has one of three forms; the last two are
 * called rows:
 *   tiled         ratios of small numbers: `up` outputs for each `down` inputs make a cycle, and all cycles have the same
 *                 coefficients, so that a vector can hold one output of many cycles
 *   by phase      a row of coefficients for each of the `up` phases
 *   interpolated  where these would be too many: rows at 64 phases, and cubic (Lagrange) interpolation between four
 *                 outputs, which is off by less than -140 dB of full scale */
typedef struct {
    uint32_t up, down;
    bool is_tiled, is_interpolated;
    float *table;

    /* rows: */
    uint32_t down_index, down_phase; /* down / up and down % up */
    double grid_per_phase; /* RVA_FILTER_GRID / up */
    uint32_t taps;  /* of a row, oldest sample first, padded on that side */
    uint32_t after; /* a row ends this many samples after floor(m * down / up) */

    /* tiled: phases two by two (the last alone if odd); of each pair, for each r < down and q < cycles, the pair's
     * coefficients of sample (q - back) * down + r, counted from the beginning of the output's own cycle */
    uint32_t cycles, back;
    uint32_t first; /* output m of the streams needs more than (first + m * down) / up samples in them */
} rva_filter_bank;

typedef struct {
    uint32_t ratio_up, ratio_down; /* 16,000 to the rate, reduced */
    uint32_t half_count;
    rva_filter_half halves[RVA_FILTER_HALVES_MAX];
    uint32_t bank_count; /* 0: there is nothing to filter */
    rva_filter_bank banks[RVA_FILTER_BANKS_MAX];
    double group_delay_s; /* at 1 kHz, of all together */
    double lookahead_s;   /* from an output's time to that of the newest input that it needs, at most */
} rva_filter;

/* RVA_OK, RVA_ERROR_RATE, RVA_ERROR_PROFILE or RVA_ERROR_MEMORY. Rows are padded to a multiple of `lanes`. To be closed
 * in any case. Not real-time safe. */
int rva_filter_open(rva_filter *filter, uint32_t rate_hz, uint32_t profile, uint32_t phase, uint32_t lanes);
void rva_filter_close(rva_filter *filter);

#endif
