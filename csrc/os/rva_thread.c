/* rva_thread - threads that take no signals, and their priority (rva_thread.h). */
#include "os/rva_thread.h"

#include <sched.h>

void rva_thread_block_signals(sigset_t *before) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

void rva_thread_allow_signals(const sigset_t *before) { pthread_sigmask(SIG_SETMASK, before, NULL); }

int rva_thread_start(pthread_t *thread, void *(*run)(void *), void *context) {
    sigset_t before;
    rva_thread_block_signals(&before);
    const int code = pthread_create(thread, NULL, run, context);
    rva_thread_allow_signals(&before);
    return code;
}

bool rva_thread_set_priority(pthread_t thread, uint32_t priority) {
    struct sched_param parameter = {0};
    int policy = SCHED_OTHER;
    if (priority && pthread_getschedparam(thread, &policy, &parameter) == 0 && policy != SCHED_OTHER &&
        parameter.sched_priority >= (int)priority)
        return true;
    parameter.sched_priority = (int)priority;
    return pthread_setschedparam(thread, priority ? SCHED_FIFO : SCHED_OTHER, &parameter) == 0 && priority;
}
