/* Prints, one a line, what the core takes of libpulse's ABI: with OURS as rva_pulse_library.h declares it, else as libpulse's
 * headers do. Both must be the same. */
#include <stddef.h>
#include <stdio.h>

#ifdef OURS
#include "streams/rva_pulse_library.h"
#define VALUE(ours, theirs) printf("%s %ld\n", #theirs, (long)(ours))
#else
#include <pulse/pulseaudio.h>
#define VALUE(ours, theirs) printf("%s %ld\n", #theirs, (long)(theirs))
#endif
#define SIZE(type) printf("%s %zu\n", #type, sizeof(type))
#define FIELD(type, field) printf("%s.%s %zu %zu\n", #type, #field, offsetof(type, field), sizeof(((type *)NULL)->field))

int main(void) {
    SIZE(pa_sample_spec);
    FIELD(pa_sample_spec, format);
    FIELD(pa_sample_spec, rate);
    FIELD(pa_sample_spec, channels);
    SIZE(pa_channel_map);
    FIELD(pa_channel_map, map);
    SIZE(pa_buffer_attr);
    FIELD(pa_buffer_attr, maxlength);
    FIELD(pa_buffer_attr, fragsize);
    FIELD(pa_source_info, name);
    FIELD(pa_source_info, description);
    FIELD(pa_source_info, sample_spec);
    FIELD(pa_source_info, channel_map);
    FIELD(pa_source_info, mute);
    FIELD(pa_source_info, monitor_of_sink);
    FIELD(pa_source_info, proplist);
    FIELD(pa_source_info, state);
    FIELD(pa_server_info, server_name);
    FIELD(pa_server_info, default_source_name);
    VALUE(PA_INDEX_NONE, PA_INVALID_INDEX);
    VALUE(PA_CONTEXT_NOAUTOSPAWN, PA_CONTEXT_NOAUTOSPAWN);
    VALUE(PA_CONTEXT_READY, PA_CONTEXT_READY);
    VALUE(PA_CONTEXT_FAILED, PA_CONTEXT_FAILED);
    VALUE(PA_CONTEXT_TERMINATED, PA_CONTEXT_TERMINATED);
    VALUE(PA_STREAM_READY, PA_STREAM_READY);
    VALUE(PA_STREAM_FAILED, PA_STREAM_FAILED);
    VALUE(PA_STREAM_TERMINATED, PA_STREAM_TERMINATED);
    VALUE(PA_STREAM_INTERPOLATE_TIMING, PA_STREAM_INTERPOLATE_TIMING);
    VALUE(PA_STREAM_AUTO_TIMING_UPDATE, PA_STREAM_AUTO_TIMING_UPDATE);
    VALUE(PA_STREAM_ADJUST_LATENCY, PA_STREAM_ADJUST_LATENCY);
    VALUE(PA_SOURCE_SUSPENDED, PA_SOURCE_SUSPENDED);
    VALUE(PA_SUBSCRIPTION_SOURCE, PA_SUBSCRIPTION_MASK_SOURCE);
    VALUE(PA_SUBSCRIPTION_SERVER, PA_SUBSCRIPTION_MASK_SERVER);
    VALUE(PA_SUBSCRIPTION_ABOUT, PA_SUBSCRIPTION_EVENT_FACILITY_MASK);
    VALUE(PA_SUBSCRIPTION_ABOUT_SERVER, PA_SUBSCRIPTION_EVENT_SERVER);
    VALUE(PA_SUBSCRIPTION_KIND, PA_SUBSCRIPTION_EVENT_TYPE_MASK);
    VALUE(PA_SUBSCRIPTION_NEW, PA_SUBSCRIPTION_EVENT_NEW);
    VALUE(PA_CHANNEL_MAP_DEFAULT, PA_CHANNEL_MAP_DEFAULT);
    VALUE(PA_ERR_NOENTITY, PA_ERR_NOENTITY);
    VALUE(PA_ERR_CONNECTIONREFUSED, PA_ERR_CONNECTIONREFUSED);
    VALUE(PA_ERR_TIMEOUT, PA_ERR_TIMEOUT);
    VALUE(PA_ERR_CONNECTIONTERMINATED, PA_ERR_CONNECTIONTERMINATED);
    VALUE(PA_ERR_KILLED, PA_ERR_KILLED);
    VALUE(PA_CHANNELS, PA_CHANNELS_MAX);
    return 0;
}
