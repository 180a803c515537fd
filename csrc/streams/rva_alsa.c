/* rva_alsa - the capture thread over ALSA (rva_alsa.h). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "streams/rva_alsa.h"
#include "streams/rva_alsa_library.h"
#include "os/rva_thread.h"

#ifndef ESTRPIPE /* Linux's; this unit is compiled on macOS too, where there is no libasound to give it */
#define ESTRPIPE 86
#endif

/* Longest sleep, unless a block is longer: an unplug without an event can stay unnoticed for so long. */
enum { SLEEP_NS = 30000000 };
/* Between two looks at a device that does not have yet what should be there by the clock. */
enum { RETRY_NS = 500000, RETRY_SHARE = 8 };
/* Wake-ups in a row that brought neither sound nor an error, and restarts in a row that brought no sound, before the device
 * counts as broken: it would keep a core busy for ever. */
enum { USELESS_MAX = 1000, RESTARTS_MAX = 100 };
enum { DESCRIPTORS_MAX = 16 };

struct rva_alsa_stream {
    rva_stream base;
    const rva_alsa *alsa;
    snd_pcm *pcm;
    pthread_t thread;
    bool has_thread;
    int call_pipe[2];        /* a byte makes the thread look at once */
    _Atomic bool is_closing; /* the end of the pipe would not say: a forked process holds a copy of it */
    uint32_t block_samples, stride_bytes;
    uint32_t sleep_samples; /* whole blocks */
    snd_uframes seen;       /* available and unread, at the newest look */
    int64_t moved_ns;       /* when there was last more of it */
    int64_t restarted_ns;   /* when it was last made to run again */
    int restarts;           /* since there was last sound */
    uint32_t priority;
    bool has_24_in_32; /* opened as RVA_FORMAT_S32, which it has only with 24 bits in the lower three bytes */
    unsigned char *block;
    struct pollfd descriptors[DESCRIPTORS_MAX + 1]; /* the device's, then the call pipe's */
    unsigned descriptor_count;
};

/* How much sound may gather before the thread looks: whole blocks, one at least. */
static uint32_t sleep_samples(uint32_t rate_hz, uint32_t block_samples) {
    const uint32_t blocks = (uint32_t)((double)rate_hz * SLEEP_NS * 1e-9 / block_samples + 0.01);
    return (blocks ? blocks : 1) * block_samples;
}

/* Rate, channels, format and sizes, as near to those asked for as the device has them; or which of them the device does not have. */
static int set_hardware(const rva_alsa *alsa, snd_pcm *pcm, const rva_alsa_config *config, snd_uframes *period,
                        snd_uframes *buffer, bool *has_24_in_32) {
    snd_pcm_hw_params *params;
    int code = alsa->hw_params_malloc(&params);
    if (code < 0) return RVA_ERROR_SYSTEM + code;
    code = alsa->hw_params_any(pcm, params);
    int refused = RVA_ERROR_SYSTEM + code;
    if (code >= 0) code = alsa->hw_params_set_access(pcm, params, SND_ACCESS_RW_INTERLEAVED);
    if (code >= 0) {
        alsa->hw_params_set_rate_resample(pcm, params, 0); /* ALSA's own resampler is not to stand in for the device */
        code = alsa->hw_params_set_format(pcm, params, rva_alsa_format(config->format));
        *has_24_in_32 = code < 0 && config->format == RVA_FORMAT_S32;
        if (*has_24_in_32) code = alsa->hw_params_set_format(pcm, params, rva_alsa_format_24_in_32());
        refused = RVA_ERROR_FORMAT;
    }
    if (code >= 0) {
        code = alsa->hw_params_set_channels(pcm, params, config->channels);
        refused = RVA_ERROR_CHANNELS;
    }
    if (code >= 0) {
        code = alsa->hw_params_set_rate(pcm, params, config->rate_hz, 0);
        refused = RVA_ERROR_RATE;
    }
    if (code >= 0) {
        alsa->hw_params_set_period_size_near(pcm, params, period, NULL);
        *buffer += sleep_samples(config->rate_hz, (uint32_t)*period);
        alsa->hw_params_set_buffer_size_near(pcm, params, buffer);
        code = alsa->hw_params(pcm, params);
        refused = RVA_ERROR_SYSTEM + code;
    }
    alsa->hw_params_free(params);
    return code < 0 ? refused : RVA_OK;
}

/* Wake nobody for sound, and stamp it with the clock that the core uses. */
static int set_software(const rva_alsa *alsa, snd_pcm *pcm, snd_uframes buffer) {
    snd_pcm_sw_params *params;
    int code = alsa->sw_params_malloc(&params);
    if (code < 0) return RVA_ERROR_SYSTEM + code;
    code = alsa->sw_params_current(pcm, params);
    if (code >= 0) code = alsa->sw_params_set_avail_min(pcm, params, buffer);
    if (code >= 0) {
        /* Where these fail, the capture times are not believable, and rva_stream takes the time of arrival. */
        alsa->sw_params_set_tstamp_mode(pcm, params, SND_TSTAMP_ENABLE);
        alsa->sw_params_set_tstamp_type(pcm, params, SND_TSTAMP_TYPE_MONOTONIC);
        code = alsa->sw_params(pcm, params);
    }
    alsa->sw_params_free(params);
    return code < 0 ? RVA_ERROR_SYSTEM + code : RVA_OK;
}

static void release(rva_alsa_stream *stream) {
    for (int end = 0; end < 2; end++)
        if (stream->call_pipe[end] >= 0) close(stream->call_pipe[end]);
    if (stream->pcm) stream->alsa->close(stream->pcm);
    free(stream->block);
    free(stream);
}

int rva_alsa_open(const rva_alsa *alsa, rva_chain *chain, const rva_alsa_config *config, rva_alsa_stream **out) {
    static const uint32_t sample_bytes[] = {0, 2, 3, 4, 4, 1};
    *out = NULL;
    if (config->format < RVA_FORMAT_S16 || config->format > RVA_FORMAT_U8) return RVA_ERROR_FORMAT;
    if (config->channels < 1 || config->channels > RVA_CHANNELS_MAX) return RVA_ERROR_CHANNELS;
    rva_alsa_stream *stream = calloc(1, sizeof *stream);
    if (!stream) return RVA_ERROR_MEMORY;
    stream->alsa = alsa;
    stream->priority = config->priority;
    stream->call_pipe[0] = stream->call_pipe[1] = -1;
    snd_uframes period = config->block_samples, buffer = config->buffer_samples;
    rva_stream_init(&stream->base, chain, config->rate_hz, config->wake_fd, config->resume_ns);
    int code = alsa->open(&stream->pcm, config->pcm, SND_STREAM_CAPTURE, SND_NONBLOCK);
    if (code < 0) {
        stream->pcm = NULL;
        code = RVA_ERROR_SYSTEM + code;
    } else {
        code = set_hardware(alsa, stream->pcm, config, &period, &buffer, &stream->has_24_in_32);
    }
    if (code == RVA_OK) code = set_software(alsa, stream->pcm, buffer);
    if (code == RVA_OK && pipe(stream->call_pipe)) code = RVA_ERROR_SYSTEM - errno;
    for (int end = 0; code == RVA_OK && end < 2; end++) {
        fcntl(stream->call_pipe[end], F_SETFD, FD_CLOEXEC);
        fcntl(stream->call_pipe[end], F_SETFL, O_NONBLOCK);
    }
    if (code == RVA_OK) {
        stream->block_samples = (uint32_t)period;
        stream->sleep_samples = sleep_samples(config->rate_hz, stream->block_samples);
        while (stream->sleep_samples > period && 2 * stream->sleep_samples > buffer) stream->sleep_samples -= period;
        stream->stride_bytes = sample_bytes[config->format] * config->channels;
        stream->block = malloc((size_t)stream->block_samples * stream->stride_bytes);
        if (stream->block) rva_rt_touch(stream->block, (size_t)stream->block_samples * stream->stride_bytes);
        int count = alsa->poll_descriptors_count(stream->pcm);
        if (!stream->block) code = RVA_ERROR_MEMORY;
        else if (count < 1 || count > DESCRIPTORS_MAX) code = RVA_ERROR_SYSTEM - EINVAL;
        else {
            alsa->poll_descriptors(stream->pcm, stream->descriptors, (unsigned)count);
            /* Errors always count; that there is sound need not be reported. */
            for (int i = 0; i < count; i++) stream->descriptors[i].events = 0;
            stream->descriptors[count] = (struct pollfd){.fd = stream->call_pipe[0], .events = POLLIN};
            stream->descriptor_count = (unsigned)count;
        }
    }
    if (code != RVA_OK) {
        release(stream);
        return code;
    }
    *out = stream;
    return RVA_OK;
}

/* How long the device is still left alone before it is made to run again: longer each time that no sound came of it. Without
 * this a device that overruns at each look has a core for itself, at real-time priority. */
static int64_t rest_ns(const rva_alsa_stream *stream, int64_t now_ns) {
    const int doublings = stream->restarts < 6 ? stream->restarts : 6;
    const int64_t rest_ns = (int64_t)RETRY_NS << doublings, left_ns = stream->restarted_ns + rest_ns - now_ns;
    return !stream->restarted_ns || left_ns < 0 ? 0 : left_ns;
}

/* After an overrun or a suspend: get the device to run again. 0, or a negative errno when that is not possible. */
static int restart(rva_alsa_stream *stream, int reason) {
    const rva_alsa *alsa = stream->alsa;
    if (++stream->restarts > RESTARTS_MAX) return -EIO;
    stream->restarted_ns = rva_clock_ns();
    if (reason == -ESTRPIPE && alsa->resume(stream->pcm) == 0) return 0;
    int code = alsa->prepare(stream->pcm);
    return code < 0 ? code : alsa->start(stream->pcm);
}

/* Seconds since the last sample that has been read was at the microphone. */
RVA_REALTIME static double age_of_newest_s(const rva_alsa_stream *stream, int64_t now_ns) {
    snd_uframes unread;
    struct timespec stamp;
    if (stream->alsa->htimestamp(stream->pcm, &unread, &stamp) < 0) return -1.0; /* not believable */
    int64_t stamp_ns = (int64_t)stamp.tv_sec * 1000000000 + stamp.tv_nsec;
    return (double)(now_ns - stamp_ns) * 1e-9 + (double)unread / stream->base.rate_hz;
}

/* 24 bits in the lower three bytes become 32, full scale staying full scale. The highest byte may hold anything. */
RVA_REALTIME static void widen(void *block, size_t values) {
    uint32_t *value = block;
    for (size_t i = 0; i < values; i++) {
        const uint32_t low = value[i] & 0xffffff;
        value[i] = low << 8 | (low == 0x7fffff ? 0xff : 0);
    }
}

/* Reads the whole blocks that are there, and what is less than one where that completes a frame: somebody waits for it.
 * How many it was, or a negative errno. */
RVA_REALTIME static int read_blocks(rva_alsa_stream *stream, bool *has_overrun) {
    snd_sframes there = stream->alsa->avail(stream->pcm);
    if (there < 0) return (int)there;
    if ((snd_uframes)there > stream->seen) stream->moved_ns = rva_clock_ns();
    int blocks = 0;
    while (there >= (snd_sframes)stream->block_samples ||
           (there && (uint64_t)there >= rva_chain_due_samples(stream->base.chain))) {
        const snd_uframes wanted = there < (snd_sframes)stream->block_samples ? (snd_uframes)there : stream->block_samples;
        snd_sframes got = stream->alsa->readi(stream->pcm, stream->block, wanted);
        if (got == 0 || got == -EAGAIN) break;
        if (got < 0) return (int)got;
        if (stream->has_24_in_32) widen(stream->block, (size_t)got * (stream->stride_bytes / 4));
        int64_t now_ns = rva_clock_ns();
        rva_stream_block(&stream->base, stream->block, (size_t)got, now_ns, age_of_newest_s(stream, now_ns), *has_overrun);
        *has_overrun = false;
        there -= got;
        blocks++;
    }
    stream->seen = (snd_uframes)there;
    return blocks;
}

/* How long there is nothing to do: until a frame is complete, or the device's buffer is to be emptied. */
RVA_REALTIME static int64_t sleep_ns(const rva_alsa_stream *stream, int64_t now_ns) {
    const uint64_t due = rva_chain_due_samples(stream->base.chain);
    const uint64_t samples = due < stream->sleep_samples ? due : stream->sleep_samples;
    const int64_t captured_ns = atomic_load_explicit(&stream->base.captured_ns, memory_order_relaxed);
    /* Before the first block nothing is known; one sample more, as clocks are read in whole ones. */
    const int64_t from_ns = captured_ns ? captured_ns : now_ns;
    const int64_t sleep_ns = from_ns + (int64_t)((double)(samples + 1) * 1e9 / stream->base.rate_hz) - now_ns;
    /* A device may report its sound less often than it has some, or have stalled: look less and less often. */
    const int64_t still_ns = (now_ns - stream->moved_ns) / RETRY_SHARE;
    const int64_t retry_ns = still_ns < RETRY_NS ? RETRY_NS : still_ns < SLEEP_NS ? still_ns : SLEEP_NS;
    return sleep_ns > retry_ns ? sleep_ns : retry_ns;
}

/* poll() in ns. */
static int wait_for(struct pollfd *descriptors, unsigned count, int64_t limit_ns) {
#ifdef __linux__
    const struct timespec limit = {.tv_sec = limit_ns / 1000000000, .tv_nsec = limit_ns % 1000000000};
    return ppoll(descriptors, count, &limit, NULL);
#else
    return poll(descriptors, count, (int)(limit_ns / 1000000) + 1);
#endif
}

/* The stream is being closed. Empties the pipe that called. */
static bool is_called_to_end(rva_alsa_stream *stream) {
    char calls[64];
    while (read(stream->call_pipe[0], calls, sizeof calls) == (ssize_t)sizeof calls) continue;
    return atomic_load_explicit(&stream->is_closing, memory_order_acquire);
}

/* Sleeps until the device may be made to run again; false when the stream is being closed. */
static bool rest(rva_alsa_stream *stream) {
    for (;;) {
        const int64_t now_ns = rva_clock_ns(), left_ns = rest_ns(stream, now_ns);
        if (!left_ns) return true;
        const int64_t watch_ns = rva_stream_look(&stream->base, now_ns);
        struct pollfd call = {.fd = stream->call_pipe[0], .events = POLLIN};
        if (wait_for(&call, 1, left_ns < watch_ns ? left_ns : watch_ns) > 0 && is_called_to_end(stream)) return false;
    }
}

/* What the device's state says when an event brought no sound: 0 or a negative errno. */
static int cause_of_event(const rva_alsa_stream *stream) {
    switch (stream->alsa->state(stream->pcm)) {
    case SND_STATE_XRUN: return -EPIPE;
    case SND_STATE_SUSPENDED: return -ESTRPIPE;
    case SND_STATE_DISCONNECTED: return -ENODEV;
    default: return 0;
    }
}

static void take_priority(rva_alsa_stream *stream) {
    const bool is_real_time = stream->priority && rva_thread_set_priority(pthread_self(), stream->priority);
    atomic_store_explicit(&stream->base.is_real_time, is_real_time, memory_order_relaxed);
}

static void *run(void *context) {
    rva_alsa_stream *stream = context;
    const struct pollfd *call = &stream->descriptors[stream->descriptor_count];
    bool has_overrun = false;
    take_priority(stream);
    int code = stream->alsa->start(stream->pcm);
    stream->moved_ns = rva_clock_ns();
    for (int useless = 0; code >= 0;) {
        int64_t now_ns = rva_clock_ns(), watch_ns = rva_stream_look(&stream->base, now_ns), limit_ns = sleep_ns(stream, now_ns);
        int events = wait_for(stream->descriptors, stream->descriptor_count + 1, limit_ns < watch_ns ? limit_ns : watch_ns);
        if (events < 0 && errno != EINTR) code = -errno;
        if (events > 0 && call->revents) {
            if (is_called_to_end(stream)) return NULL;
            events--;
        }
        unsigned short happened = 0;
        if (events > 0) /* plugins make of their descriptors' events what they mean */
            stream->alsa->poll_descriptors_revents(stream->pcm, stream->descriptors, stream->descriptor_count, &happened);
        if (code >= 0) code = read_blocks(stream, &has_overrun);
        if (code > 0) stream->restarts = 0;
        useless = code > 0 || events <= 0 ? 0 : useless + 1;
        if (code == 0 && happened & (POLLERR | POLLHUP | POLLNVAL)) code = cause_of_event(stream);
        if (code == 0 && useless > USELESS_MAX) code = -EIO;
        if (code == -EPIPE || code == -ESTRPIPE) {
            has_overrun = true;
            stream->seen = 0;
            if (!rest(stream)) return NULL;
            code = restart(stream, code);
        }
    }
    rva_stream_finish(&stream->base, code);
    return NULL;
}

double rva_alsa_latency_s(const rva_alsa_stream *stream) { return stream->block_samples / stream->base.rate_hz; }

int rva_alsa_start(rva_alsa_stream *stream) {
    int code = rva_thread_start(&stream->thread, run, stream);
    stream->has_thread = code == 0;
    return code ? RVA_ERROR_SYSTEM - code : RVA_OK;
}

static void wake_thread(const rva_alsa_stream *stream) {
    if (write(stream->call_pipe[1], "", 1) < 0) return; /* it has been called so often already that it will look */
}

void rva_alsa_hurry(const rva_alsa_stream *stream) {
    /* What is further ahead than two sleeps is heard of in time, whatever the thread is at. */
    const double far_samples = 2.0 * stream->sleep_samples * RVA_RATE_HZ / stream->base.rate_hz;
    if ((double)rva_chain_flush_in_samples(stream->base.chain) <= far_samples) wake_thread(stream);
}

void rva_alsa_watch(rva_alsa_stream *stream, int64_t stall_ns) { rva_stream_watch(&stream->base, stall_ns); }

void rva_alsa_close(rva_alsa_stream *stream, rva_stream_statistics *last) {
    atomic_store_explicit(&stream->is_closing, true, memory_order_release);
    wake_thread(stream);
    if (stream->has_thread) pthread_join(stream->thread, NULL);
    rva_stream_read(&stream->base, last);
    stream->alsa->drop(stream->pcm);
    release(stream);
}

void rva_alsa_statistics(const rva_alsa_stream *stream, rva_stream_statistics *statistics) {
    rva_stream_read(&stream->base, statistics);
}
