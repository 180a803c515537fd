/* Times resamplers side by side: resample_driver RATE_HZ s16|f32 ROUNDS COLD_CALLS, JSON lines on stdout.
 *
 * All contenders run in this process, pinned to one core, in interleaved rounds of 200 calls of 10 ms; a figure is the
 * median over the rounds. "worst" is the deterministic burst: for each of 300 calls the least of 7 repetitions, and of
 * these the largest. "cold" calls come after a walk over more memory than the caches hold; they have lines of
 * their own, with the means of rounds of 20 calls.
 * "lag" is what 10 ms blocks leave withheld: samples fed, in seconds, less samples given out, at its largest. */
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "contenders.h"

enum { CALLS = 200, BURST_CALLS = 300, BURST_REPEATS = 7, MOST_CONTENDERS = 32, MOST_ROUNDS = 1000 };
enum { EVICT_BYTES = 48 << 20, COLD_ROUND = 20 };

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

static bool takes(const contender *each, int input) { return each->takes >> input & 1; }

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

/* Nothing but a callback's least: the block is read and kept, a third as many samples are given. */
static float kept[8192];
static size_t copy_process(void *state, const void *sound_block, size_t samples, int16_t *to) {
    (void)state;
    memcpy(kept, sound_block, samples * sample_bytes);
    memcpy(to, kept, samples / 3 * sizeof *to);
    return samples / 3;
}

static void evict(void) {
    static volatile unsigned char memory[EVICT_BYTES];
    for (size_t i = 0; i < EVICT_BYTES; i += 64) memory[i]++;
}

static double timed_ns(const contender *each, void *state, size_t call) {
    const int64_t began = now_ns();
    each->process(state, block(call), block_samples, out);
    return (double)(now_ns() - began);
}

/* The mean of each round of COLD_ROUND calls. A call during which the processor was away spoils its round; who takes the
 * median of the rounds need not care. */
static void print_means(const char *figure, const double *values, size_t count) {
    printf(", \"%s\": [", figure);
    for (size_t first = 0; first + COLD_ROUND <= count; first += COLD_ROUND) {
        double sum = 0;
        for (size_t i = first; i < first + COLD_ROUND; i++) sum += values[i];
        printf("%s%.1f", first ? ", " : "", sum / COLD_ROUND);
    }
    printf("]");
}

/* Calls with cold caches; contenders take turns. "cold_data" calls come after one of another stream, which has brought the
 * code: the state, the tables and the block are cold still. */
static void cold_calls(unsigned rate_hz, int input, size_t calls) {
    static double cold[MOST_CONTENDERS][MOST_ROUNDS], data[MOST_CONTENDERS][MOST_ROUNDS], copy[MOST_ROUNDS];
    static const contender copies = {.name = "a copy", .process = copy_process};
    void *states[MOST_CONTENDERS][2] = {0};
    for (size_t c = 0; contenders[c]; c++)
        for (int s = 0; s < 2 && takes(contenders[c], input) && contenders[c]->is_called_cold; s++) {
            states[c][s] = contenders[c]->open(rate_hz, input);
            for (size_t call = 0; states[c][s] && call < 40; call++)
                contenders[c]->process(states[c][s], block(call), block_samples, out);
        }
    for (size_t call = 0; call < calls; call++) {
        evict();
        copy[call] = timed_ns(&copies, NULL, call);
        for (size_t c = 0; contenders[c]; c++) {
            if (!states[c][0]) continue;
            evict();
            cold[c][call] = timed_ns(contenders[c], states[c][0], call);
            evict();
            contenders[c]->process(states[c][1], block(call + CALLS / 2), block_samples, out);
            data[c][call] = timed_ns(contenders[c], states[c][0], call);
        }
    }
    printf("{\"name\": \"a copy\"");
    print_means("cold_means_ns", copy, calls);
    printf("}\n");
    for (size_t c = 0; contenders[c]; c++) {
        if (!states[c][0]) continue;
        printf("{\"name\": \"%s\"", contenders[c]->name);
        print_means("cold_means_ns", cold[c], calls);
        print_means("cold_data_means_ns", data[c], calls);
        printf(", \"cold_p95_ns\": %.1f}\n", quantile(cold[c], calls, 0.95));
        for (int s = 0; s < 2; s++) contenders[c]->close(states[c][s]);
    }
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
    if (rounds < 1 || rounds > MOST_ROUNDS || cold < 0 || cold > MOST_ROUNDS) return 2;
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
        if (takes(contenders[c], input)) states[c] = contenders[c]->open(rate_hz, input);
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
        printf(", \"lag_s\": %.6f}\n", lag_s(each, rate_hz, input));
        fflush(stdout);
    }
    if (cold) cold_calls(rate_hz, input, (size_t)cold);
    free(sound);
    return 0;
}
