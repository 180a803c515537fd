/* rva_kernel - the inner loops of resampling, once for each instruction set. Internal.
 *
 * Each kernel adds up in an order of its own, which depends on the filter only, never on where a block begins or ends:
 * so one kernel's output is bit-identical however the input is cut, and two kernels agree to far less than one LSB. */
#ifndef RVA_KERNEL_H
#define RVA_KERNEL_H

#include "rva_filter.h"
#include "rva_rt.h"

typedef struct {
    const char *name;
    bool (*is_supported)(void); /* by this processor; may make system calls, called at open only */

    /* y[j] = even[j] / 2 + sum side[k] * (odd[j + k] + odd[j - k - 1]), j < count; reads odd[-taps .. count + taps - 2] */
    RVA_REALTIME void (*half_band)(const float *even, const float *odd, const rva_filter_stage *stage, size_t count,
                                   float *y);

    /* y[n] = sum row[k] * window[k], k < taps, for outputs n < count at positions *index + *phase / up of `history`,
     * the row being the one of the phase; the window ends `after` samples after its position. Steps *index, *phase. */
    RVA_REALTIME void (*polyphase)(const rva_filter *filter, const float *history, size_t *index, uint32_t *phase,
                                   size_t count, float *y);
} rva_kernel;

/* The fastest kernel that this processor runs, or the one that `name` asks for (NULL or empty: no wish); NULL when that
 * does not exist here. Not real-time safe. */
const rva_kernel *rva_kernel_find(const char *name);

extern const rva_kernel rva_kernel_portable;

#endif
