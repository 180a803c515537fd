#include "rva_resample.h"

#include <stdlib.h>
#include <string.h>

#include "rva_filter.h"
#include "rva_kernel.h"

/* A half band's input, split into its two phases; odd[0 .. taps) lies before the sample that even[0] is. */
typedef struct {
    float *even, *odd;
    size_t evens, odds; /* held; odds counts the `taps` older ones too */
    bool expects_odd;   /* of the next sample */
} rva_splitter;

struct rva_resampler {
    rva_filter filter;
    const rva_kernel *kernel;
    int64_t fed, made;          /* input samples taken, outputs given, since the beginning */
    int64_t total;              /* outputs in all, once the end is known; else -1 */
    rva_splitter splitters[RVA_FILTER_STAGES_MAX];
    float *between;  /* what one half band hands to the next: RVA_RESAMPLE_CHUNK / 2 samples and one */
    float *history;  /* input of the polyphase table */
    size_t held;     /* samples in it */
    size_t index;    /* in the history, of the next output's position, rounded down */
    uint32_t phase;
    float *memory; /* all of the above */
};

/* Samples that history or a splitter must hold beyond what it keeps: a chunk, and the one that a parity can add. */
#define ROOM (RVA_RESAMPLE_CHUNK + 8)

/* The same of half a chunk, and what a half band looks around for, twice: also before its beginning. */
#define SPLITTER_ROOM (ROOM / 2 + 4 * RVA_FILTER_SIDE_MAX)

static size_t line_up(size_t floats) { return (floats + 15) / 16 * 16; }

static size_t kept_history(const rva_filter *filter) { return filter->taps + filter->down_index + 2; }

/* Everything is silence before the first sample; a half band has outputs that lie before it. */
static void rewind_state(rva_resampler *r) {
    const rva_filter *filter = &r->filter;
    r->fed = r->made = 0;
    r->total = -1;
    uint32_t early = 0; /* samples that a stage gets from before time zero; even but for the last */
    for (uint32_t s = 0; s < filter->stage_count; s++) {
        rva_splitter *splitter = &r->splitters[s];
        const uint32_t taps = filter->stages[s].taps, outputs = (early / 2 + taps + 1) / 2 * 2;
        splitter->evens = outputs - early / 2;
        splitter->odds = splitter->evens + taps;
        splitter->expects_odd = false;
        memset(splitter->even, 0, splitter->evens * sizeof *splitter->even);
        memset(splitter->odd, 0, splitter->odds * sizeof *splitter->odd);
        early = outputs;
    }
    r->phase = 0;
    r->index = filter->is_copy ? 0 : filter->taps - 1 - filter->after;
    r->held = r->index - early;
    memset(r->history, 0, r->held * sizeof *r->history);
}

static int allocate(rva_resampler *r) {
    const rva_filter *filter = &r->filter;
    size_t floats = line_up(kept_history(filter) + ROOM) + line_up(ROOM);
    for (uint32_t s = 0; s < filter->stage_count; s++) floats += 2 * line_up(SPLITTER_ROOM);
    r->memory = aligned_alloc(RVA_CACHE_LINE, rva_rt_whole_lines(floats * sizeof *r->memory));
    if (!r->memory) return RVA_ERROR_MEMORY;
    memset(r->memory, 0, floats * sizeof *r->memory);
    float *free_memory = r->memory;
    for (uint32_t s = 0; s < filter->stage_count; s++) {
        size_t size = line_up(SPLITTER_ROOM);
        r->splitters[s].even = free_memory;
        r->splitters[s].odd = free_memory + size;
        free_memory += 2 * size;
    }
    r->between = free_memory;
    r->history = free_memory + line_up(ROOM);
    return RVA_OK;
}

int rva_resample_open(const rva_config *config, rva_resampler **resampler) {
    *resampler = NULL;
    const rva_kernel *kernel = rva_kernel_find(getenv("RAVATAR_AUDIO_KERNEL"));
    if (!kernel) return RVA_ERROR_KERNEL;
    rva_resampler *r = calloc(1, sizeof *r);
    if (!r) return RVA_ERROR_MEMORY;
    r->kernel = kernel;
    int code = rva_filter_open(&r->filter, config->rate_hz, config->profile, config->phase);
    if (code == RVA_OK) code = allocate(r);
    if (code != RVA_OK) {
        rva_resample_close(r);
        return code;
    }
    rewind_state(r);
    *resampler = r;
    return RVA_OK;
}

void rva_resample_close(rva_resampler *r) {
    if (!r) return;
    rva_filter_close(&r->filter);
    free(r->memory);
    free(r);
}

/* Deals samples out to the two phases of a half band. */
RVA_REALTIME static void split(rva_splitter *splitter, const float *samples, size_t count) {
    if (count && splitter->expects_odd) {
        splitter->odd[splitter->odds++] = *samples++;
        count--;
        splitter->expects_odd = false;
    }
    float *even = splitter->even + splitter->evens, *odd = splitter->odd + splitter->odds;
    const size_t pairs = count / 2;
    for (size_t i = 0; i < pairs; i++) {
        even[i] = samples[2 * i];
        odd[i] = samples[2 * i + 1];
    }
    splitter->evens += pairs;
    splitter->odds += pairs;
    if (count % 2) {
        splitter->even[splitter->evens++] = samples[count - 1];
        splitter->expects_odd = true;
    }
}

/* Runs one half band over what is new and returns how many samples it wrote. */
RVA_REALTIME static size_t halve(const rva_kernel *kernel, const rva_filter_stage *stage, rva_splitter *splitter,
                                 const float *samples, size_t count, float *y) {
    split(splitter, samples, count);
    /* y[j] needs even[j] and odd[.. j + taps - 1], of which `taps` lie before j */
    const size_t whole = splitter->odds < 2 * stage->taps - 1 ? 0 : splitter->odds - (2 * stage->taps - 1);
    const size_t ready = whole < splitter->evens ? whole : splitter->evens;
    kernel->half_band(splitter->even, splitter->odd + stage->taps, stage, ready, y);
    splitter->evens -= ready;
    splitter->odds -= ready;
    memmove(splitter->even, splitter->even + ready, splitter->evens * sizeof *splitter->even);
    memmove(splitter->odd, splitter->odd + ready, splitter->odds * sizeof *splitter->odd);
    return ready;
}

/* Forgets what no output will need any more, so that there is room for a chunk. */
RVA_REALTIME static void make_room(rva_resampler *r) {
    const size_t oldest = r->filter.is_copy ? r->index : r->index - (r->filter.taps - 1 - r->filter.after);
    const size_t dropped = oldest < r->held ? oldest : r->held;
    r->held -= dropped;
    r->index -= dropped;
    memmove(r->history, r->history + dropped, r->held * sizeof *r->history);
}

RVA_REALTIME static void push(rva_resampler *r, const float *samples, size_t count) {
    make_room(r);
    const uint32_t stages = r->filter.stage_count;
    for (uint32_t s = 0; s < stages; s++) {
        float *y = s + 1 < stages ? r->between : r->history + r->held;
        count = halve(r->kernel, &r->filter.stages[s], &r->splitters[s], samples, count, y);
        samples = r->between;
    }
    if (!stages) memcpy(r->history + r->held, samples, count * sizeof *samples);
    r->held += count;
}

RVA_REALTIME void rva_resample_feed(rva_resampler *r, const float *mono, size_t samples) {
    push(r, mono, samples);
    r->fed += (int64_t)samples;
}

/* How many outputs the history allows. */
RVA_REALTIME static size_t available(const rva_resampler *r) {
    const rva_filter *filter = &r->filter;
    if (r->index + filter->after >= r->held) return 0;
    const uint64_t span = (uint64_t)(r->held - filter->after - r->index) * filter->up - 1 - r->phase;
    return (size_t)(span / filter->down) + 1;
}

RVA_REALTIME size_t rva_resample_run(rva_resampler *r, float *output, size_t room) {
    static const float silence[64];
    for (size_t made = 0;;) {
        size_t count = available(r);
        count = count < room - made ? count : room - made;
        if (r->total >= 0 && (int64_t)count > r->total - r->made) count = (size_t)(r->total - r->made);
        if (r->filter.is_copy) {
            memcpy(output + made, r->history + r->index, count * sizeof *output);
            r->index += count;
        } else {
            r->kernel->polyphase(&r->filter, r->history, &r->index, &r->phase, count, output + made);
        }
        made += count;
        r->made += (int64_t)count;
        if (made == room || r->total < 0) return made;
        if (r->made == r->total) {
            rewind_state(r);
            return made;
        }
        push(r, silence, sizeof silence / sizeof *silence);
    }
}

RVA_REALTIME void rva_resample_end(rva_resampler *r) {
    r->total = (r->fed * r->filter.ratio_up + r->filter.ratio_down - 1) / r->filter.ratio_down;
}

RVA_REALTIME double rva_resample_ahead_samples(const rva_resampler *r) {
    const int64_t scaled = r->made * r->filter.ratio_down, up = r->filter.ratio_up;
    return (double)(r->fed - 1 - scaled / up) - (double)(scaled % up) / (double)up;
}

double rva_resample_group_delay_s(const rva_resampler *r) { return r->filter.group_delay_s; }

const char *rva_resample_kernel(const rva_resampler *r) { return r->kernel->name; }
