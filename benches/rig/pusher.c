/* Times a chain's push, call by call: hot, or each time after a walk over more memory than the caches hold. */
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { EVICT_BYTES = 48 << 20 };

typedef void pusher_push(void *chain, const void *block, size_t samples, int64_t end_ns);

void pusher_time(pusher_push *push, void *chain, const unsigned char *blocks, size_t block_bytes, size_t samples, size_t calls,
                 int is_cold, int64_t *took_ns);

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void pusher_time(pusher_push *push, void *chain, const unsigned char *blocks, size_t block_bytes, size_t samples, size_t calls,
                 int is_cold, int64_t *took_ns) {
    static volatile unsigned char evict[EVICT_BYTES];
    for (size_t call = 0; call < calls; call++) {
        if (is_cold)
            for (size_t i = 0; i < EVICT_BYTES; i += 64) evict[i]++;
        const int64_t began_ns = now_ns();
        push(chain, blocks + call * block_bytes, samples, began_ns);
        took_ns[call] = now_ns() - began_ns;
    }
}
