/* One thread pushes a ramp through the chain, one takes, one asks for flushes and reads statistics. At 16 kHz the sound
 * passes bit for bit, so each frame's content follows from its position. Usage: chain_stress BLOCKS */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/rva.h"

static rva_chain *chain;
static unsigned long blocks;
static atomic_bool finished;

static void *push(void *unused) {
    (void)unused;
    int16_t block[1024];
    uint16_t value = 0;
    for (unsigned long n = 0; n < blocks; n++) {
        size_t samples = 1 + n * 131 % 1024;
        for (size_t i = 0; i < samples; i++) block[i] = (int16_t)value++;
        if (n % 50 == 0) rva_chain_note_loss(chain, 0);
        rva_chain_push(chain, block, samples, rva_now_ns());
        if (n % 64 == 0) sched_yield();
    }
    rva_chain_finish(chain);
    atomic_store(&finished, true);
    return NULL;
}

static void *meddle(void *unused) {
    (void)unused;
    rva_statistics statistics;
    while (!atomic_load(&finished)) {
        rva_chain_request_flush(chain);
        rva_chain_statistics(chain, &statistics);
        rva_chain_flush_at(chain, statistics.converted_samples + 100);
        if (statistics.queued_frames > 4) exit(3);
        sched_yield();
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    blocks = strtoul(argv[1], NULL, 10);
    rva_config config = {.rate_hz = 16000, .channels = 1, .format = RVA_FORMAT_S16, .capacity_frames = 4, .wake_fd = -1};
    if (rva_chain_open(&config, &chain)) return 2;
    pthread_t pusher, meddler;
    if (pthread_create(&pusher, NULL, push, NULL) || pthread_create(&meddler, NULL, meddle, NULL)) return 2;
    uint64_t taken = 0, lost = 0, position = 0;
    for (;;) {
        bool last = atomic_load(&finished);
        const rva_frame *frame = rva_chain_peek(chain);
        if (!frame) {
            if (last) break;
            sched_yield();
            continue;
        }
        lost += frame->ring_lost_samples;
        position += frame->ring_lost_samples;
        if (frame->position_samples != position) return fprintf(stderr, "a frame is out of place\n"), 1;
        const unsigned char *bytes = (const unsigned char *)frame->pcm; /* little-endian, whatever the machine */
        for (uint32_t i = 0; i < frame->length_samples; i++)
            if ((bytes[2 * i] | bytes[2 * i + 1] << 8) != (uint16_t)(position + i)) return fprintf(stderr, "wrong sample\n"), 1;
        position += frame->length_samples;
        taken += frame->length_samples;
        rva_chain_advance(chain);
    }
    pthread_join(pusher, NULL);
    pthread_join(meddler, NULL);
    rva_statistics statistics;
    rva_chain_statistics(chain, &statistics);
    printf("taken %llu lost %llu\n", (unsigned long long)taken, (unsigned long long)lost);
    bool conserved = statistics.converted_samples == taken + statistics.ring_dropped_samples &&
                     statistics.device_samples == statistics.converted_samples;
    rva_chain_close(chain);
    return conserved && taken ? 0 : 1;
}
