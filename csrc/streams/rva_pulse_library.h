/* rva_pulse_library - libpulse's functions that we use, by dlsym. Internal.
 *
 * Types and values are declared here, as the headers of libpulse are not needed to build; they are its stable ABI
 * (pulse/introspect.h, pulse/stream.h, pulse/def.h; tests/c/pulse_abi.c compares them with the headers). */
#ifndef RVA_PULSE_LIBRARY_H
#define RVA_PULSE_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

typedef struct pa_mainloop pa_mainloop;
typedef struct pa_mainloop_api pa_mainloop_api;
typedef struct pa_context pa_context;
typedef struct pa_stream pa_stream;
typedef struct pa_operation pa_operation;
typedef struct pa_proplist pa_proplist;

enum { PA_CHANNELS = 32 };
#define PA_INDEX_NONE 0xffffffffu
enum { PA_CONTEXT_NOAUTOSPAWN = 1 };
enum { PA_CONTEXT_READY = 4, PA_CONTEXT_FAILED = 5, PA_CONTEXT_TERMINATED = 6 };
enum { PA_STREAM_READY = 2, PA_STREAM_FAILED = 3, PA_STREAM_TERMINATED = 4 };
enum { PA_STREAM_INTERPOLATE_TIMING = 2, PA_STREAM_AUTO_TIMING_UPDATE = 8, PA_STREAM_ADJUST_LATENCY = 0x2000 };
enum { PA_SOURCE_SUSPENDED = 2 };
enum { PA_SUBSCRIPTION_SOURCE = 2, PA_SUBSCRIPTION_SERVER = 0x80 };
enum { PA_SUBSCRIPTION_ABOUT = 0xf, PA_SUBSCRIPTION_ABOUT_SERVER = 7, PA_SUBSCRIPTION_KIND = 0x30, PA_SUBSCRIPTION_NEW = 0 };
enum { PA_CHANNEL_MAP_DEFAULT = 0 };
/* Of libpulse's error numbers those that decide something. */
enum { PA_ERR_NOENTITY = 5, PA_ERR_CONNECTIONREFUSED = 6, PA_ERR_TIMEOUT = 8, PA_ERR_CONNECTIONTERMINATED = 11, PA_ERR_KILLED = 12 };

typedef struct {
    int format;
    uint32_t rate;
    uint8_t channels;
} pa_sample_spec;

typedef struct {
    uint8_t channels;
    int map[PA_CHANNELS];
} pa_channel_map;

typedef struct {
    uint8_t channels;
    uint32_t values[PA_CHANNELS];
} pa_cvolume;

typedef struct {
    uint32_t maxlength, tlength, prebuf, minreq, fragsize;
} pa_buffer_attr;

/* As far as we read them. */
typedef struct {
    const char *name;
    uint32_t index;
    const char *description;
    pa_sample_spec sample_spec;
    pa_channel_map channel_map;
    uint32_t owner_module;
    pa_cvolume volume;
    int mute;
    uint32_t monitor_of_sink;
    const char *monitor_of_sink_name;
    uint64_t latency;
    const char *driver;
    int flags;
    pa_proplist *proplist;
    uint64_t configured_latency;
    uint32_t base_volume;
    int state;
} pa_source_info;

typedef struct {
    const char *user_name, *host_name, *server_version, *server_name;
    pa_sample_spec sample_spec;
    const char *default_sink_name, *default_source_name;
} pa_server_info;

typedef void (*pa_stream_notify_cb)(pa_stream *, void *);
typedef void (*pa_source_info_cb)(pa_context *, const pa_source_info *, int end, void *);
typedef void (*pa_server_info_cb)(pa_context *, const pa_server_info *, void *);
typedef void (*pa_context_subscribe_cb)(pa_context *, int event, uint32_t index, void *);

/* name without "pa_", result, parameters */
#define RVA_PULSE_FUNCTIONS(X)                                                                                         \
    X(strerror, const char *, (int))                                                                                   \
    X(mainloop_new, pa_mainloop *, (void))                                                                             \
    X(mainloop_free, void, (pa_mainloop *))                                                                            \
    X(mainloop_get_api, pa_mainloop_api *, (pa_mainloop *))                                                            \
    X(mainloop_prepare, int, (pa_mainloop *, int))                                                                     \
    X(mainloop_poll, int, (pa_mainloop *))                                                                             \
    X(mainloop_dispatch, int, (pa_mainloop *))                                                                         \
    X(mainloop_wakeup, void, (pa_mainloop *))                                                                          \
    X(context_new, pa_context *, (pa_mainloop_api *, const char *))                                                    \
    X(context_unref, void, (pa_context *))                                                                             \
    X(context_connect, int, (pa_context *, const char *, int, const void *))                                           \
    X(context_disconnect, void, (pa_context *))                                                                        \
    X(context_get_state, int, (const pa_context *))                                                                    \
    X(context_errno, int, (const pa_context *))                                                                        \
    X(context_subscribe, pa_operation *, (pa_context *, int, void *, void *))                                          \
    X(context_set_subscribe_callback, void, (pa_context *, pa_context_subscribe_cb, void *))                           \
    X(context_get_server_info, pa_operation *, (pa_context *, pa_server_info_cb, void *))                              \
    X(context_get_source_info_by_name, pa_operation *, (pa_context *, const char *, pa_source_info_cb, void *))        \
    X(context_get_source_info_list, pa_operation *, (pa_context *, pa_source_info_cb, void *))                         \
    X(operation_unref, void, (pa_operation *))                                                                         \
    X(proplist_gets, const char *, (const pa_proplist *, const char *))                                                \
    X(channel_map_init_extend, pa_channel_map *, (pa_channel_map *, unsigned, int))                                    \
    X(stream_new, pa_stream *, (pa_context *, const char *, const pa_sample_spec *, const pa_channel_map *))           \
    X(stream_unref, void, (pa_stream *))                                                                               \
    X(stream_connect_record, int, (pa_stream *, const char *, const pa_buffer_attr *, int))                            \
    X(stream_disconnect, int, (pa_stream *))                                                                           \
    X(stream_get_state, int, (const pa_stream *))                                                                      \
    X(stream_get_device_name, const char *, (const pa_stream *))                                                       \
    X(stream_is_suspended, int, (const pa_stream *))                                                                   \
    X(stream_readable_size, size_t, (const pa_stream *))                                                               \
    X(stream_peek, int, (pa_stream *, const void **, size_t *))                                                        \
    X(stream_drop, int, (pa_stream *))                                                                                 \
    X(stream_get_latency, int, (pa_stream *, uint64_t *, int *))                                                       \
    X(stream_set_moved_callback, void, (pa_stream *, pa_stream_notify_cb, void *))                                     \
    X(stream_set_suspended_callback, void, (pa_stream *, pa_stream_notify_cb, void *))                                 \
    X(stream_set_overflow_callback, void, (pa_stream *, pa_stream_notify_cb, void *))

struct rva_pulse {
#define RVA_PULSE_FIELD(name, result, parameters) result(*name) parameters;
    RVA_PULSE_FUNCTIONS(RVA_PULSE_FIELD)
#undef RVA_PULSE_FIELD
};

/* PulseAudio's number for one of our formats, in this machine's byte order; -1 for none. */
int rva_pulse_format(unsigned format);

/* Our format in which nothing of one of PulseAudio's is lost, and least has to be converted. */
unsigned rva_pulse_format_of(int format);

#endif
