/* The audio thread takes no page fault at a gap behind a sound server, nor later: all it uses has been touched before. */
#include <stdio.h>
#include <sys/resource.h>

#include "streams/rva_stream.h"

enum { BLOCK = 480, CHANNELS = 8, SECOND = 100 };

static int16_t block[BLOCK * CHANNELS];
static int64_t now_ns;

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt;
}

/* Page faults of one second of sound, from `gap_ns` later on. */
static long listen(rva_stream *stream, rva_chain *chain, int64_t gap_ns) {
    const long before = faults();
    now_ns += gap_ns;
    for (int i = 0; i < SECOND; i++) {
        now_ns += 10000000;
        rva_stream_block(stream, block, BLOCK, now_ns, 0, gap_ns && i == 0);
        while (rva_chain_peek(chain)) rva_chain_advance(chain);
    }
    return faults() - before;
}

int main(void) {
    const rva_config config = {
        .rate_hz = 48000, .channels = CHANNELS, .format = RVA_FORMAT_S16, .capacity_frames = 8, .wake_fd = -1};
    rva_chain *chain;
    static rva_stream stream;
    if (rva_chain_open(&config, &chain)) return 1;
    rva_stream_init(&stream, chain, 48000, -1, 0);
    if (rva_stream_expect_server(&stream, BLOCK, 2 * CHANNELS, false)) return 1;
    now_ns = rva_now_ns();
    listen(&stream, chain, 0); /* the code's own pages come with the first second */
    listen(&stream, chain, 0);
    const long steady = listen(&stream, chain, 0), first = listen(&stream, chain, 5000000000), second = listen(&stream, chain, 5000000000);
    printf("page faults in a second: %ld, after the first gap %ld, after the second %ld\n", steady, first, second);
    rva_stream_close(&stream);
    rva_chain_close(chain);
    /* The code of what only a gap runs is one or two pages more, which no memory can be touched for. */
    return steady > 1 || first > 4 || second > 1;
}
