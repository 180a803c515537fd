/* Under callgrind: one dump of counts for each message that is encoded, or each frame that goes through the ring.
 * Usage: parts_cost message|ring TIMES. The ring is full half of the time, so that refused commits are among them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <valgrind/callgrind.h>

#include "wire/rva_message.h"
#include "core/rva_ring.h"

enum { PCM_BYTES = 8192, PREFIX_BYTES = 300, SUFFIX_BYTES = 100 };

static int encode_messages(int times) {
    static uint8_t prefix[PREFIX_BYTES], suffix[SUFFIX_BYTES], pcm[PCM_BYTES];
    uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    uint8_t *frame = malloc(rva_message_bytes(PREFIX_BYTES, PCM_BYTES, SUFFIX_BYTES));
    if (!frame) return 2;
    for (int n = 0; n < times; n++) {
        for (size_t i = 0; i < PCM_BYTES; i++) pcm[i] = (uint8_t)((i * 7919 + (size_t)n * 31) >> 3);
        mask[0] = (uint8_t)n;
        CALLGRIND_ZERO_STATS;
        CALLGRIND_TOGGLE_COLLECT;
        size_t bytes = rva_message_encode(frame, prefix, PREFIX_BYTES, pcm, PCM_BYTES, suffix, SUFFIX_BYTES, mask);
        CALLGRIND_TOGGLE_COLLECT;
        CALLGRIND_DUMP_STATS;
        if (bytes != rva_message_bytes(PREFIX_BYTES, PCM_BYTES, SUFFIX_BYTES)) return 1;
    }
    free(frame);
    return 0;
}

static int hand_over(int times) {
    rva_ring ring;
    if (rva_ring_open(&ring, 4)) return 2;
    int taken = 0;
    for (int n = 0; n < times; n++) {
        CALLGRIND_ZERO_STATS;
        CALLGRIND_TOGGLE_COLLECT;
        rva_ring_acquire(&ring)->seq = (uint64_t)n;
        rva_ring_commit(&ring);
        if (n % 20 < 10 && rva_ring_peek(&ring)) {
            rva_ring_advance(&ring);
            taken++;
        }
        CALLGRIND_TOGGLE_COLLECT;
        CALLGRIND_DUMP_STATS;
    }
    rva_ring_close(&ring);
    return taken ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    return strcmp(argv[1], "message") ? hand_over(atoi(argv[2])) : encode_messages(atoi(argv[2]));
}
