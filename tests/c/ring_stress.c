/* Two threads on one ring: every frame arrives whole and in order, or is counted as dropped. Meant for ThreadSanitizer.
 * Usage: ring_stress FRAMES CAPACITY. The slow side changes now and then, so that both full and empty are met often. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/rva_ring.h"

static rva_ring ring;
static uint64_t frames, dropped;
static atomic_bool finished;

static void pause_sometimes(uint64_t n, uint64_t bit) {
    if ((n >> 10 & 1) == bit && n % 7 == 0) sched_yield();
}

static void *produce(void *unused) {
    (void)unused;
    for (uint64_t n = 0; n < frames; n++) {
        rva_frame *slot = rva_ring_acquire(&ring);
        slot->seq = n;
        for (int i = 0; i < RVA_FRAME_SAMPLES; i += 64) slot->pcm[i] = (int16_t)(n + (uint64_t)i);
        if (!rva_ring_commit(&ring)) dropped++;
        pause_sometimes(n, 0);
    }
    atomic_store_explicit(&finished, true, memory_order_release);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    frames = strtoull(argv[1], NULL, 10);
    if (rva_ring_open(&ring, (uint32_t)strtoul(argv[2], NULL, 10)) != RVA_OK) return 2;
    pthread_t producer;
    if (pthread_create(&producer, NULL, produce, NULL)) return 2;
    uint64_t seen = 0, next = 0;
    for (;;) {
        bool last = atomic_load_explicit(&finished, memory_order_acquire);
        const rva_frame *slot = rva_ring_peek(&ring);
        if (!slot) {
            if (last) break;
            sched_yield();
            continue;
        }
        if (slot->seq < next) return fprintf(stderr, "frame %llu came twice\n", (unsigned long long)slot->seq), 1;
        next = slot->seq + 1;
        for (int i = 0; i < RVA_FRAME_SAMPLES; i += 64)
            if (slot->pcm[i] != (int16_t)(slot->seq + (uint64_t)i)) return fprintf(stderr, "torn frame\n"), 1;
        seen++;
        rva_ring_advance(&ring);
        pause_sometimes(seen, 1);
    }
    pthread_join(producer, NULL);
    printf("seen %llu dropped %llu\n", (unsigned long long)seen, (unsigned long long)dropped);
    rva_ring_close(&ring);
    return seen + dropped == frames ? 0 : 1;
}
