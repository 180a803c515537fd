/* rva_pulse_list - what sources a server has, by a connection that is made for the question (rva_pulse.h). */
#include <stdlib.h>
#include <string.h>

#include "streams/rva_pulse.h"
#include "streams/rva_pulse_library.h"

/* One turn of the main loop, at most. */
enum { TURN_NS = 50000000 };

typedef struct {
    const rva_pulse *pulse;
    char *server_name, default_name[RVA_PULSE_TEXT];
    rva_pulse_source *sources;
    char default_sink[RVA_PULSE_TEXT];
    uint32_t most, count;
    bool has_asked, has_ended;
    int code;
} listing;

#define COPY(field, text) copy_text(field, sizeof(field), text)

static void copy_text(char *to, size_t size, const char *from) {
    strncpy(to, from ? from : "", size - 1);
    to[size - 1] = 0;
}

static const char *property(const listing *list, const pa_source_info *info, const char *key) {
    return list->pulse->proplist_gets(info->proplist, key);
}

static void describe(const listing *list, const pa_source_info *info, rva_pulse_source *source) {
    *source = (rva_pulse_source){
        .rate_hz = info->sample_spec.rate,
        .channels = info->sample_spec.channels,
        .format = rva_pulse_format_of(info->sample_spec.format),
        .is_default = strcmp(info->name, list->default_name) == 0,
        .is_monitor = info->monitor_of_sink != PA_INDEX_NONE,
        .is_default_monitor = info->monitor_of_sink_name && strcmp(info->monitor_of_sink_name, list->default_sink) == 0,
        .is_muted = info->mute != 0,
        .is_suspended = info->state == PA_SOURCE_SUSPENDED,
    };
    COPY(source->name, info->name);
    COPY(source->description, info->description);
    COPY(source->bus, property(list, info, "device.bus"));
    COPY(source->form_factor, property(list, info, "device.form_factor"));
    const char *profile = property(list, info, "api.bluez5.profile"); /* PipeWire's */
    COPY(source->profile, profile ? profile : property(list, info, "bluetooth.protocol"));
    COPY(source->vendor_id, property(list, info, "device.vendor.id"));
    COPY(source->product_id, property(list, info, "device.product.id"));
    COPY(source->serial, property(list, info, "device.serial"));
}

static void on_source(pa_context *pa, const pa_source_info *info, int end, void *context) {
    listing *list = context;
    if (info && list->count < list->most) describe(list, info, &list->sources[list->count]);
    if (info) list->count++;
    if (end < 0) list->code = RVA_ERROR_PULSE - list->pulse->context_errno(pa);
    if (end) list->has_ended = true;
}

static void on_server(pa_context *pa, const pa_server_info *info, void *context) {
    listing *list = context;
    if (info) {
        copy_text(list->server_name, RVA_PULSE_TEXT, info->server_name);
        COPY(list->default_name, info->default_source_name);
        COPY(list->default_sink, info->default_sink_name);
    }
    pa_operation *operation = list->pulse->context_get_source_info_list(pa, on_source, list);
    if (operation) list->pulse->operation_unref(operation);
    else list->has_ended = true;
}

/* Whether there is more to come. */
static bool ask(listing *list, pa_context *pa) {
    const rva_pulse *pulse = list->pulse;
    const int state = pulse->context_get_state(pa);
    if (state == PA_CONTEXT_FAILED || state == PA_CONTEXT_TERMINATED) {
        list->code = RVA_ERROR_PULSE - pulse->context_errno(pa);
        return false;
    }
    if (state == PA_CONTEXT_READY && !list->has_asked) {
        list->has_asked = true;
        pa_operation *operation = pulse->context_get_server_info(pa, on_server, list);
        if (operation) pulse->operation_unref(operation);
    }
    return !list->has_ended;
}

int rva_pulse_list(const rva_pulse *pulse, const char *server, int64_t limit_ns, char *server_name, rva_pulse_source *sources,
                   uint32_t most) {
    listing list = {.pulse = pulse, .server_name = server_name, .sources = sources, .most = most};
    const int64_t until_ns = rva_clock_ns() + limit_ns;
    pa_mainloop *loop = pulse->mainloop_new();
    pa_context *pa = loop ? pulse->context_new(pulse->mainloop_get_api(loop), "ravatar-audio") : NULL;
    if (!pa) {
        if (loop) pulse->mainloop_free(loop);
        return RVA_ERROR_MEMORY;
    }
    *server_name = 0;
    pulse->context_connect(pa, server, PA_CONTEXT_NOAUTOSPAWN, NULL); /* a failure is the context's state */
    while (ask(&list, pa)) {
        const int64_t left_ns = until_ns - rva_clock_ns();
        if (left_ns <= 0) list.code = RVA_ERROR_PULSE - PA_ERR_TIMEOUT;
        if (left_ns <= 0 || pulse->mainloop_prepare(loop, (int)((left_ns < TURN_NS ? left_ns : TURN_NS) / 1000) + 1) < 0 ||
            pulse->mainloop_poll(loop) < 0 || pulse->mainloop_dispatch(loop) < 0)
            break;
    }
    pulse->context_disconnect(pa);
    pulse->context_unref(pa);
    pulse->mainloop_free(loop);
    return list.code ? list.code : (int)list.count;
}
