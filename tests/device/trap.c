/* Counts the allocations and locks of the audio thread inside our callback, on a real PortAudio stream.
 *
 * Preloaded into a process, and given to the core as the library to look PortAudio up in: its Pa_OpenStream puts a wrapper
 * around the callback, which arms the trap on that thread for as long as the callback runs; everything else of PortAudio
 * is found behind it. trap_counts() tells what was caught, and trap_springs() that the trap works.
 */
#include <dlfcn.h>
#include <portaudio.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static _Thread_local bool is_armed;
static _Atomic long callbacks, allocations, locks;
static PaStreamCallback *wrapped;

static void allocated(void) {
    if (is_armed) atomic_fetch_add(&allocations, 1);
}

void *malloc(size_t size) {
    allocated();
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    allocated();
    return __libc_calloc(count, size);
}
void *realloc(void *block, size_t size) {
    allocated();
    return __libc_realloc(block, size);
}
void free(void *block) {
    allocated();
    __libc_free(block);
}
void *aligned_alloc(size_t alignment, size_t size) {
    allocated();
    return __libc_memalign(alignment, size);
}
int posix_memalign(void **block, size_t alignment, size_t size) {
    allocated();
    *block = __libc_memalign(alignment, size);
    return *block ? 0 : 12;
}

#define LOCK(name, type)                                                                                              \
    int name(type *lock) {                                                                                            \
        static int (*next)(type *);                                                                                   \
        if (is_armed) atomic_fetch_add(&locks, 1);                                                                    \
        if (!next) *(void **)&next = dlsym(RTLD_NEXT, #name);                                                         \
        return next(lock);                                                                                            \
    }
LOCK(pthread_mutex_lock, pthread_mutex_t)
LOCK(pthread_mutex_trylock, pthread_mutex_t)
LOCK(pthread_mutex_unlock, pthread_mutex_t)
LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)
LOCK(pthread_spin_lock, pthread_spinlock_t)
LOCK(pthread_cond_signal, pthread_cond_t)
LOCK(pthread_cond_broadcast, pthread_cond_t)
LOCK(sem_wait, sem_t)
LOCK(sem_post, sem_t)

static int trapped(const void *input, void *output, unsigned long pa_frames, const PaStreamCallbackTimeInfo *time,
                   PaStreamCallbackFlags flags, void *context) {
    is_armed = true;
    int result = wrapped(input, output, pa_frames, time, flags, context);
    is_armed = false;
    atomic_fetch_add(&callbacks, 1);
    return result;
}

PaError Pa_OpenStream(PaStream **stream, const PaStreamParameters *input, const PaStreamParameters *output, double rate_hz,
                      unsigned long pa_frames, PaStreamFlags flags, PaStreamCallback *callback, void *context) {
    PaError (*next)(PaStream **, const PaStreamParameters *, const PaStreamParameters *, double, unsigned long, PaStreamFlags,
                    PaStreamCallback *, void *);
    *(void **)&next = dlsym(RTLD_NEXT, "Pa_OpenStream");
    wrapped = callback;
    return next(stream, input, output, rate_hz, pa_frames, flags, trapped, context);
}

void trap_counts(long counts[3]) {
    counts[0] = callbacks;
    counts[1] = allocations;
    counts[2] = locks;
}

/* How many of these two are caught on this thread while it is armed: 2 of allocations, 2 of locks. */
void trap_springs(long counts[2]) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    long before[3], after[3];
    trap_counts(before);
    is_armed = true;
    void *volatile block = malloc(1);
    free(block);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    is_armed = false;
    trap_counts(after);
    counts[0] = after[1] - before[1];
    counts[1] = after[2] - before[2];
    atomic_fetch_sub(&allocations, counts[0]);
    atomic_fetch_sub(&locks, counts[1]);
}
