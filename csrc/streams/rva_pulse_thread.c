/* rva_pulse_thread - the capture thread over libpulse: its states, and what it reads (rva_pulse.h). */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "streams/rva_pulse_stream.h"
#include "os/rva_thread.h"

/* Longest time between two looks, in ns: what is watched for may be set later. */
enum { LOOK_NS = 100000000 };
/* Between two attempts to connect, and to have what the server refused. */
enum { RECONNECT_NS = 100000000, RETRY_NS = 1000000000 };

#define DUMMY "auto_null"

static void copy_text(char *to, const char *from) {
    const size_t length = from ? strnlen(from, RVA_PULSE_TEXT - 1) : 0;
    if (length) memmove(to, from, length);
    to[length] = 0;
}

static bool is_monitor_name(const char *name) {
    const size_t length = strlen(name), suffix = strlen(".monitor");
    return length >= suffix && strcmp(name + length - suffix, ".monitor") == 0;
}

static void set_state(rva_pulse_stream *stream, uint32_t state) {
    if (atomic_exchange(&stream->state, state) != state) rva_stream_wake(&stream->base);
}

/* The first attempt has come to an end. */
static void settle(rva_pulse_stream *stream, int code) {
    if (stream->has_settled) return;
    stream->has_settled = true;
    atomic_store(&stream->first_code, code);
    if (write(stream->settled_pipe[1], "", 1) < 0) return; /* the pipe is ours, and empty */
}

static void emit(rva_pulse_stream *stream, uint32_t kind, int code, uint64_t samples, const char *before, const char *source) {
    const uint32_t written = atomic_load_explicit(&stream->written, memory_order_relaxed);
    if (written - atomic_load_explicit(&stream->taken, memory_order_acquire) >= RVA_PULSE_EVENTS - 1) return;
    rva_pulse_event *event = &stream->events[written % RVA_PULSE_EVENTS];
    *event = (rva_pulse_event){.kind = kind, .code = code, .samples = samples, .at_ns = rva_clock_ns()};
    copy_text(event->before, before);
    copy_text(event->source, source);
    atomic_store_explicit(&stream->written, written + 1, memory_order_release);
    rva_stream_wake(&stream->base);
}

static int error_of(const rva_pulse_stream *stream) {
    return RVA_ERROR_PULSE - stream->pulse->context_errno(stream->context);
}

static void forget(rva_pulse_stream *stream, pa_operation *operation) {
    if (operation) stream->pulse->operation_unref(operation);
}

/* Lets go of the server's stream. What was heard until then is handed on, and what comes next goes on from it. */
static void drop_stream(rva_pulse_stream *stream) {
    const rva_pulse *pulse = stream->pulse;
    stream->is_doubtful = stream->has_lost = false;
    if (!stream->stream) return;
    pulse->stream_set_moved_callback(stream->stream, NULL, NULL);
    pulse->stream_set_suspended_callback(stream->stream, NULL, NULL);
    pulse->stream_set_overflow_callback(stream->stream, NULL, NULL);
    pulse->stream_disconnect(stream->stream);
    pulse->stream_unref(stream->stream);
    stream->stream = NULL;
    rva_stream_close(&stream->base);
}

static void drop_context(rva_pulse_stream *stream) {
    drop_stream(stream);
    stream->is_looking = stream->must_look = false;
    if (!stream->context) return;
    stream->pulse->context_set_subscribe_callback(stream->context, NULL, NULL);
    stream->pulse->context_disconnect(stream->context);
    stream->pulse->context_unref(stream->context);
    stream->context = NULL;
}

static void lose_server(rva_pulse_stream *stream) {
    const int code = error_of(stream);
    settle(stream, code);
    if (atomic_load(&stream->state) != RVA_PULSE_CONNECTING) emit(stream, RVA_PULSE_SERVER_GONE, code, 0, NULL, NULL);
    drop_context(stream);
    set_state(stream, RVA_PULSE_CONNECTING);
    stream->retry_ns = rva_clock_ns() + RECONNECT_NS;
}

static void miss_source(rva_pulse_stream *stream, int code) {
    settle(stream, code);
    if (stream->stream) emit(stream, RVA_PULSE_SOURCE_GONE, code, 0, stream->attached, NULL);
    drop_stream(stream);
    stream->retry_ns = rva_clock_ns() + RETRY_NS;
    set_state(stream, RVA_PULSE_MISSING);
}

static void connect_context(rva_pulse_stream *stream) {
    const rva_pulse *pulse = stream->pulse;
    stream->retry_ns = rva_clock_ns() + RECONNECT_NS;
    stream->context = pulse->context_new(pulse->mainloop_get_api(stream->loop), "ravatar-audio");
    if (stream->context && pulse->context_connect(stream->context, stream->server, PA_CONTEXT_NOAUTOSPAWN, NULL) < 0)
        lose_server(stream);
}

static void on_overflow(pa_stream *pa, void *context) {
    (void)pa;
    rva_pulse_stream *stream = context;
    stream->has_lost = true;
    emit(stream, RVA_PULSE_OVERFLOW, 0, 0, NULL, stream->attached);
}

/* How old a block's newest sample is by the server's word for it. PipeWire's is up to a second too much after it stood still, but
 * never too little: there it is the least of this stream. */
static double age_of(rva_pulse_stream *stream, double told_s) {
    if (stream->keeps_time) return told_s;
    if (told_s < stream->least_age_s) stream->least_age_s = told_s > 0 ? told_s : 0;
    return stream->least_age_s;
}

/* Pushes all that the server has sent. */
static void read_blocks(rva_pulse_stream *stream) {
    const rva_pulse *pulse = stream->pulse;
    if (!stream->stream || stream->is_doubtful || pulse->stream_get_state(stream->stream) != PA_STREAM_READY) return;
    for (;;) {
        const size_t readable = pulse->stream_readable_size(stream->stream);
        const void *data;
        size_t bytes;
        uint64_t latency_us;
        int is_negative;
        if (!readable || readable == (size_t)-1 || pulse->stream_peek(stream->stream, &data, &bytes) < 0 || !bytes) return;
        const int64_t now_ns = rva_clock_ns();
        /* Of the first sample that has not been read. */
        const bool is_timed = pulse->stream_get_latency(stream->stream, &latency_us, &is_negative) == 0;
        const double oldest_s = is_timed ? (is_negative ? -1e-6 : 1e-6) * (double)latency_us : (double)INFINITY;
        const size_t samples = bytes / stream->stride_bytes;
        if (!data) {
            const double age_s = age_of(stream, oldest_s - (double)samples / stream->base.rate_hz);
            rva_stream_hole(&stream->base, samples, now_ns, age_s);
            emit(stream, RVA_PULSE_HOLE, 0, samples, NULL, stream->attached);
        }
        for (size_t done = 0; data && done < samples;) {
            const size_t left = samples - done, step = left < stream->block_samples ? left : stream->block_samples;
            const unsigned char *block = (const unsigned char *)data + done * stream->stride_bytes;
            done += step;
            const double age_s = age_of(stream, oldest_s - (double)done / stream->base.rate_hz);
            rva_stream_block(&stream->base, block, step, now_ns, age_s, stream->has_lost);
            stream->has_lost = false;
        }
        pulse->stream_drop(stream->stream);
        if (stream->is_quiet) emit(stream, RVA_PULSE_BEGUN, 0, 0, NULL, stream->attached);
        stream->is_quiet = false;
    }
}

static void see_whether_it_sleeps(rva_pulse_stream *stream) {
    const bool sleeps = stream->pulse->stream_is_suspended(stream->stream) > 0;
    const bool slept = atomic_load(&stream->state) == RVA_PULSE_SUSPENDED;
    if (sleeps == slept) return;
    if (slept) stream->has_lost = stream->is_quiet = true;
    set_state(stream, sleeps ? RVA_PULSE_SUSPENDED : RVA_PULSE_RUNNING);
    emit(stream, sleeps ? RVA_PULSE_SLEPT : RVA_PULSE_WOKE, 0, 0, NULL, stream->attached);
}

static void on_suspended(pa_stream *pa, void *context) {
    (void)pa;
    read_blocks(context);
    see_whether_it_sleeps(context);
}

static void look(rva_pulse_stream *stream);

/* The server has put the stream on a source. Where that is a monitor that nobody asked for, it may have been for want of
 * another: silence, or what a loudspeaker plays, is not to stand for a microphone. */
static void attach(rva_pulse_stream *stream) {
    const char *name = stream->pulse->stream_get_device_name(stream->stream);
    if (!name) return;
    if (strcmp(name, stream->attached) == 0) {
        stream->is_doubtful = false;
        return;
    }
    if (is_monitor_name(name) && !(stream->target && is_monitor_name(stream->target))) {
        stream->is_doubtful = true;
        look(stream);
        return;
    }
    stream->is_doubtful = false;
    stream->has_lost = true;
    emit(stream, RVA_PULSE_MOVED, 0, 0, stream->attached, name);
    copy_text(stream->attached, name);
    see_whether_it_sleeps(stream);
}

static void on_moved(pa_stream *pa, void *context) {
    (void)pa;
    rva_pulse_stream *stream = context;
    read_blocks(stream);
    stream->has_lost = true;
    attach(stream);
}

static void open_stream(rva_pulse_stream *stream) {
    const rva_pulse *pulse = stream->pulse;
    pa_channel_map map = stream->map; /* the source's own, or the server would mix */
    if (map.channels != stream->spec.channels)
        pulse->channel_map_init_extend(&map, stream->spec.channels, PA_CHANNEL_MAP_DEFAULT);
    /* The server keeps as much as it can while this thread is not run. */
    const uint32_t most = PA_INDEX_NONE;
    const pa_buffer_attr sizes = {most, most, most, most, stream->block_samples * stream->stride_bytes};
    const int flags = PA_STREAM_INTERPOLATE_TIMING | PA_STREAM_AUTO_TIMING_UPDATE | PA_STREAM_ADJUST_LATENCY;
    stream->stream = pulse->stream_new(stream->context, "microphone", &stream->spec, &map);
    if (!stream->stream) {
        miss_source(stream, error_of(stream));
        return;
    }
    pulse->stream_set_moved_callback(stream->stream, on_moved, stream);
    pulse->stream_set_suspended_callback(stream->stream, on_suspended, stream);
    pulse->stream_set_overflow_callback(stream->stream, on_overflow, stream);
    copy_text(stream->attached, stream->found);
    stream->is_quiet = true;
    stream->least_age_s = (double)INFINITY;
    int code = rva_stream_rejoin(&stream->base, stream->block_samples, stream->stride_bytes, stream->keeps_time);
    if (code == RVA_OK && pulse->stream_connect_record(stream->stream, stream->found, &sizes, flags) < 0) code = error_of(stream);
    set_state(stream, RVA_PULSE_OPENING);
    if (code != RVA_OK) miss_source(stream, code);
}

/* The server has answered: whether the source is there. */
static void end_look(rva_pulse_stream *stream) {
    const bool is_there = stream->is_found && (stream->target || !stream->is_found_a_monitor);
    stream->is_looking = false;
    if (stream->stream && stream->is_doubtful && !is_there) {
        miss_source(stream, RVA_ERROR_PULSE - PA_ERR_NOENTITY);
    } else if (stream->stream && stream->is_doubtful) { /* somebody has moved it, who could have chosen the source */
        const char *name = stream->pulse->stream_get_device_name(stream->stream);
        /* But nobody chooses the dummy that servers have for want of a sound card: the source is about to go. */
        stream->is_doubtful = name && strncmp(name, DUMMY, strlen(DUMMY)) == 0;
        if (!stream->is_doubtful) {
            stream->has_lost = true;
            emit(stream, RVA_PULSE_MOVED, 0, 0, stream->attached, name);
            copy_text(stream->attached, name);
        }
    } else if (stream->stream && is_monitor_name(stream->attached) && !is_there) {
        miss_source(stream, RVA_ERROR_PULSE - PA_ERR_NOENTITY);
    } else if (!stream->stream && !is_there) {
        miss_source(stream, RVA_ERROR_PULSE - PA_ERR_NOENTITY);
    } else if (!stream->stream) {
        open_stream(stream);
    }
    if (stream->must_look) look(stream);
}

static void on_source(pa_context *pa, const pa_source_info *info, int end, void *context) {
    (void)pa;
    rva_pulse_stream *stream = context;
    if (info) {
        stream->is_found = true;
        stream->is_found_a_monitor = info->monitor_of_sink != PA_INDEX_NONE;
        stream->map = info->channel_map;
        copy_text(stream->found, info->name);
    }
    if (end) end_look(stream);
}

static void on_server(pa_context *pa, const pa_server_info *info, void *context) {
    rva_pulse_stream *stream = context;
    const char *name = stream->target ? stream->target : info ? info->default_source_name : NULL;
    stream->keeps_time = info && info->server_name && !strstr(info->server_name, "PipeWire");
    pa_operation *operation = NULL;
    if (name && *name) operation = stream->pulse->context_get_source_info_by_name(pa, name, on_source, stream);
    forget(stream, operation);
    if (!operation) end_look(stream);
}

/* Asks the server whether the source is there. */
static void look(rva_pulse_stream *stream) {
    stream->must_look = stream->is_looking;
    if (stream->is_looking) return;
    stream->is_looking = true;
    stream->is_found = false;
    pa_operation *operation = stream->pulse->context_get_server_info(stream->context, on_server, stream);
    forget(stream, operation);
    if (!operation) end_look(stream);
}

/* A source, or the server's default, has changed. What a stream is on is told by itself, but for a monitor. */
static void on_event(pa_context *pa, int event, uint32_t index, void *context) {
    (void)pa, (void)index;
    rva_pulse_stream *stream = context;
    const int kind = event & PA_SUBSCRIPTION_KIND, about = event & PA_SUBSCRIPTION_ABOUT;
    if (!stream->base.chain) {
        if (kind == PA_SUBSCRIPTION_NEW || about == PA_SUBSCRIPTION_ABOUT_SERVER) emit(stream, RVA_PULSE_ARRIVED, 0, 0, NULL, NULL);
    } else if (!stream->stream || stream->is_doubtful || is_monitor_name(stream->attached)) look(stream);
}

static void step(rva_pulse_stream *stream, int64_t now_ns) {
    const rva_pulse *pulse = stream->pulse;
    if (atomic_exchange(&stream->must_restart, false)) {
        drop_context(stream);
        set_state(stream, RVA_PULSE_CONNECTING);
        stream->retry_ns = 0;
    }
    if (!stream->context) {
        if (now_ns >= stream->retry_ns) connect_context(stream);
        return;
    }
    const int connection = pulse->context_get_state(stream->context);
    if (connection == PA_CONTEXT_FAILED || connection == PA_CONTEXT_TERMINATED) {
        lose_server(stream);
        return;
    }
    if (connection != PA_CONTEXT_READY) return;
    if (atomic_load(&stream->state) == RVA_PULSE_CONNECTING) {
        set_state(stream, stream->base.chain ? RVA_PULSE_LOOKING : RVA_PULSE_RUNNING);
        pulse->context_set_subscribe_callback(stream->context, on_event, stream);
        const int what = PA_SUBSCRIPTION_SOURCE | PA_SUBSCRIPTION_SERVER;
        forget(stream, pulse->context_subscribe(stream->context, what, NULL, NULL));
        if (stream->base.chain) look(stream);
        else if (stream->has_settled) emit(stream, RVA_PULSE_ARRIVED, 0, 0, NULL, NULL); /* it was not there at first */
        else settle(stream, RVA_OK);
    }
    if (stream->stream) {
        const int life = pulse->stream_get_state(stream->stream);
        if (life == PA_STREAM_FAILED || life == PA_STREAM_TERMINATED) {
            miss_source(stream, error_of(stream));
            look(stream);
        } else if (life == PA_STREAM_READY && atomic_load(&stream->state) == RVA_PULSE_OPENING) {
            set_state(stream, RVA_PULSE_RUNNING);
            attach(stream);
            see_whether_it_sleeps(stream);
            settle(stream, RVA_OK);
        }
    } else if (now_ns >= stream->retry_ns && atomic_load(&stream->state) == RVA_PULSE_MISSING) {
        stream->retry_ns = now_ns + RETRY_NS;
        look(stream);
    }
}

void *rva_pulse_run(void *context) {
    rva_pulse_stream *stream = context;
    const rva_pulse *pulse = stream->pulse;
    const bool is_real_time = stream->priority && rva_thread_set_priority(pthread_self(), stream->priority);
    atomic_store_explicit(&stream->base.is_real_time, is_real_time, memory_order_relaxed);
    while (!atomic_load_explicit(&stream->is_closing, memory_order_acquire)) {
        const int64_t now_ns = rva_clock_ns();
        step(stream, now_ns);
        read_blocks(stream);
        int64_t wait_ns = rva_stream_look(&stream->base, now_ns);
        if (wait_ns > LOOK_NS) wait_ns = LOOK_NS;
        if (!stream->context && stream->retry_ns - now_ns < wait_ns) wait_ns = stream->retry_ns - now_ns;
        if (pulse->mainloop_prepare(stream->loop, wait_ns > 0 ? (int)(wait_ns / 1000) + 1 : 0) < 0 ||
            pulse->mainloop_poll(stream->loop) < 0 || pulse->mainloop_dispatch(stream->loop) < 0) {
            settle(stream, RVA_ERROR_SYSTEM - EIO);
            rva_stream_finish(&stream->base, -EIO);
            break;
        }
    }
    drop_context(stream);
    return NULL;
}
