/* The least that reading a microphone costs: the default device's blocks of 10 ms, int16 mono at 48 kHz, thrown away.
 * It says when it had its first 256 ms, as footprint_child.py does. */
#include <alsa/asoundlib.h>
#include <stdio.h>
#include <stdint.h>
#include <time.h>

enum { RATE_HZ = 48000, BLOCK = 480, FIRST_BLOCKS = 26 };

static int say(const char *what, int code) {
    fprintf(stderr, "%s: %s\n", what, snd_strerror(code));
    return 1;
}

int main(void) {
    snd_pcm_t *pcm;
    int code = snd_pcm_open(&pcm, "default", SND_PCM_STREAM_CAPTURE, 0);
    if (code < 0) return say("open", code);
    snd_pcm_hw_params_t *params;
    snd_pcm_hw_params_alloca(&params);
    snd_pcm_uframes_t period = BLOCK, buffer = 10 * BLOCK;
    if ((code = snd_pcm_hw_params_any(pcm, params)) < 0 ||
        (code = snd_pcm_hw_params_set_access(pcm, params, SND_PCM_ACCESS_RW_INTERLEAVED)) < 0 ||
        (code = snd_pcm_hw_params_set_format(pcm, params, SND_PCM_FORMAT_S16_LE)) < 0 ||
        (code = snd_pcm_hw_params_set_channels(pcm, params, 1)) < 0 ||
        (code = snd_pcm_hw_params_set_rate(pcm, params, RATE_HZ, 0)) < 0 ||
        (code = snd_pcm_hw_params_set_period_size_near(pcm, params, &period, NULL)) < 0 ||
        (code = snd_pcm_hw_params_set_buffer_size_near(pcm, params, &buffer)) < 0 ||
        (code = snd_pcm_hw_params(pcm, params)) < 0)
        return say("parameters", code);
    for (long block = 0;; block++) {
        int16_t samples[BLOCK];
        snd_pcm_sframes_t got = snd_pcm_readi(pcm, samples, BLOCK);
        if (got < 0 && (code = snd_pcm_recover(pcm, (int)got, 1)) < 0) return say("read", code);
        if (block == FIRST_BLOCKS) {
            struct timespec now;
            clock_gettime(CLOCK_MONOTONIC, &now);
            double now_s = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
            printf("first frame captured at %.6f s of the monotonic clock\n", now_s);
            fflush(stdout);
        }
    }
}
