/* Times resamplers side by side: resample_driver RATE_HZ s16|f32 ROUNDS COLD_CALLS, JSON lines on stdout.
 *
 * All contenders run in this process, pinned to one core, in interleaved rounds of 200 calls of 10 ms; a figure is the
 * median over the rounds. "worst" is the deterministic burst: for each of 300 calls the least of 7 repetitions, and of
 * these the largest. "cold" calls come after a walk over more memory than the caches hold. "lag" is what 10 ms blocks
 * leave withheld: samples fed, in seconds, less samples given out, at its largest. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "contenders.h"

enum { CALLS = 200, BURST_CALLS = 300, BURST_REPEATS = 7, MOST_CONTENDERS = 32, MOST_ROUNDS = 1000 };
enum { EVICT_BYTES = 48 << 20 };

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, size_t count, double q) {
    qsort(values, count, sizeof *values, ascending);
    return values[(size_t)(q * (double)(count - 1) + 0.5)];
}

static unsigned char *sound; /* CALLS blocks */
static size_t block_samples, sample_bytes;
static int16_t out[8192];

static const void *block(size_t call) { return sound + call % CALLS * block_samples * sample_bytes; }

static void make_sound(int input) {
    sample_bytes = input == INPUT_S16 ? 2 : 4;
    sound = malloc(CALLS * block_samples * sample_bytes);
    uint32_t state = 1;
    for (size_t i = 0; i < CALLS * block_samples; i++) {
        state = state * 1664525u + 1013904223u;
        const int16_t value = (int16_t)((int32_t)state >> 17);
        if (input == INPUT_S16) ((int16_t *)(void *)sound)[i] = value;
        else ((float *)(void *)sound)[i] = (float)value / 32768.0f;
    }
}

static double worst_call_ns(const contender *each, unsigned rate_hz, int input, double *median) {
    static double least[BURST_CALLS];
    for (int repeat = 0; repeat < BURST_REPEATS; repeat++) {
        void *state = each->open(rate_hz, input);
        for (size_t call = 0; call < 50; call++) each->process(state, block(call), block_samples, out);
        for (size_t call = 0; call < BURST_CALLS; call++) {
            const int64_t began = now_ns();
            each->process(state, block(call), block_samples, out);
            const double took = (double)(now_ns() - began);
            if (!repeat || took < least[call]) least[call] = took;
        }
        each->close(state);
    }
    *median = quantile(least, BURST_CALLS, 0.5);
    return least[BURST_CALLS - 1];
}

static void cold_calls(const contender *each, unsigned rate_hz, int input, size_t calls) {
    static volatile unsigned char evict[EVICT_BYTES];
    double *took = malloc(calls * sizeof *took), sum = 0;
    void *state = each->open(rate_hz, input);
    for (size_t call = 0; call < 40; call++) each->process(state, block(call), block_samples, out);
    for (size_t call = 0; call < calls; call++) {
        for (size_t i = 0; i < EVICT_BYTES; i += 64) evict[i]++;
        const int64_t began = now_ns();
        each->process(state, block(call), block_samples, out);
        took[call] = (double)(now_ns() - began);
        sum += took[call];
    }
    each->close(state);
    printf(", \"cold_mean_ns\": %.1f, \"cold_p95_ns\": %.1f", sum / (double)calls, quantile(took, calls, 0.95));
    free(took);
}

static double lag_s(const contender *each, unsigned rate_hz, int input) {
    void *state = each->open(rate_hz, input);
    double worst = 0;
    size_t made = 0;
    for (size_t call = 0; call < 1000; call++) {
        made += each->process(state, block(call), block_samples, out);
        const double lag = (double)((call + 1) * block_samples) / rate_hz - (double)made / OUT_HZ;
        if (call > 500 && lag > worst) worst = lag;
    }
    each->close(state);
    return worst;
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    const unsigned rate_hz = (unsigned)atoi(arguments[1]);
    const int input = strcmp(arguments[2], "s16") == 0 ? INPUT_S16 : INPUT_F32;
    const int rounds = atoi(arguments[3]), cold = atoi(arguments[4]);
    if (rounds < 1 || rounds > MOST_ROUNDS) return 2;
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    int last = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) last = CPU_ISSET(cpu, &cpus) ? cpu : last;
    CPU_ZERO(&cpus);
    CPU_SET(last, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    block_samples = rate_hz / 100;
    make_sound(input);

    static double took[MOST_CONTENDERS][MOST_ROUNDS];
    void *states[MOST_CONTENDERS] = {0};
    for (size_t c = 0; contenders[c]; c++)
        if (contenders[c]->takes >> input & 1) states[c] = contenders[c]->open(rate_hz, input);
    for (int round = -1; round < rounds; round++) {
        for (size_t c = 0; contenders[c]; c++) {
            if (!states[c]) continue;
            const size_t calls = contenders[c]->is_slow ? CALLS / 10 : CALLS;
            const int64_t began = now_ns();
            for (size_t call = 0; call < calls; call++)
                contenders[c]->process(states[c], block(call), block_samples, out);
            if (round >= 0) took[c][round] = (double)(now_ns() - began) / (double)calls;
        }
    }
    for (size_t c = 0; contenders[c]; c++) {
        const contender *each = contenders[c];
        if (!states[c]) continue;
        each->close(states[c]);
        double burst_median;
        printf("{\"name\": \"%s\", \"call_ns\": %.1f", each->name, quantile(took[c], (size_t)rounds, 0.5));
        const double worst = each->is_slow ? 0 : worst_call_ns(each, rate_hz, input, &burst_median);
        if (!each->is_slow) printf(", \"worst_ns\": %.1f, \"burst_median_ns\": %.1f", worst, burst_median);
        if (!each->is_slow && cold) cold_calls(each, rate_hz, input, (size_t)cold);
        printf(", \"lag_s\": %.6f}\n", lag_s(each, rate_hz, input));
        fflush(stdout);
    }
    free(sound);
    return 0;
}
