/* rva_polyphase - a filter bank at work: the history of its input, and where the next output lies. Internal. */
#ifndef RVA_POLYPHASE_H
#define RVA_POLYPHASE_H

#include "resample/rva_filter.h"
#include "resample/rva_kernel.h"

/* Where outputs are written, so many floats before them and behind them are written too. */
#define RVA_POLYPHASE_BEFORE 16
#define RVA_POLYPHASE_BEHIND (RVA_FILTER_CYCLE_MAX * RVA_KERNEL_WIDE_MAX * RVA_KERNEL_LANES_MAX)

typedef struct {
    const rva_filter_bank *bank;
    const rva_kernel *kernel;
    size_t room; /* most samples of one push, plus those from before time zero */
    float *memory;
    /* rows: one history */
    float *history;
    size_t held;    /* samples in it */
    size_t index;   /* in it, of the next output's position, rounded down */
    uint32_t phase; /* of the next output; in the tiled form too */
    /* tiled: sample i of the history is streams[i % down][i / down] */
    float *streams[RVA_FILTER_CYCLE_MAX];
} rva_polyphase;

/* RVA_OK or RVA_ERROR_MEMORY. `bank` and `kernel` must outlive it. Not real-time safe. */
int rva_polyphase_open(rva_polyphase *polyphase, const rva_filter_bank *bank, const rva_kernel *kernel, size_t room);
void rva_polyphase_close(rva_polyphase *polyphase);

/* Back to the beginning, silence before it. The first `early_in` samples that come will lie before time zero, and the first
 * `early_out` outputs shall; that must be a whole number of cycles (a multiple of `up`) in the tiled form. */
RVA_REALTIME void rva_polyphase_rewind(rva_polyphase *polyphase, uint32_t early_in, uint32_t early_out);

/* Takes samples and puts all outputs that they make available in their place, but no more than `most`; returns how many. What
 * is beyond `most` is lost: it is for the end of a sound. */
RVA_REALTIME size_t rva_polyphase_run(rva_polyphase *polyphase, float *samples, size_t count, size_t most);

#endif
