/* Blocks of a made-up sound server arrive as the scenario says, at a stream that tells gaps by their arrival, or by the times of
 * a server that keeps time. Whatever happens,
 * all sound comes out, in its order; what was lost is told to within a block, once, in the frame that it lies in; what was only
 * late is not told. Usage: gap_check [quick], which is an hour made shorter, for emulated processors. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "streams/rva_stream.h"

enum { RATE_HZ = 16000, BLOCK = 160, GAPS_MAX = 8 };
#define MS INT64_C(1000000)

static const char *scenario;
static unsigned long failures;

static void check(bool holds, const char *what, long long value, long long expected) {
    if (holds) return;
    failures++;
    fprintf(stderr, "%s: %s: %lld, expected %lld\n", scenario, what, value, expected);
}

static struct {
    rva_chain *chain;
    rva_stream stream;
    double rate_hz, mic_ns;                  /* the microphone's own rate; when its newest sample was there */
    int64_t latency_ns, jitter_ns, free_ns, arrived_ns; /* free_ns: this thread does not run before */
    bool keeps_time;
    int64_t within_samples; /* so exact is what is told to be */
    uint64_t pushed, taken, told;
    uint64_t gap_at[GAPS_MAX], told_samples[GAPS_MAX], told_from[GAPS_MAX], told_to[GAPS_MAX];
    unsigned gaps;
    uint32_t random;
} at;

static uint32_t chance(uint32_t below) {
    at.random = at.random * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)at.random * below >> 32);
}

static int16_t sound(uint64_t position) { return (int16_t)(position * 40503u >> 3); }

static void take(void) {
    for (const rva_frame *frame; (frame = rva_chain_peek(at.chain)); rva_chain_advance(at.chain)) {
        const unsigned char *bytes = (const unsigned char *)frame->pcm;
        for (uint32_t i = 0; i < frame->length_samples; i++, at.taken++) {
            const int16_t value = (int16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
            if (value != sound(at.taken)) check(false, "sample out of place", value, sound(at.taken));
        }
        check(frame->ring_lost_samples == 0, "dropped", (long long)frame->ring_lost_samples, 0);
        if (!(frame->flags & RVA_FLAG_DISCONTINUITY)) continue;
        if (at.told < GAPS_MAX) {
            at.told_samples[at.told] = frame->device_lost_samples;
            at.told_from[at.told] = at.taken - frame->length_samples;
            at.told_to[at.told] = at.taken;
        }
        at.told++;
    }
}

static void open_stream(int64_t resume_ns) {
    rva_stream_init(&at.stream, at.chain, RATE_HZ, -1, resume_ns);
    if (rva_stream_expect_server(&at.stream, BLOCK, sizeof(int16_t), at.keeps_time)) exit(2);
}

static void begin(const char *name, double ppm) {
    scenario = name;
    memset(&at, 0, sizeof at);
    const rva_config config = {
        .rate_hz = RATE_HZ, .channels = 1, .format = RVA_FORMAT_S16, .capacity_frames = 64, .wake_fd = -1};
    if (rva_chain_open(&config, &at.chain)) exit(2);
    at.rate_hz = RATE_HZ * (1 + ppm * 1e-6);
    at.mic_ns = 1e12;
    at.latency_ns = 12 * MS;
    at.jitter_ns = 3 * MS;
    at.random = 1;
    at.within_samples = BLOCK;
    open_stream(0);
}

static void block(size_t samples, bool has_overrun) {
    int16_t values[BLOCK];
    for (size_t i = 0; i < samples; i++) values[i] = sound(at.pushed++);
    at.mic_ns += (double)samples * 1e9 / at.rate_hz;
    int64_t comes_ns = (int64_t)at.mic_ns + at.latency_ns + chance((uint32_t)at.jitter_ns);
    if (comes_ns < at.free_ns) comes_ns = at.free_ns;
    if (comes_ns < at.arrived_ns + MS / 50) comes_ns = at.arrived_ns + MS / 50;
    at.arrived_ns = comes_ns;
    /* Mostly right, now and then off by as much as on a busy machine. */
    const double wander_s = chance(4) ? 0 : (double)chance(20) * 1e-3 - 0.010;
    const double age_s = at.keeps_time ? ((double)comes_ns - at.mic_ns) * 1e-9 + wander_s : (double)chance(500) * 1e-3;
    rva_stream_block(&at.stream, values, samples, comes_ns, age_s, has_overrun);
    take();
}

static void blocks(unsigned count) {
    while (count--) block(BLOCK, false);
}

/* The thread does not run for so long from now on. */
static void starve(int64_t duration_ns) { at.free_ns = at.arrived_ns + duration_ns; }

static void lose(uint64_t samples) {
    at.mic_ns += (double)samples * 1e9 / at.rate_hz;
    at.gap_at[at.gaps++] = at.pushed;
}

/* Closes, and compares with what was lost at each gap, 0 ends the list. */
static void end(const uint64_t lost[GAPS_MAX]) {
    rva_stream_close(&at.stream);
    rva_chain_finish(at.chain);
    take();
    check(at.taken == at.pushed, "samples that came out", (long long)at.taken, (long long)at.pushed);
    unsigned count = 0;
    while (lost && count < GAPS_MAX && lost[count]) count++;
    check(at.told == count, "gaps told", (long long)at.told, count);
    for (unsigned i = 0; i < count && at.told == count; i++) {
        const int64_t error = (int64_t)at.told_samples[i] - (int64_t)lost[i];
        check(llabs(error) <= at.within_samples, "samples told", (long long)at.told_samples[i], (long long)lost[i]);
        check(at.told_from[i] <= at.gap_at[i] && at.gap_at[i] < at.told_to[i], "place told", (long long)at.told_from[i],
              (long long)at.gap_at[i]);
    }
    rva_chain_close(at.chain);
}

#define LOST(...) ((const uint64_t[GAPS_MAX]){__VA_ARGS__})

static void only_late(unsigned drift_blocks) {
    begin("jitter, and a block in 50 late by 30 ms", 0);
    for (unsigned i = 0; i < 6000; i++) {
        if (!chance(50)) starve(30 * MS);
        blocks(1);
    }
    end(NULL);
    for (int64_t wait_ms = 50; wait_ms <= 5000; wait_ms *= 2) {
        begin("the thread did not run for a while", 0);
        blocks(100);
        starve(wait_ms * MS);
        blocks(1000);
        end(NULL);
    }
    begin("the thread ran for a block only between two waits", 0);
    blocks(100);
    starve(300 * MS);
    blocks(1);
    starve(250 * MS);
    blocks(300);
    end(NULL);
    for (uint32_t seed = 0; seed < 20; seed++) {
        begin("the thread ran now and then, and did all that had come", 0);
        at.random = seed;
        for (unsigned i = 0; i < 400; i++) {
            starve((int64_t)chance(300) * MS);
            do blocks(1);
            while (at.arrived_ns - (int64_t)at.mic_ns > at.latency_ns + at.jitter_ns);
            blocks(chance(60));
        }
        end(NULL);
    }
    for (int sign = -1; sign <= 1; sign += 2) {
        begin("the microphone's clock is off by 300 ppm for long", sign * 300);
        blocks(drift_blocks);
        end(NULL);
        begin("the server buffers 9 ms more or less from now on", 0);
        at.latency_ns = 30 * MS;
        at.jitter_ns = MS / 2;
        blocks(200);
        at.latency_ns += sign * 9 * MS;
        blocks(200);
        end(NULL);
    }
    begin("blocks of all lengths", 0);
    for (unsigned i = 0; i < 5000; i++) block(1 + chance(BLOCK), false);
    end(NULL);
    begin("the stream ends while a late block is kept", 0);
    blocks(100);
    starve(100 * MS);
    blocks(3);
    end(NULL);
}

static void lost(void) {
    for (uint64_t samples = 2 * BLOCK; samples < 200000; samples += samples * 2 / 3) {
        begin("a gap", 0);
        blocks(130);
        lose(samples);
        blocks(200);
        end(LOST(samples));
        begin("a gap, and then the thread did not run for a while", 0);
        blocks(130);
        lose(samples);
        blocks(5);
        starve(300 * MS);
        blocks(200);
        end(LOST(samples));
        begin("an overrun", 0);
        blocks(130);
        lose(samples);
        block(BLOCK, true);
        blocks(200);
        end(LOST(samples));
        begin("a gap, with blocks of all lengths", 0);
        for (unsigned i = 0; i < 200; i++) block(1 + chance(BLOCK), false);
        lose(samples);
        for (unsigned i = 0; i < 300; i++) block(1 + chance(BLOCK), false);
        end(LOST(samples));
        for (unsigned before_close = 3; before_close <= 300; before_close *= 10) {
            begin("another stream goes on", 0);
            blocks(130);
            const int64_t resume_ns = at.stream.captured_ns;
            rva_stream_close(&at.stream);
            lose(samples);
            open_stream(resume_ns);
            blocks(before_close);
            end(LOST(samples));
        }
    }
    for (unsigned kept = 1; kept <= 15; kept += 7) {
        begin("a stream that ends just after a gap, and another that goes on", 0);
        blocks(130);
        lose(4000);
        blocks(kept);
        rva_stream_close(&at.stream);
        const int64_t resume_ns = at.stream.captured_ns;
        lose(8000);
        at.gap_at[0] = at.gap_at[1]; /* told together */
        open_stream(resume_ns);
        blocks(200);
        end(LOST(12000));
    }
    begin("two gaps, the second while the first is not known yet, told in one frame", 0);
    blocks(130);
    lose(4000);
    blocks(5);
    lose(800);
    blocks(200);
    end(LOST(4800));
    begin("two gaps", 0);
    blocks(130);
    lose(4000);
    blocks(130);
    lose(800);
    blocks(130);
    end(LOST(4000, 800));
    begin("the first block is said to follow an overrun", 0);
    block(BLOCK, true);
    blocks(130);
    end(NULL);
    begin("less than half a block", 0);
    at.jitter_ns = MS;
    blocks(130);
    lose(BLOCK / 2 - 1);
    blocks(130);
    end(NULL);
}

static void begin_timed(const char *name) {
    begin(name, 0);
    rva_stream_close(&at.stream);
    at.keeps_time = true;
    open_stream(0);
    at.within_samples = BLOCK / 16;
    at.jitter_ns = MS / 2;
}

/* A server that keeps time: where its blocks end is another after a pause and with a new stream, by up to a block. */
static void keeps_time(void) {
    for (int64_t later_ms = -9; later_ms <= 6; later_ms += 3) {
        for (int is_new = 0; is_new < 2; is_new++) {
            begin_timed(is_new ? "another stream of a server that keeps time" : "a pause of a server that keeps time");
            blocks(130);
            const int64_t resume_ns = at.stream.captured_ns;
            if (is_new) rva_stream_close(&at.stream);
            lose(4000);
            at.latency_ns += later_ms * MS;
            if (is_new) open_stream(resume_ns);
            blocks(200);
            end(LOST(4000));
        }
    }
    begin_timed("a server that keeps time moves the stream, and does not know its times for long");
    blocks(130);
    lose(320);
    at.mic_ns -= 9.0 * MS; /* by its times it lost less */
    at.latency_ns += 9 * MS;
    blocks(200);
    end(LOST(320));
}

int main(int count, char **arguments) {
    only_late(count > 1 && strcmp(arguments[1], "quick") == 0 ? 36000 : 360000); /* six minutes, or an hour */
    lost();
    keeps_time();
    return failures ? 1 : 0;
}
