/* A made-up libpulse tells the capture thread what the cases say: holes, overflows, moves in each order, sources that go and
 * come. Each event is told once, all sound comes out, none of a monitor's does, and what is missing is counted. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "streams/rva_pulse_stream.h"

enum { RATE_HZ = 16000, BLOCK = 160, LOUD = 1000 };

static const char *scenario;
static unsigned failures;

/* What the made-up server has; written by the test while the thread waits for it, which else has the lock. */
static struct {
    pthread_mutex_t lock;
    int error, context_state, stream_state, is_suspended, ready;
    const char *sources[4], *default_name, *device;
    char asked[RVA_PULSE_TEXT];
    pa_source_info_cb on_source;
    pa_server_info_cb on_server;
    pa_context_subscribe_cb on_event;
    pa_stream_notify_cb on_moved, on_suspended, on_overflow;
    void *context;
    int event, moved, overflowed, suspension, hole; /* to be told at the next turn */
    int blocks;                                     /* to be read */
    int zeros;                                      /* blocks of them that come behind what is told */
    int16_t value;
    bool is_held;
} at = {.lock = PTHREAD_MUTEX_INITIALIZER};
static int dummy;

static pa_source_info described(const char *name) {
    pa_source_info info = {.name = name, .monitor_of_sink = strstr(name, ".monitor") ? 0 : PA_INDEX_NONE};
    info.channel_map.channels = 1;
    return info;
}

static pa_mainloop *mainloop_new(void) { return (pa_mainloop *)&dummy; }
static void mainloop_free(pa_mainloop *loop) { (void)loop; }
static pa_mainloop_api *get_api(pa_mainloop *loop) { return (void *)loop; }
static int prepare(pa_mainloop *loop, int us) { return (void)loop, (void)us, 0; }
static void wakeup(pa_mainloop *loop) { (void)loop; }
static int poll_loop(pa_mainloop *loop) {
    (void)loop;
    const struct timespec turn = {.tv_nsec = 1000000};
    if (at.is_held) pthread_mutex_unlock(&at.lock);
    nanosleep(&turn, NULL);
    pthread_mutex_lock(&at.lock);
    at.is_held = true;
    return 0;
}

/* One turn: an answer that was asked for, then what the test wants told. */
static int dispatch(pa_mainloop *loop) {
    (void)loop;
    if (at.on_server) {
        const pa_server_info info = {.server_name = "pulseaudio", .default_source_name = at.default_name};
        const pa_server_info_cb answer = at.on_server;
        at.on_server = NULL;
        answer((pa_context *)&dummy, &info, at.context);
    } else if (at.on_source) {
        const pa_source_info_cb answer = at.on_source;
        at.on_source = NULL;
        int end = -1;
        for (int i = 0; i < 4; i++) {
            if (!at.sources[i] || strcmp(at.sources[i], at.asked)) continue;
            const pa_source_info info = described(at.sources[i]);
            answer((pa_context *)&dummy, &info, 0, at.context);
            end = 1;
        }
        at.error = end < 0 ? PA_ERR_NOENTITY : 0;
        answer((pa_context *)&dummy, NULL, end, at.context);
    }
    if (at.moved && at.on_moved) at.on_moved((pa_stream *)&dummy, at.context);
    if (at.event >= 0 && at.on_event) at.on_event((pa_context *)&dummy, at.event, 0, at.context);
    if (at.overflowed && at.on_overflow) at.on_overflow((pa_stream *)&dummy, at.context);
    if (at.suspension && at.on_suspended) at.on_suspended((pa_stream *)&dummy, at.context);
    at.moved = at.overflowed = at.suspension = 0;
    at.event = -1;
    if (at.zeros) at.blocks = at.zeros, at.value = 0;
    at.zeros = 0;
    return 0;
}

static pa_context *context_new(pa_mainloop_api *api, const char *name) { return (void)name, (pa_context *)api; }
static void context_disconnect(pa_context *pa) { (void)pa; }
static void context_unref(pa_context *pa) { /* the thread's last call, or it goes on */
    (void)pa;
    if (at.is_held) pthread_mutex_unlock(&at.lock);
    at.is_held = false;
}
static int connect_context(pa_context *pa, const char *server, int flags, const void *spawn) {
    return (void)pa, (void)server, (void)spawn, flags == PA_CONTEXT_NOAUTOSPAWN ? 0 : -1;
}
static int context_state(const pa_context *pa) { return (void)pa, at.context_state; }
static int context_errno(const pa_context *pa) { return (void)pa, at.error; }
static pa_operation *subscribe(pa_context *pa, int mask, void *on_done, void *user) {
    return (void)pa, (void)mask, (void)on_done, (void)user, (pa_operation *)&dummy;
}
static void set_subscribe(pa_context *pa, pa_context_subscribe_cb on_event, void *user) {
    (void)pa, at.on_event = on_event, at.context = user ? user : at.context;
}
static pa_operation *ask_server(pa_context *pa, pa_server_info_cb on_server, void *user) {
    (void)pa, at.on_server = on_server, at.context = user;
    return (pa_operation *)&dummy;
}
static pa_operation *ask_source(pa_context *pa, const char *name, pa_source_info_cb on_source, void *user) {
    (void)pa, at.on_source = on_source, at.context = user;
    snprintf(at.asked, sizeof at.asked, "%s", name);
    return (pa_operation *)&dummy;
}
static void operation_unref(pa_operation *operation) { (void)operation; }
static pa_stream *stream_new(pa_context *pa, const char *name, const pa_sample_spec *spec, const pa_channel_map *map) {
    return (void)pa, (void)name, (void)spec, (void)map, (pa_stream *)&dummy;
}
static void stream_unref(pa_stream *pa) { (void)pa; }
static int connect_record(pa_stream *pa, const char *device, const pa_buffer_attr *sizes, int flags) {
    (void)pa, (void)sizes, (void)flags;
    for (int i = 0; i < 4; i++)
        if (at.sources[i] && strcmp(at.sources[i], device) == 0) at.device = at.sources[i];
    at.stream_state = PA_STREAM_READY;
    return 0;
}
static int disconnect(pa_stream *pa) { return (void)pa, at.blocks = 0; }
static int stream_state(const pa_stream *pa) { return (void)pa, at.stream_state; }
static const char *device_name(const pa_stream *pa) { return (void)pa, at.device; }
static int is_suspended(const pa_stream *pa) { return (void)pa, at.is_suspended; }
static size_t readable(const pa_stream *pa) { return (void)pa, at.blocks || at.hole ? BLOCK * 2 : 0; }
static int peek(pa_stream *pa, const void **data, size_t *bytes) {
    static int16_t block[BLOCK];
    (void)pa;
    for (int i = 0; i < BLOCK; i++) block[i] = at.value;
    *data = at.hole ? NULL : block;
    *bytes = at.hole ? (size_t)at.hole * 2 : sizeof block;
    return 0;
}
static int drop(pa_stream *pa) {
    (void)pa;
    if (at.hole) at.hole = 0;
    else at.blocks--;
    return 0;
}
static int latency(pa_stream *pa, uint64_t *us, int *is_negative) { return (void)pa, *us = 10000, *is_negative = 0; }
static void set_moved(pa_stream *pa, pa_stream_notify_cb told, void *user) { (void)pa, (void)user, at.on_moved = told; }
static void set_suspended(pa_stream *pa, pa_stream_notify_cb told, void *user) { (void)pa, (void)user, at.on_suspended = told; }
static void set_overflow(pa_stream *pa, pa_stream_notify_cb told, void *user) { (void)pa, (void)user, at.on_overflow = told; }
static pa_channel_map *extend(pa_channel_map *map, unsigned channels, int kind) {
    return (void)kind, map->channels = (uint8_t)channels, map;
}
static const char *error_text(int code) { return (void)code, "made up"; }

static const struct rva_pulse library = {
    .strerror = error_text, .mainloop_new = mainloop_new, .mainloop_free = mainloop_free, .mainloop_get_api = get_api,
    .mainloop_prepare = prepare, .mainloop_poll = poll_loop, .mainloop_dispatch = dispatch, .mainloop_wakeup = wakeup,
    .context_new = context_new, .context_unref = context_unref, .context_connect = connect_context,
    .context_disconnect = context_disconnect, .context_get_state = context_state, .context_errno = context_errno,
    .context_subscribe = subscribe, .context_set_subscribe_callback = set_subscribe, .context_get_server_info = ask_server,
    .context_get_source_info_by_name = ask_source, .operation_unref = operation_unref, .channel_map_init_extend = extend,
    .stream_new = stream_new, .stream_unref = stream_unref, .stream_connect_record = connect_record,
    .stream_disconnect = disconnect, .stream_get_state = stream_state, .stream_get_device_name = device_name,
    .stream_is_suspended = is_suspended, .stream_readable_size = readable, .stream_peek = peek, .stream_drop = drop,
    .stream_get_latency = latency, .stream_set_moved_callback = set_moved, .stream_set_suspended_callback = set_suspended,
    .stream_set_overflow_callback = set_overflow,
};

static rva_chain *chain;
static rva_pulse_stream *stream;

static void begin(const char *name, const char *target) {
    scenario = name;
    at.context_state = PA_CONTEXT_READY;
    at.sources[0] = "mic", at.sources[1] = "other", at.sources[2] = "speaker.monitor", at.sources[3] = "auto_null.monitor";
    at.default_name = "mic";
    at.event = -1;
    at.value = LOUD;
    const rva_config shape = {.rate_hz = RATE_HZ, .channels = 1, .format = RVA_FORMAT_S16, .capacity_frames = 64, .wake_fd = -1};
    const rva_pulse_config config = {
        .source = target, .rate_hz = RATE_HZ, .channels = 1, .format = RVA_FORMAT_S16, .block_samples = BLOCK, .wake_fd = -1};
    if (rva_chain_open(&shape, &chain) || rva_pulse_open(&library, chain, &config, &stream) || rva_pulse_start(stream)) abort();
}

#define WITH_SERVER(what)                                                                                              \
    do {                                                                                                               \
        pthread_mutex_lock(&at.lock);                                                                                  \
        what;                                                                                                          \
        pthread_mutex_unlock(&at.lock);                                                                                \
    } while (0)

/* The next event is this one, within ten seconds; what is read goes on meanwhile. */
static void expect(uint32_t kind, const char *before, const char *source) {
    rva_pulse_event event = {0};
    for (int turn = 0; turn < 5000 && !rva_pulse_next_event(stream, &event); turn++) {
        const struct timespec wait = {.tv_nsec = 2000000};
        nanosleep(&wait, NULL);
    }
    if (event.kind == kind && strcmp(event.before, before) == 0 && strcmp(event.source, source) == 0) return;
    failures++;
    fprintf(stderr, "%s: event %u from '%s' to '%s'; expected %u from '%s' to '%s'\n", scenario, event.kind, event.before,
            event.source, kind, before, source);
}

static void play(int blocks) {
    WITH_SERVER(at.blocks += blocks);
    for (int turn = 0, left = 1; turn < 5000 && left; turn++) {
        const struct timespec wait = {.tv_nsec = 2000000};
        nanosleep(&wait, NULL);
        WITH_SERVER(left = at.blocks);
    }
}

/* Closes; all that was heard is loud, and so much was counted as lost, or any where that is -1. */
static void end(long long lost, uint64_t overruns) {
    rva_stream_statistics last;
    rva_statistics counts;
    rva_pulse_close(stream, &last);
    rva_chain_finish(chain);
    rva_chain_statistics(chain, &counts);
    for (const rva_frame *frame; (frame = rva_chain_peek(chain)); rva_chain_advance(chain))
        for (uint32_t i = 0; i < frame->length_samples; i++)
            if (frame->pcm[i] != LOUD) {
                failures++;
                fprintf(stderr, "%s: a sample is %d\n", scenario, frame->pcm[i]);
                break;
            }
    if ((lost >= 0 && (long long)counts.device_lost_samples != lost) || last.overruns != overruns) {
        failures++;
        fprintf(stderr, "%s: lost %llu samples in %llu overruns\n", scenario, (unsigned long long)counts.device_lost_samples,
                (unsigned long long)last.overruns);
    }
    rva_chain_close(chain);
}

static void go_on(const char *source) {
    play(3);
    expect(RVA_PULSE_BEGUN, "", source);
}

int main(void) {
    begin("a hole", "mic");
    go_on("mic");
    WITH_SERVER(at.hole = 1600);
    expect(RVA_PULSE_HOLE, "", "mic");
    play(2);
    end(1600, 1);

    begin("an overflow", "mic");
    go_on("mic");
    WITH_SERVER(at.overflowed = 1);
    expect(RVA_PULSE_OVERFLOW, "", "mic");
    play(40);
    end(-1, 1);

    begin("suspended and resumed", "mic");
    go_on("mic");
    WITH_SERVER(at.is_suspended = at.suspension = 1);
    expect(RVA_PULSE_SLEPT, "", "mic");
    WITH_SERVER(at.is_suspended = 0; at.suspension = 1);
    expect(RVA_PULSE_WOKE, "", "mic");
    go_on("mic");
    end(-1, 1);

    begin("moved to another microphone", "mic");
    go_on("mic");
    WITH_SERVER(at.device = at.sources[1]; at.moved = 1);
    expect(RVA_PULSE_MOVED, "mic", "other");
    play(3);
    end(-1, 1);

    begin("moved to a monitor by hand", "mic");
    go_on("mic");
    WITH_SERVER(at.device = at.sources[2]; at.moved = 1);
    expect(RVA_PULSE_MOVED, "mic", "speaker.monitor");
    play(3);
    end(-1, 1);

    begin("put on a monitor for want of a source", "mic");
    go_on("mic");
    WITH_SERVER(at.sources[0] = NULL; at.device = at.sources[2]; at.moved = 1; at.zeros = 50);
    expect(RVA_PULSE_SOURCE_GONE, "mic", "");
    WITH_SERVER(at.sources[0] = "mic"; at.value = LOUD; at.event = 1);
    go_on("mic");
    end(-1, 1);

    begin("put on the dummy before the source is gone", "mic");
    go_on("mic");
    WITH_SERVER(at.device = at.sources[3]; at.moved = 1; at.zeros = 50);
    const struct timespec while_nothing_is_told = {.tv_nsec = 50000000};
    nanosleep(&while_nothing_is_told, NULL);
    WITH_SERVER(at.sources[0] = NULL; at.event = 0x21);
    expect(RVA_PULSE_SOURCE_GONE, "mic", "");
    WITH_SERVER(at.sources[0] = "mic"; at.value = LOUD; at.event = 1);
    go_on("mic");
    end(-1, 1);

    begin("a default that becomes a monitor", NULL);
    go_on("mic");
    WITH_SERVER(at.error = PA_ERR_KILLED; at.stream_state = PA_STREAM_FAILED; at.default_name = "speaker.monitor");
    expect(RVA_PULSE_SOURCE_GONE, "mic", "");
    WITH_SERVER(at.default_name = "other"; at.event = 0x17);
    go_on("other");
    end(-1, 1);

    begin("a server that dies", "mic");
    go_on("mic");
    WITH_SERVER(at.error = PA_ERR_CONNECTIONTERMINATED; at.context_state = PA_CONTEXT_FAILED);
    expect(RVA_PULSE_SERVER_GONE, "", "");
    WITH_SERVER(at.context_state = PA_CONTEXT_READY);
    go_on("mic");
    end(-1, 1);
    return failures ? 1 : 0;
}
