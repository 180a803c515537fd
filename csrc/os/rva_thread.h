/* rva_thread - threads of our own, which take no signals, and their priority. Internal. */
#ifndef RVA_THREAD_H
#define RVA_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Any thread. Blocks, for this thread and those that it creates, every signal that is not about a fault of its own code: a
 * program's handlers are not to run on an audio thread, nor to interrupt its sleep. *before is for rva_thread_allow_signals. */
void rva_thread_block_signals(sigset_t *before);

/* The same thread. What it was before. */
void rva_thread_allow_signals(const sigset_t *before);

/* Any thread. pthread_create of a thread that takes no signals; 0 or an errno. */
int rva_thread_start(pthread_t *thread, void *(*run)(void *), void *context);

/* Any thread; one system call or two. Gives a thread, which has not been joined, SCHED_FIFO with a priority; 0: takes it back.
 * Whether it has a real-time priority now: one that it had from others, and higher, it keeps. */
bool rva_thread_set_priority(pthread_t thread, uint32_t priority);

#endif
