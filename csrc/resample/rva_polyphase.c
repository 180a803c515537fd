#include "resample/rva_polyphase.h"

#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O2") /* loops are in the kernels; here less code is less to fetch when a callback finds its caches cold */
#endif

/* Counts of samples are small: dividing them in 32 bits takes a fraction of the time. */
#define DIVIDE(a, b) ((size_t)((uint32_t)(a) / (uint32_t)(b)))

/* Kernels read and write up to this many floats beyond what counts. */
#define SLACK (2 * RVA_KERNEL_LANES_MAX)
/* Of a stream, whose cycles come by the tile. */
#define TILE_SLACK (SLACK + RVA_KERNEL_WIDE_MAX * RVA_KERNEL_LANES_MAX)

_Static_assert(RVA_FILTER_CYCLE_MAX <= RVA_POLYPHASE_BEFORE, "a cycle that was begun is written from its beginning");

static size_t whole_lines(size_t floats) { return rva_rt_whole_lines(floats * sizeof(float)) / sizeof(float); }

int rva_polyphase_open(rva_polyphase *polyphase, const rva_filter_bank *bank, const rva_kernel *kernel, size_t room) {
    memset(polyphase, 0, sizeof *polyphase);
    polyphase->bank = bank;
    polyphase->kernel = kernel;
    size_t floats, length = 0;
    if (bank->is_tiled) {
        /* a stream holds what all cycles look back at, the cycles of a push and one that was not finished before it */
        const size_t cycles = room / bank->down + 2;
        length = whole_lines(bank->cycles + cycles + TILE_SLACK);
        floats = length * bank->down;
    } else {
        floats = whole_lines(bank->taps + bank->down_index + 2 + room + SLACK);
    }
    polyphase->memory = aligned_alloc(RVA_CACHE_LINE, rva_rt_whole_lines(floats * sizeof(float)));
    if (!polyphase->memory) return RVA_ERROR_MEMORY;
    memset(polyphase->memory, 0, floats * sizeof(float));
    polyphase->history = polyphase->memory;
    for (uint32_t r = 0; bank->is_tiled && r < bank->down; r++) polyphase->streams[r] = polyphase->memory + r * length;
    return RVA_OK;
}

void rva_polyphase_close(rva_polyphase *polyphase) {
    free(polyphase->memory);
    polyphase->memory = NULL;
}

RVA_REALTIME void rva_polyphase_rewind(rva_polyphase *polyphase, uint32_t early_in, uint32_t early_out) {
    const rva_filter_bank *bank = polyphase->bank;
    /* where the first output lies: `before` samples before time zero, and `phase` / up after that */
    const uint32_t before = (uint32_t)(((uint64_t)early_out * bank->down + bank->up - 1) / bank->up);
    polyphase->phase = (uint32_t)((uint64_t)before * bank->up - (uint64_t)early_out * bank->down);
    if (bank->is_tiled) {
        polyphase->held = (size_t)bank->back * bank->down + before - early_in;
        for (uint32_t r = 0; r < bank->down; r++)
            memset(polyphase->streams[r], 0, (polyphase->held / bank->down + 1) * sizeof *polyphase->streams[r]);
    } else {
        polyphase->index = bank->taps - 1 - bank->after;
        polyphase->held = polyphase->index + before - early_in;
        memset(polyphase->history, 0, polyphase->held * sizeof *polyphase->history);
    }
}

/* Appends to the streams: what completes a cycle that was begun, then cycles, of which the last takes what lies behind the
 * samples where it is not whole, until it is completed in its turn. */
RVA_CALLBACK static void deal(rva_polyphase *polyphase, const float *samples, size_t count) {
    const uint32_t down = polyphase->bank->down;
    const size_t cycle = DIVIDE(polyphase->held, down), begun = polyphase->held - cycle * down;
    const size_t open = begun ? down - begun : 0, ends = open < count ? open : count;
    polyphase->held += count;
    for (size_t i = 0; i < ends; i++) polyphase->streams[begun + i][cycle] = samples[i];
    const size_t cycles = DIVIDE(count - ends + down - 1, down);
    polyphase->kernel->deal(samples + ends, cycles, down, polyphase->streams, cycle + (begun != 0));
}

/* Writes the outputs that the streams allow, in place of the samples. */
RVA_CALLBACK static size_t run_tiles(rva_polyphase *polyphase, float *samples, size_t count, size_t most) {
    const rva_filter_bank *bank = polyphase->bank;
    const uint32_t up = bank->up, down = bank->down, phase = polyphase->phase;
    deal(polyphase, samples, count);
    const size_t scaled = polyphase->held * up; /* less than 2^15 */
    if (scaled <= bank->first) return 0;
    size_t ready = DIVIDE(scaled - bank->first - 1, down) + 1; /* from the beginning of the cycle that is next */
    if (ready <= phase) return 0;
    if (ready - phase > most) ready = phase + most;
    const size_t done = DIVIDE(ready, up), left = ready - done * up;
    /* The first cycle may have been given out in part, the last may not be finished: both are made once more, and alike. */
    polyphase->kernel->tile(bank, polyphase->streams, done + (left != 0), samples - phase);

    const size_t kept = DIVIDE(polyphase->held + down - 1, down) - done;
    polyphase->phase = (uint32_t)left;
    polyphase->held -= done * down;
    for (uint32_t r = 0; r < down; r++) rva_kernel_shift(polyphase->streams[r], polyphase->streams[r] + done, kept);
    return ready - phase;
}

/* Outputs that the history allows. */
RVA_REALTIME static size_t rows_ready(const rva_polyphase *polyphase) {
    const rva_filter_bank *bank = polyphase->bank;
    if (polyphase->index + bank->after >= polyphase->held) return 0;
    const size_t samples = polyphase->held - bank->after - polyphase->index; /* times `up`: less than 2^26 */
    return DIVIDE(samples * bank->up - 1 - polyphase->phase, bank->down) + 1;
}

RVA_REALTIME static size_t run_rows(rva_polyphase *polyphase, float *samples, size_t count, size_t most) {
    const rva_filter_bank *bank = polyphase->bank;
    const size_t oldest = polyphase->index - (bank->taps - 1 - bank->after);
    const size_t dropped = oldest < polyphase->held ? oldest : polyphase->held;
    polyphase->held -= dropped;
    polyphase->index -= dropped;
    memmove(polyphase->history, polyphase->history + dropped, polyphase->held * sizeof *polyphase->history);
    memcpy(polyphase->history + polyphase->held, samples, count * sizeof *samples);
    polyphase->held += count;
    size_t ready = rows_ready(polyphase);
    ready = ready < most ? ready : most;
    polyphase->kernel->rows(bank, polyphase->history, &polyphase->index, &polyphase->phase, ready, samples);
    return ready;
}

RVA_CALLBACK size_t rva_polyphase_run(rva_polyphase *polyphase, float *samples, size_t count, size_t most) {
    return (polyphase->bank->is_tiled ? run_tiles : run_rows)(polyphase, samples, count, most);
}
