/* rva_pulse - opening and closing a stream over libpulse, whose thread is rva_pulse_thread.c (rva_pulse.h). */
#include "streams/rva_pulse.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "streams/rva_pulse_stream.h"
#include "os/rva_thread.h"

static void release(rva_pulse_stream *stream) {
    for (int end = 0; end < 2; end++)
        if (stream->settled_pipe[end] >= 0) close(stream->settled_pipe[end]);
    if (stream->loop) stream->pulse->mainloop_free(stream->loop);
    free(stream->server);
    free(stream->target);
    free(stream);
}

int rva_pulse_open(const rva_pulse *pulse, rva_chain *chain, const rva_pulse_config *config, rva_pulse_stream **out) {
    static const uint32_t sample_bytes[] = {0, 2, 3, 4, 4, 1};
    *out = NULL;
    if (config->format < RVA_FORMAT_S16 || config->format > RVA_FORMAT_U8) return RVA_ERROR_FORMAT;
    if (config->channels < 1 || config->channels > RVA_CHANNELS_MAX) return RVA_ERROR_CHANNELS;
    rva_pulse_stream *stream = calloc(1, sizeof *stream);
    if (!stream) return RVA_ERROR_MEMORY;
    stream->pulse = pulse;
    stream->settled_pipe[0] = stream->settled_pipe[1] = -1;
    stream->spec = (pa_sample_spec){rva_pulse_format(config->format), config->rate_hz, (uint8_t)config->channels};
    stream->priority = config->priority;
    stream->block_samples = config->block_samples ? config->block_samples : 1;
    stream->stride_bytes = sample_bytes[config->format] * config->channels;
    stream->state = RVA_PULSE_CONNECTING;
    rva_stream_init(&stream->base, chain, config->rate_hz, config->wake_fd, config->resume_ns);
    stream->loop = pulse->mainloop_new();
    if (config->server) stream->server = strdup(config->server);
    if (config->source) stream->target = strdup(config->source);
    int code = RVA_OK;
    if (!stream->loop || (config->server && !stream->server) || (config->source && !stream->target)) code = RVA_ERROR_MEMORY;
    else if (pipe(stream->settled_pipe)) code = RVA_ERROR_SYSTEM - errno;
    if (code != RVA_OK) {
        release(stream);
        return code;
    }
    for (int end = 0; end < 2; end++) fcntl(stream->settled_pipe[end], F_SETFD, FD_CLOEXEC);
    *out = stream;
    return RVA_OK;
}

int rva_pulse_start(rva_pulse_stream *stream) {
    const int code = rva_thread_start(&stream->thread, rva_pulse_run, stream);
    stream->has_thread = code == 0;
    return code ? RVA_ERROR_SYSTEM - code : RVA_OK;
}

int rva_pulse_wait(const rva_pulse_stream *stream, int64_t limit_ns) {
    struct pollfd settled = {.fd = stream->settled_pipe[0], .events = POLLIN};
    const int64_t until_ns = rva_clock_ns() + limit_ns;
    for (int64_t left_ns = limit_ns; left_ns > 0; left_ns = until_ns - rva_clock_ns())
        if (poll(&settled, 1, (int)(left_ns / 1000000) + 1) > 0) return atomic_load(&stream->first_code);
    return RVA_ERROR_PULSE - PA_ERR_TIMEOUT;
}

uint32_t rva_pulse_state(const rva_pulse_stream *stream) { return atomic_load(&stream->state); }

void rva_pulse_restart(rva_pulse_stream *stream) {
    atomic_store(&stream->must_restart, true);
    stream->pulse->mainloop_wakeup(stream->loop);
}

int rva_pulse_next_event(rva_pulse_stream *stream, rva_pulse_event *event) {
    const uint32_t taken = atomic_load_explicit(&stream->taken, memory_order_relaxed);
    if (taken == atomic_load_explicit(&stream->written, memory_order_acquire)) return 0;
    *event = stream->events[taken % RVA_PULSE_EVENTS];
    atomic_store_explicit(&stream->taken, taken + 1, memory_order_release);
    return 1;
}

void rva_pulse_watch(rva_pulse_stream *stream, int64_t stall_ns) { rva_stream_watch(&stream->base, stall_ns); }

void rva_pulse_close(rva_pulse_stream *stream, rva_stream_statistics *last) {
    atomic_store_explicit(&stream->is_closing, true, memory_order_release);
    stream->pulse->mainloop_wakeup(stream->loop);
    if (stream->has_thread) pthread_join(stream->thread, NULL);
    rva_stream_read(&stream->base, last);
    release(stream);
}

void rva_pulse_statistics(const rva_pulse_stream *stream, rva_stream_statistics *statistics) {
    rva_stream_read(&stream->base, statistics);
}
