/* Helpers that the real-time core shares: annotations, cache lines, the monotonic clock. Internal. */
#ifndef RVA_RT_H
#define RVA_RT_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Marks a function that runs on the audio thread: it neither allocates, locks, nor makes a system call, and the
 * time it takes depends on the amount of sound only, never on its content. tests/c proves the mark. */
#define RVA_REALTIME

/* Of these, what nearly every callback runs: such linkers as know the section lay it side by side. A callback finds the TLB cold,
 * and each page more that it runs through costs it as much as several lines of code. */
#if defined(__ELF__)
#define RVA_CALLBACK RVA_REALTIME __attribute__((section(".text.hot.rva_callback")))
#else
#define RVA_CALLBACK RVA_REALTIME
#endif

/* Two lines, as adjacent-line prefetchers pull pairs; 64-byte lines everywhere that we run, 128 on Apple's arm64. */
#define RVA_CACHE_LINE 128
#define RVA_PCM_ALIGN 64

/* Of the bytes of a number, or of the numbers of a word. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define RVA_FIRST_IS_HIGHEST 1
#else
#define RVA_FIRST_IS_HIGHEST 0
#endif

/* A size for aligned_alloc: the next multiple of the alignment. */
static inline size_t rva_rt_whole_lines(size_t bytes) {
    return (bytes + RVA_CACHE_LINE - 1) / RVA_CACHE_LINE * RVA_CACHE_LINE;
}

/* Touches memory that has been allocated, so that the audio thread takes no page fault on it: calloc and malloc of much give
 * pages that do not exist before they are used. */
static inline void rva_rt_touch(void *memory, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 1024) ((volatile unsigned char *)memory)[at] = 0;
    if (bytes) ((volatile unsigned char *)memory)[bytes - 1] = 0;
}

/* The clock of Python's time.monotonic(), which the other half of each comparison comes from. On macOS that one stands still
 * while the machine sleeps, and CLOCK_MONOTONIC does not (clock_gettime(3) of macOS). */
#ifdef __APPLE__
#define RVA_CLOCK CLOCK_UPTIME_RAW
#else
#define RVA_CLOCK CLOCK_MONOTONIC
#endif

/* Its nanoseconds: the vDSO answers, without a system call. */
static inline int64_t rva_clock_ns(void) {
    struct timespec now;
    clock_gettime(RVA_CLOCK, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
