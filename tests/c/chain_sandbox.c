/* The whole chain on a thread that the kernel kills for any system call but write() to the wake-up. Proves the mark
 * "real-time safe": no allocation that reaches the system, no lock that waits, no file, no clock but the vDSO's.
 * Usage: chain_sandbox; prints what it pushed. A second run with an argument allocates in the sandbox and must be killed. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/rva.h"
#include "voice/rva_echo.h"
#include "voice/rva_vad.h"

static rva_chain *chain;
static rva_vad vad;
static rva_echo *echo;
static int wake_fd;
static bool misbehave;
static unsigned char block[4096 * 4]; /* longer than the canceller's history */

static void enter_sandbox(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit, 3, 0), /* how the thread ends */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_write, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)wake_fd, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) abort();
}

static void *audio_thread(void *unused) {
    (void)unused;
    enter_sandbox();
    if (misbehave) {
        void *volatile lump = malloc(64 << 20);
        memset(lump, 1, 1);
    }
    for (int n = 0; n < 20000; n++) {
        if (n % 5 == 0) rva_chain_request_flush(chain);
        if (n % 5 == 3) rva_chain_flush_at(chain, (uint64_t)n * 100);
        if (n % 9 == 0) rva_chain_note_loss(chain, (uint64_t)n);
        rva_chain_push(chain, block, (size_t)(n * 37 % 1024), rva_now_ns());
        if (n % 3 == 0 && rva_chain_peek(chain)) rva_chain_advance(chain);
        unsigned char decisions[8];
        rva_vad_feed(&vad, block, (size_t)(n * 37 % 1024), decisions);
        unsigned char clean[2 * 2 * RVA_ECHO_BLOCK];
        rva_echo_statistics echo_statistics;
        rva_echo_process(echo, block + n % 256, block, clean, n % 3 ? RVA_ECHO_BLOCK : 2 * RVA_ECHO_BLOCK);
        if (n % 1000 == 99) rva_echo_move(echo, n % 64 - 32, block);
        if (n % 5000 == 99) rva_echo_restart(echo);
        rva_echo_statistics_of(echo, &echo_statistics);
    }
    rva_chain_finish(chain);
    syscall(__NR_exit, 0); /* not pthread_exit, which cleans up with calls of its own */
    return NULL;
}

int main(int argc, char **argv) {
    (void)argv;
    misbehave = argc > 1;
    wake_fd = eventfd(0, EFD_NONBLOCK);
    for (size_t i = 0; i < sizeof block; i++) block[i] = (unsigned char)(i * 7919 >> 3);
    rva_config config = {.rate_hz = 48000, .channels = 2, .format = RVA_FORMAT_S16, .capacity_frames = 8, .wake_fd = wake_fd};
    const size_t bytes = (rva_echo_bytes() + RVA_ECHO_ALIGN - 1) / RVA_ECHO_ALIGN * RVA_ECHO_ALIGN;
    echo = aligned_alloc(RVA_ECHO_ALIGN, bytes);
    if (!echo || rva_echo_open(echo, bytes, RVA_ECHO_SUPPRESS)) return 2;
    if (rva_chain_open(&config, &chain) || rva_vad_open(&vad, -34, 9, 3)) return 2;
    pthread_t thread;
    if (pthread_create(&thread, NULL, audio_thread, NULL)) return 2;
    pthread_join(thread, NULL);
    rva_statistics statistics;
    rva_chain_statistics(chain, &statistics);
    printf("frames %llu wake failures %llu\n", (unsigned long long)statistics.finished_frames,
           (unsigned long long)statistics.wake_failures);
    return statistics.finished_frames > 100 && !statistics.wake_failures ? 0 : 1;
}
