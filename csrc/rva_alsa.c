/* rva_alsa - the capture thread over ALSA (rva_alsa.h). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "rva_alsa.h"
#include "rva_alsa_library.h"

/* Between two looks at a device that sends no event, in ms: so long can an unplug without one stay unnoticed. */
enum { LOOK_MS = 50 };
/* Wake-ups in a row that brought neither sound nor an error, before the device counts as broken: it would keep a core
 * busy for ever. */
enum { USELESS_MAX = 1000 };
enum { DESCRIPTORS_MAX = 16 };

struct rva_alsa_stream {
    rva_stream base;
    const rva_alsa *alsa;
    snd_pcm *pcm;
    pthread_t thread;
    bool has_thread;
    int stop_pipe[2]; /* closing the second end stops the thread */
    uint32_t block_samples, stride_bytes;
    uint32_t priority;
    bool has_24_in_32; /* opened as RVA_FORMAT_S32, which it has only with 24 bits in the lower three bytes */
    unsigned char *block;
    struct pollfd descriptors[DESCRIPTORS_MAX + 1]; /* the device's, then the stop pipe's */
    unsigned descriptor_count;
};

/* Rate, channels, format and sizes; or which of them the device does not have. */
static int set_hardware(const rva_alsa *alsa, snd_pcm *pcm, const rva_alsa_config *config, uint32_t *block_samples,
                        bool *has_24_in_32) {
    snd_pcm_hw_params *params;
    snd_uframes period = config->block_samples, buffer = config->buffer_samples;
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
        alsa->hw_params_set_period_size_near(pcm, params, &period, NULL);
        alsa->hw_params_set_buffer_size_near(pcm, params, &buffer);
        code = alsa->hw_params(pcm, params);
        refused = RVA_ERROR_SYSTEM + code;
    }
    alsa->hw_params_free(params);
    *block_samples = (uint32_t)period;
    return code < 0 ? refused : RVA_OK;
}

/* Wake us once for each block, and stamp it with the clock that the core uses. */
static int set_software(const rva_alsa *alsa, snd_pcm *pcm, uint32_t block_samples) {
    snd_pcm_sw_params *params;
    int code = alsa->sw_params_malloc(&params);
    if (code < 0) return RVA_ERROR_SYSTEM + code;
    code = alsa->sw_params_current(pcm, params);
    if (code >= 0) code = alsa->sw_params_set_avail_min(pcm, params, block_samples);
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
        if (stream->stop_pipe[end] >= 0) close(stream->stop_pipe[end]);
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
    stream->stop_pipe[0] = stream->stop_pipe[1] = -1;
    rva_stream_init(&stream->base, chain, config->rate_hz, config->wake_fd, config->resume_ns);
    int code = alsa->open(&stream->pcm, config->pcm, SND_STREAM_CAPTURE, SND_NONBLOCK);
    if (code < 0) {
        stream->pcm = NULL;
        code = RVA_ERROR_SYSTEM + code;
    } else {
        code = set_hardware(alsa, stream->pcm, config, &stream->block_samples, &stream->has_24_in_32);
    }
    if (code == RVA_OK) code = set_software(alsa, stream->pcm, stream->block_samples);
    if (code == RVA_OK && pipe(stream->stop_pipe)) code = RVA_ERROR_SYSTEM - errno;
    for (int end = 0; code == RVA_OK && end < 2; end++) fcntl(stream->stop_pipe[end], F_SETFD, FD_CLOEXEC);
    if (code == RVA_OK) {
        stream->stride_bytes = sample_bytes[config->format] * config->channels;
        stream->block = malloc((size_t)stream->block_samples * stream->stride_bytes);
        int count = alsa->poll_descriptors_count(stream->pcm);
        if (!stream->block) code = RVA_ERROR_MEMORY;
        else if (count < 1 || count > DESCRIPTORS_MAX) code = RVA_ERROR_SYSTEM - EINVAL;
        else {
            alsa->poll_descriptors(stream->pcm, stream->descriptors, (unsigned)count);
            stream->descriptors[count] = (struct pollfd){.fd = stream->stop_pipe[0], .events = POLLIN};
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

/* After an overrun or a suspend: get the device to run again. 0, or a negative errno when that is not possible. */
static int restart(rva_alsa_stream *stream, int reason) {
    const rva_alsa *alsa = stream->alsa;
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

/* Reads all whole blocks that are there. How many, or a negative errno. */
RVA_REALTIME static int read_blocks(rva_alsa_stream *stream, bool *has_overrun) {
    for (int blocks = 0;; blocks++) {
        snd_sframes there = stream->alsa->avail(stream->pcm);
        if (there < 0) return (int)there;
        if (there < (snd_sframes)stream->block_samples) return blocks;
        snd_sframes got = stream->alsa->readi(stream->pcm, stream->block, stream->block_samples);
        if (got == -EAGAIN) return blocks;
        if (got < 0) return (int)got;
        if (stream->has_24_in_32) widen(stream->block, (size_t)got * (stream->stride_bytes / 4));
        int64_t now_ns = rva_clock_ns();
        rva_stream_block(&stream->base, stream->block, (size_t)got, now_ns, age_of_newest_s(stream, now_ns), *has_overrun);
        *has_overrun = false;
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
    struct sched_param parameter = {.sched_priority = (int)stream->priority};
    bool is_real_time = stream->priority && pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameter) == 0;
    atomic_store_explicit(&stream->base.is_real_time, is_real_time, memory_order_relaxed);
}

static void *run(void *context) {
    rva_alsa_stream *stream = context;
    struct pollfd *stop = &stream->descriptors[stream->descriptor_count];
    bool has_overrun = false;
    take_priority(stream);
    int code = stream->alsa->start(stream->pcm);
    for (int useless = 0; code >= 0;) {
        int events = poll(stream->descriptors, stream->descriptor_count + 1, LOOK_MS);
        if (events < 0 && errno != EINTR) code = -errno;
        if (stop->revents) return NULL;
        unsigned short happened = 0;
        if (events > 0) /* plugins learn here that their descriptors were ready */
            stream->alsa->poll_descriptors_revents(stream->pcm, stream->descriptors, stream->descriptor_count, &happened);
        if (code >= 0) code = read_blocks(stream, &has_overrun);
        useless = code > 0 || events == 0 ? 0 : useless + 1;
        if (code == 0 && happened & (POLLERR | POLLHUP | POLLNVAL)) code = cause_of_event(stream);
        if (code == 0 && useless > USELESS_MAX) code = -EIO;
        if (code == -EPIPE || code == -ESTRPIPE) {
            has_overrun = true;
            code = restart(stream, code);
        }
    }
    rva_stream_finish(&stream->base, code);
    return NULL;
}

int rva_alsa_start(rva_alsa_stream *stream) {
    int code = pthread_create(&stream->thread, NULL, run, stream);
    stream->has_thread = code == 0;
    return code ? RVA_ERROR_SYSTEM - code : RVA_OK;
}

void rva_alsa_close(rva_alsa_stream *stream) {
    close(stream->stop_pipe[1]);
    stream->stop_pipe[1] = -1;
    if (stream->has_thread) pthread_join(stream->thread, NULL);
    stream->alsa->drop(stream->pcm);
    release(stream);
}

void rva_alsa_statistics(const rva_alsa_stream *stream, rva_stream_statistics *statistics) {
    rva_stream_read(&stream->base, statistics);
}
