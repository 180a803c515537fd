/* Under callgrind: one dump of counts for each block that the audio thread would push. Usage: callback_cost RATE CHANNELS
 * FORMAT BLOCKS. The ring is full half of the time, so that drops are among the blocks, and one block flushes. */
#include <stdio.h>
#include <stdlib.h>

#include <valgrind/callgrind.h>

#include "core/rva.h"

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    uint32_t rate_hz = (uint32_t)atoi(argv[1]), channels = (uint32_t)atoi(argv[2]);
    static const unsigned bytes[] = {0, 2, 3, 4, 4, 1};
    uint32_t format = (uint32_t)atoi(argv[3]);
    rva_config config = {.rate_hz = rate_hz, .channels = channels, .format = format, .capacity_frames = 2, .wake_fd = -1};
    rva_chain *chain;
    if (rva_chain_open(&config, &chain)) return 2;
    size_t samples = rate_hz / 100;
    unsigned char *block = malloc(samples * channels * bytes[format]);
    int blocks = atoi(argv[4]);
    for (int n = 0; n < blocks; n++) {
        for (size_t i = 0; i < samples * channels * bytes[format]; i++) block[i] = (unsigned char)((i * 7919 + (size_t)n * 31) >> 3);
        if (n == blocks / 2) rva_chain_request_flush(chain);
        CALLGRIND_ZERO_STATS;
        CALLGRIND_TOGGLE_COLLECT;
        rva_chain_push(chain, block, samples, 0);
        CALLGRIND_TOGGLE_COLLECT;
        CALLGRIND_DUMP_STATS;
        if (n % 200 < 100 && rva_chain_peek(chain)) rva_chain_advance(chain);
    }
    printf("%s\n", rva_chain_kernel(chain));
    rva_chain_close(chain);
    free(block);
    return 0;
}
