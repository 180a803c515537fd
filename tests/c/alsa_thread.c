/* The capture thread over an ALSA that is made up: it never keeps a core busy, and takes no signals.
 * Usage: alsa_thread overruns | alternates | closes | signals */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "streams/rva_alsa.h"
#include "streams/rva_alsa_library.h"

static int always_ready[2]; /* a pipe that nobody reads: its writing end is in error at once, and stays so */
static _Atomic long starts, looks;
static bool gives_sound;
static long available;
static sigset_t thread_signals;

static int f_open(snd_pcm **pcm, const char *name, int stream, int mode) {
    (void)name, (void)stream, (void)mode;
    *pcm = (snd_pcm *)always_ready;
    return 0;
}
static int f_ok(snd_pcm *pcm) { return (void)pcm, 0; }
static int f_start(snd_pcm *pcm) {
    (void)pcm;
    pthread_sigmask(SIG_SETMASK, NULL, &thread_signals);
    available = gives_sound ? 480 : 0;
    atomic_fetch_add(&starts, 1);
    return 0;
}
static int f_state(snd_pcm *pcm) { return (void)pcm, SND_STATE_XRUN; }
static snd_sframes f_avail(snd_pcm *pcm) {
    (void)pcm;
    atomic_fetch_add(&looks, 1);
    return available ? available : -EPIPE;
}
static snd_sframes f_readi(snd_pcm *pcm, void *block, snd_uframes samples) {
    (void)pcm;
    memset(block, 0, samples * 2);
    available -= (long)samples;
    return (snd_sframes)samples;
}
static int f_htimestamp(snd_pcm *pcm, snd_uframes *unread, struct timespec *stamp) {
    return (void)pcm, (void)unread, (void)stamp, -ENOSYS;
}
static int f_count(snd_pcm *pcm) { return (void)pcm, 1; }
static int f_descriptors(snd_pcm *pcm, struct pollfd *descriptors, unsigned count) {
    (void)pcm, (void)count;
    descriptors[0] = (struct pollfd){.fd = always_ready[1], .events = POLLOUT};
    return 1;
}
static int f_revents(snd_pcm *pcm, struct pollfd *descriptors, unsigned count, unsigned short *events) {
    (void)pcm, (void)count;
    *events = (unsigned short)descriptors[0].revents;
    return 0;
}
static int f_hw_malloc(snd_pcm_hw_params **params) { return *params = (void *)always_ready, 0; }
static void f_hw_free(snd_pcm_hw_params *params) { (void)params; }
static int f_hw_any(snd_pcm *pcm, snd_pcm_hw_params *params) { return (void)pcm, (void)params, 0; }
static int f_hw_set(snd_pcm *pcm, snd_pcm_hw_params *params, int value) { return (void)pcm, (void)params, (void)value, 0; }
static int f_hw_setu(snd_pcm *pcm, snd_pcm_hw_params *params, unsigned value) {
    return (void)pcm, (void)params, (void)value, 0;
}
static int f_rate(snd_pcm *pcm, snd_pcm_hw_params *params, unsigned rate_hz, int dir) {
    return (void)pcm, (void)params, (void)rate_hz, (void)dir, 0;
}
static int f_period(snd_pcm *pcm, snd_pcm_hw_params *params, snd_uframes *samples, int *dir) {
    return (void)pcm, (void)params, (void)samples, (void)dir, 0;
}
static int f_buffer(snd_pcm *pcm, snd_pcm_hw_params *params, snd_uframes *samples) {
    return (void)pcm, (void)params, (void)samples, 0;
}
static int f_sw_malloc(snd_pcm_sw_params **params) { return *params = (void *)always_ready, 0; }
static void f_sw_free(snd_pcm_sw_params *params) { (void)params; }
static int f_sw(snd_pcm *pcm, snd_pcm_sw_params *params) { return (void)pcm, (void)params, 0; }
static int f_sw_samples(snd_pcm *pcm, snd_pcm_sw_params *params, snd_uframes samples) {
    return (void)pcm, (void)params, (void)samples, 0;
}
static int f_sw_set(snd_pcm *pcm, snd_pcm_sw_params *params, int value) { return (void)pcm, (void)params, (void)value, 0; }

static const rva_alsa made_up = {
    .open = f_open,
    .close = f_ok,
    .state = f_state,
    .prepare = f_ok,
    .start = f_start,
    .drop = f_ok,
    .readi = f_readi,
    .avail = f_avail,
    .htimestamp = f_htimestamp,
    .poll_descriptors_count = f_count,
    .poll_descriptors = f_descriptors,
    .poll_descriptors_revents = f_revents,
    .hw_params_malloc = f_hw_malloc,
    .hw_params_free = f_hw_free,
    .hw_params_any = f_hw_any,
    .hw_params_set_access = f_hw_set,
    .hw_params_set_rate_resample = f_hw_setu,
    .hw_params_set_format = f_hw_set,
    .hw_params_set_channels = f_hw_setu,
    .hw_params_set_rate = f_rate,
    .hw_params_set_period_size_near = f_period,
    .hw_params_set_buffer_size_near = f_buffer,
    .hw_params = f_hw_any,
    .sw_params_malloc = f_sw_malloc,
    .sw_params_free = f_sw_free,
    .sw_params_current = f_sw,
    .sw_params_set_avail_min = f_sw_samples,
    .sw_params_set_tstamp_mode = f_sw_set,
    .sw_params_set_tstamp_type = f_sw_set,
    .sw_params = f_sw,
};

static void wait_ms(int ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL); }

static int fail(const char *what) {
    printf("%s: %ld starts, %ld looks\n", what, atomic_load(&starts), atomic_load(&looks));
    return 1;
}

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "";
    if (pipe(always_ready)) return 1;
    close(always_ready[0]);
    signal(SIGPIPE, SIG_IGN);
    gives_sound = !strcmp(what, "alternates");
    const rva_config config = {.rate_hz = 48000, .channels = 1, .format = RVA_FORMAT_S16, .capacity_frames = 8, .wake_fd = -1};
    const rva_alsa_config device = {.pcm = "made up",
                                    .rate_hz = 48000,
                                    .channels = 1,
                                    .format = RVA_FORMAT_S16,
                                    .block_samples = 480,
                                    .buffer_samples = 4800,
                                    .wake_fd = -1};
    rva_chain *chain;
    rva_alsa_stream *stream;
    rva_stream_statistics seen;
    if (rva_chain_open(&config, &chain) || rva_alsa_open(&made_up, chain, &device, &stream) || rva_alsa_start(stream))
        return fail("it cannot be opened");
    if (!strcmp(what, "overruns")) { /* it is given up, and looks no more often than it restarts */
        do {
            wait_ms(10);
            rva_alsa_statistics(stream, &seen);
            if (atomic_load(&looks) > 400) return fail("the thread spins");
        } while (!seen.has_finished);
        if (seen.finish_code != -EIO) return fail("it ended for another reason");
    } else if (gives_sound) { /* however often it overruns: sound comes, so it goes on */
        do {
            wait_ms(1);
            rva_alsa_statistics(stream, &seen);
            if (seen.has_finished) return fail("a device that gives sound was given up");
        } while (atomic_load(&starts) < 300);
        if (seen.overruns + 2 < seen.blocks) return fail("an overrun was not told");
    } else if (!strcmp(what, "closes")) { /* in the middle of its longest rests */
        while (atomic_load(&starts) < 12) wait_ms(1);
    } else { /* "signals" */
        while (!atomic_load(&starts)) wait_ms(1);
        for (int number = 1; number < 32; number++) {
            const bool is_fault = number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL ||
                                  number == SIGTRAP || number == SIGSYS || number == SIGABRT;
            const bool cannot_be = number == SIGKILL || number == SIGSTOP;
            if (!cannot_be && sigismember(&thread_signals, number) == is_fault) return printf("signal %d ", number), fail("signals");
        }
        sigset_t own;
        pthread_sigmask(SIG_SETMASK, NULL, &own);
        if (sigismember(&own, SIGINT)) return fail("the opening thread's signals stayed blocked");
    }
    rva_alsa_close(stream, &seen);
    rva_chain_close(chain);
    return 0;
}
