/* Times rings side by side: ring_driver ROUNDS, JSON lines on stdout, the values of all rounds.
 *
 * A block is 960 bytes: 10 ms of 48 kHz int16. The producer fills it with its number, the consumer adds it up and compares.
 * In our ring of slots both work in place, and so they do in the others' by their interfaces for that ("in place"); beside
 * it, as their examples show, the producer writes a block of its own and the consumer reads into one. Every ring holds eight blocks. All contenders run in this process and take turns:
 * "two_threads_ns" for a block through two threads on two cores, as fast as they can; "one_thread_ns" pushed and taken by
 * one thread; "paced_push_ns" for the push alone when a block comes every 50 us to a consumer that has had time to take
 * the last: what an audio thread pays. "bare hand-off" is no ring but the floor under any. Rounds are short, so that most of them pass without an interruption. */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/rva_ring.h"

#ifdef HAVE_JACK
#include <jack/ringbuffer.h>
#endif

enum { BLOCK_WORDS = 120, BLOCK_BYTES = 8 * BLOCK_WORDS, HELD_BLOCKS = 8, BLOCKS = 5000, PACED_BLOCKS = 20, PACE_NS = 50000 };

typedef struct {
    const char *name;
    void *(*open)(void);
    bool (*push)(void *ring, uint64_t number); /* false: full */
    bool (*take)(void *ring, uint64_t *sum);   /* false: empty */
    void (*close)(void *ring);
} contender;

static void fill(uint64_t *block, uint64_t number) {
    for (int i = 0; i < BLOCK_WORDS; i++) block[i] = number;
}

static uint64_t add_up(const uint64_t *block) {
    uint64_t sum = 0;
    for (int i = 0; i < BLOCK_WORDS; i++) sum += block[i];
    return sum;
}

static void *own_open(void) {
    rva_ring *ring = aligned_alloc(RVA_CACHE_LINE, rva_rt_whole_lines(sizeof *ring));
    if (!ring || rva_ring_open(ring, HELD_BLOCKS)) exit(3);
    return ring;
}
static bool own_push(void *ring, uint64_t number) {
    fill((uint64_t *)(void *)rva_ring_acquire(ring)->pcm, number);
    return rva_ring_commit(ring);
}
static bool own_take(void *ring, uint64_t *sum) {
    const rva_frame *slot = rva_ring_peek(ring);
    if (!slot) return false;
    *sum = add_up((const uint64_t *)(const void *)slot->pcm);
    rva_ring_advance(ring);
    return true;
}
static void own_close(void *ring) {
    rva_ring_close(ring);
    free(ring);
}
static const contender own = {"ours", own_open, own_push, own_take, own_close};

/* The floor under any ring: a block's 15 lines and a line that says whose they are, nothing that all blocks share. */
typedef struct {
    struct {
        _Alignas(RVA_CACHE_LINE) uint64_t words[BLOCK_WORDS];
        _Atomic uint64_t is_full;
    } blocks[HELD_BLOCKS];
    _Alignas(RVA_CACHE_LINE) size_t next_push;
    _Alignas(RVA_CACHE_LINE) size_t next_take;
} bare_lines;

static void *bare_open(void) {
    bare_lines *lines = aligned_alloc(RVA_CACHE_LINE, sizeof *lines);
    if (!lines) exit(3);
    memset(lines, 0, sizeof *lines);
    return lines;
}
static bool bare_push(void *ring, uint64_t number) {
    bare_lines *lines = ring;
    const size_t at = lines->next_push;
    if (atomic_load_explicit(&lines->blocks[at].is_full, memory_order_acquire)) return false;
    fill(lines->blocks[at].words, number);
    atomic_store_explicit(&lines->blocks[at].is_full, 1, memory_order_release);
    lines->next_push = (at + 1) % HELD_BLOCKS;
    return true;
}
static bool bare_take(void *ring, uint64_t *sum) {
    bare_lines *lines = ring;
    const size_t at = lines->next_take;
    if (!atomic_load_explicit(&lines->blocks[at].is_full, memory_order_acquire)) return false;
    *sum = add_up(lines->blocks[at].words);
    atomic_store_explicit(&lines->blocks[at].is_full, 0, memory_order_release);
    lines->next_take = (at + 1) % HELD_BLOCKS;
    return true;
}
static const contender bare = {"bare hand-off", bare_open, bare_push, bare_take, free};

/* Tried: fetching the next slot for writing, before it is needed. */
static bool own_push_ahead(void *ring, uint64_t number) {
    if (!own_push(ring, number)) return false;
    const char *next = (const char *)rva_ring_acquire(ring)->pcm;
    for (int i = 0; i < BLOCK_BYTES; i += 64) __builtin_prefetch(next + i, 1);
    return true;
}
static const contender own_ahead = {"ours, fetching ahead", own_open, own_push_ahead, own_take, own_close};

#ifdef HAVE_JACK
static void *jack_open(void) { return jack_ringbuffer_create(HELD_BLOCKS * 1024); }
static bool jack_push(void *ring, uint64_t number) {
    if (jack_ringbuffer_write_space(ring) < BLOCK_BYTES) return false;
    uint64_t block[BLOCK_WORDS];
    fill(block, number);
    jack_ringbuffer_write(ring, (const char *)block, BLOCK_BYTES);
    return true;
}
static bool jack_take(void *ring, uint64_t *sum) {
    if (jack_ringbuffer_read_space(ring) < BLOCK_BYTES) return false;
    uint64_t block[BLOCK_WORDS];
    jack_ringbuffer_read(ring, (char *)block, BLOCK_BYTES);
    *sum = add_up(block);
    return true;
}
static void jack_close_ring(void *ring) { jack_ringbuffer_free(ring); }
static const contender jack = {"JACK", jack_open, jack_push, jack_take, jack_close_ring};

/* In place a block has 1,024 bytes, so that none is in two pieces; such a ring is full when a byte is left, so it is of 16. */
static void *jack_in_place_open(void) { return jack_ringbuffer_create(2 * HELD_BLOCKS * 1024); }
static bool jack_in_place_push(void *ring, uint64_t number) {
    jack_ringbuffer_data_t parts[2];
    jack_ringbuffer_get_write_vector(ring, parts);
    if (parts[0].len < 1024) return false;
    fill((uint64_t *)(void *)parts[0].buf, number);
    jack_ringbuffer_write_advance(ring, 1024);
    return true;
}
static bool jack_in_place_take(void *ring, uint64_t *sum) {
    jack_ringbuffer_data_t parts[2];
    jack_ringbuffer_get_read_vector(ring, parts);
    if (parts[0].len < 1024) return false;
    *sum = add_up((const uint64_t *)(const void *)parts[0].buf);
    jack_ringbuffer_read_advance(ring, 1024);
    return true;
}
static const contender jack_in_place = {"JACK in place", jack_in_place_open, jack_in_place_push, jack_in_place_take,
                                        jack_close_ring};
#endif

#ifdef HAVE_PORTAUDIO
/* Of libportaudio.a; Debian has no header for it, so the structure is memory of more than its size. */
long PaUtil_InitializeRingBuffer(void *ring, long element_bytes, long elements, void *data);
long PaUtil_WriteRingBuffer(void *ring, const void *data, long elements);
long PaUtil_ReadRingBuffer(void *ring, void *data, long elements);
long PaUtil_GetRingBufferWriteAvailable(const void *ring);
long PaUtil_GetRingBufferReadAvailable(const void *ring);
long PaUtil_GetRingBufferWriteRegions(void *ring, long elements, void **first, long *first_count, void **second,
                                      long *second_count);
long PaUtil_AdvanceRingBufferWriteIndex(void *ring, long elements);
long PaUtil_GetRingBufferReadRegions(void *ring, long elements, void **first, long *first_count, void **second,
                                     long *second_count);
long PaUtil_AdvanceRingBufferReadIndex(void *ring, long elements);

typedef struct {
    _Alignas(64) unsigned char state[512];
    _Alignas(64) unsigned char data[HELD_BLOCKS * BLOCK_BYTES];
} portaudio_ring;

static void *portaudio_open(void) {
    portaudio_ring *ring = aligned_alloc(64, sizeof *ring);
    memset(ring, 0, sizeof *ring);
    if (PaUtil_InitializeRingBuffer(ring->state, BLOCK_BYTES, HELD_BLOCKS, ring->data)) exit(3);
    return ring;
}
static bool portaudio_push(void *ring, uint64_t number) {
    if (PaUtil_GetRingBufferWriteAvailable(ring) < 1) return false;
    uint64_t block[BLOCK_WORDS];
    fill(block, number);
    return PaUtil_WriteRingBuffer(ring, block, 1) == 1;
}
static bool portaudio_take(void *ring, uint64_t *sum) {
    if (PaUtil_GetRingBufferReadAvailable(ring) < 1) return false;
    uint64_t block[BLOCK_WORDS];
    PaUtil_ReadRingBuffer(ring, block, 1);
    *sum = add_up(block);
    return true;
}
static const contender portaudio = {"PortAudio", portaudio_open, portaudio_push, portaudio_take, free};

static bool portaudio_in_place_push(void *ring, uint64_t number) {
    void *first, *second;
    long first_count, second_count;
    if (PaUtil_GetRingBufferWriteRegions(ring, 1, &first, &first_count, &second, &second_count) < 1) return false;
    fill(first, number);
    PaUtil_AdvanceRingBufferWriteIndex(ring, 1);
    return true;
}
static bool portaudio_in_place_take(void *ring, uint64_t *sum) {
    void *first, *second;
    long first_count, second_count;
    if (PaUtil_GetRingBufferReadRegions(ring, 1, &first, &first_count, &second, &second_count) < 1) return false;
    *sum = add_up(first);
    PaUtil_AdvanceRingBufferReadIndex(ring, 1);
    return true;
}
static const contender portaudio_in_place = {"PortAudio in place", portaudio_open, portaudio_in_place_push,
                                             portaudio_in_place_take, free};
#endif

static const contender *const contenders[] = {
    &own,
    &own_ahead,
    &bare,
#ifdef HAVE_PORTAUDIO
    &portaudio,
    &portaudio_in_place,
#endif
#ifdef HAVE_JACK
    &jack,
    &jack_in_place,
#endif
    NULL,
};

static int cpus[2];

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void wait_a_little(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* What a block through the ring must add up to. */
static void check(const contender *each, size_t block, uint64_t sum) {
    if (sum == block * BLOCK_WORDS) return;
    fprintf(stderr, "%s: block %zu was torn\n", each->name, block);
    exit(4);
}

typedef struct {
    const contender *each;
    void *ring;
    size_t blocks;
    atomic_bool is_ready;
    int64_t ended_ns;
} run;

static void *consume(void *opaque) {
    run *r = opaque;
    pin(cpus[1]);
    atomic_store(&r->is_ready, true);
    for (size_t block = 0; block < r->blocks; block++) {
        uint64_t sum = 0;
        while (!r->each->take(r->ring, &sum)) wait_a_little();
        check(r->each, block, sum);
    }
    r->ended_ns = now_ns();
    return NULL;
}

static int ascending(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds for a block between two threads; with a pace, the median of the push alone. */
static double two_threads_ns(const contender *each, size_t blocks, int64_t pace_ns) {
    run r = {.each = each, .ring = each->open(), .blocks = blocks};
    static int64_t took[BLOCKS];
    pthread_t consumer;
    pin(cpus[0]);
    if (pthread_create(&consumer, NULL, consume, &r)) exit(3);
    while (!atomic_load(&r.is_ready)) wait_a_little();
    const int64_t began = now_ns();
    for (size_t block = 0; block < blocks; block++) {
        for (int64_t due = now_ns() + pace_ns; pace_ns && now_ns() < due;) wait_a_little();
        const int64_t from = pace_ns ? now_ns() : 0;
        while (!each->push(r.ring, block)) wait_a_little();
        if (pace_ns) took[block] = now_ns() - from;
    }
    pthread_join(consumer, NULL);
    const double whole = (double)(r.ended_ns - began) / (double)blocks;
    each->close(r.ring);
    qsort(took, blocks, sizeof *took, ascending);
    return pace_ns ? (double)took[blocks / 2] : whole;
}

static double one_thread_ns(const contender *each, size_t blocks) {
    void *ring = each->open();
    pin(cpus[0]);
    const int64_t began = now_ns();
    for (size_t block = 0; block < blocks; block++) {
        uint64_t sum = 0;
        each->push(ring, block);
        each->take(ring, &sum);
        check(each, block, sum);
    }
    const int64_t took = now_ns() - began;
    each->close(ring);
    return (double)took / (double)blocks;
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    const int rounds = atoi(arguments[1]);
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof allowed, &allowed);
    int found = 0;
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0 && found < 2; cpu--)
        if (CPU_ISSET(cpu, &allowed)) cpus[found++] = cpu;
    for (int round = -1; round < rounds; round++) /* the first is to warm up */
        for (size_t c = 0; contenders[c]; c++) {
            const contender *each = contenders[c];
            const double one = one_thread_ns(each, BLOCKS);
            if (round >= 0) printf("{\"name\": \"%s\", \"one_thread_ns\": %.2f", each->name, one);
            if (found == 2) {
                const double two = two_threads_ns(each, BLOCKS, 0);
                const double paced = two_threads_ns(each, PACED_BLOCKS, PACE_NS);
                if (round >= 0) printf(", \"two_threads_ns\": %.2f, \"paced_push_ns\": %.2f", two, paced);
            }
            if (round >= 0) puts("}");
        }
    return 0;
}
