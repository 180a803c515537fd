/* A thread that is not Python's and fires at a fixed rhythm: the stand-in for an audio thread in benches. It writes an
 * eventfd, pushes a block into a chain of the core, or calls a function (of Python, when that is the question). */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef void ticker_fire(void *context, int64_t now_ns);
typedef struct {
    pthread_t thread;
    int64_t period_ns;
    ticker_fire *fire;
    void *context;
    atomic_bool ends;
} ticker;
typedef struct {
    int fd;
    _Atomic int64_t written_ns;
} ticker_write_context;
typedef struct {
    void (*push)(void *chain, const void *block, size_t samples, int64_t end_ns);
    void *chain;
    const void *block;
    size_t samples;
} ticker_push_context;

void ticker_write(void *context, int64_t now_ns);
void ticker_push(void *context, int64_t now_ns);
ticker *ticker_start(int64_t period_ns, ticker_fire *fire, void *context);
void ticker_stop(ticker *self);

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void ticker_write(void *context, int64_t now_ns) {
    ticker_write_context *self = context;
    const uint64_t one = 1;
    atomic_store(&self->written_ns, now_ns);
    if (write(self->fd, &one, sizeof one) < 0) return; /* full: the reader has been woken already */
}

void ticker_push(void *context, int64_t now_ns) {
    const ticker_push_context *self = context;
    self->push(self->chain, self->block, self->samples, now_ns);
}

static void *run(void *argument) {
    ticker *self = argument;
    int64_t due_ns = now(), returned_ns = 0;
    while (!atomic_load(&self->ends)) {
        due_ns += self->period_ns;
        const struct timespec due = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        int64_t now_ns = now();
        /* What fell due while the call before it waited has been waiting as well: it counts from when it was due. */
        self->fire(self->context, returned_ns > due_ns ? due_ns : now_ns);
        returned_ns = now();
    }
    return NULL;
}

ticker *ticker_start(int64_t period_ns, ticker_fire *fire, void *context) {
    ticker *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->period_ns = period_ns;
    self->fire = fire;
    self->context = context;
    if (pthread_create(&self->thread, NULL, run, self)) {
        free(self);
        return NULL;
    }
    return self;
}

void ticker_stop(ticker *self) {
    atomic_store(&self->ends, true);
    pthread_join(self->thread, NULL);
    free(self);
}
