/* The watch gives the audio thread its real-time priority while sound comes, and takes it back when that stops, also from a
 * thread that never sleeps, on a core that both share. Exit code 77: the limits allow no real-time priority. */
#include <sched.h>
#include <stdio.h>
#include <time.h>

#include "os/rva_thread.h"
#include "streams/rva_watch.h"

enum { BLOCK = 160, PRIORITY = 10, LIMIT_MS = 20000 };

static rva_stream stream;
static rva_watch watch;
static _Atomic int gives_sound = 1, ends;

static void wait_ms(int ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL); }

static void *audio_thread(void *unused) {
    static const int16_t block[BLOCK];
    (void)unused;
    while (!atomic_load(&ends)) {
        if (!atomic_load(&gives_sound)) continue; /* as PortAudio does on a device that was unplugged */
        rva_watch_note(&watch);
        rva_stream_block(&stream, block, BLOCK, rva_now_ns(), 0, false);
        while (rva_chain_peek(stream.chain)) rva_chain_advance(stream.chain);
        wait_ms(10);
    }
    return NULL;
}

static int policy_of(pthread_t thread) {
    struct sched_param parameter;
    int policy;
    return pthread_getschedparam(thread, &policy, &parameter) ? -1 : policy;
}

static int wait_for(pthread_t thread, int policy) {
    rva_stream_statistics seen;
    for (int ms = 0; ms < LIMIT_MS; ms++, wait_ms(1)) {
        rva_stream_read(&stream, &seen);
        if (policy_of(thread) == policy && seen.is_real_time == (policy == SCHED_FIFO)) return 0;
    }
    printf("the policy is %d, not %d; the statistics say %u\n", policy_of(thread), policy, seen.is_real_time);
    return 1;
}

int main(void) {
    pthread_t own;
    if (!rva_thread_set_priority(pthread_self(), PRIORITY + 1)) return 77;
    rva_thread_set_priority(pthread_self(), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one); /* for all of them */
    const rva_config config = {.rate_hz = 16000, .channels = 1, .format = RVA_FORMAT_S16, .capacity_frames = 8, .wake_fd = -1};
    rva_chain *chain;
    if (rva_chain_open(&config, &chain)) return 1;
    rva_stream_init(&stream, chain, 16000, -1, 0);
    rva_stream_watch(&stream, 100000000);
    if (rva_watch_start(&watch, &stream, PRIORITY) || pthread_create(&own, NULL, audio_thread, NULL)) return 1;
    int failed = 0;
    for (int round = 0; round < 2 && !failed; round++) {
        atomic_store(&gives_sound, 1);
        failed = wait_for(own, SCHED_FIFO);
        atomic_store(&gives_sound, 0);
        failed = failed || wait_for(own, SCHED_OTHER);
    }
    atomic_store(&ends, 1);
    rva_watch_stop(&watch);
    pthread_join(own, NULL);
    rva_chain_close(chain);
    return failed;
}
