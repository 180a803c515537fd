/* rva_portaudio - PortAudio's callback over the chain, and the stream's life (rva_portaudio.h). */
#include <dlfcn.h>
#include <math.h>
#include <portaudio.h>
#include <stdlib.h>

#include "streams/rva_portaudio.h"
#include "os/rva_thread.h"
#include "streams/rva_watch.h"

struct rva_portaudio {
    PaDeviceIndex (*device_count)(void);
    const PaDeviceInfo *(*device_info)(PaDeviceIndex);
    const PaHostApiInfo *(*host_api_info)(PaHostApiIndex);
    PaError (*is_format_supported)(const PaStreamParameters *, const PaStreamParameters *, double);
    PaError (*open_stream)(PaStream **, const PaStreamParameters *, const PaStreamParameters *, double, unsigned long,
                           PaStreamFlags, PaStreamCallback *, void *);
    PaError (*set_finished)(PaStream *, PaStreamFinishedCallback *);
    PaError (*start_stream)(PaStream *);
    PaError (*abort_stream)(PaStream *);
    PaError (*close_stream)(PaStream *);
    const char *(*error_text)(PaError);
    const PaHostErrorInfo *(*last_host_error)(void);
    PaError (*alsa_set_periods)(int); /* NULL where PortAudio was built without ALSA */
};

struct rva_portaudio_stream {
    rva_stream base;
    const rva_portaudio *portaudio;
    PaStream *pa_stream;
    rva_watch watch;
    uint32_t priority;
};

int rva_portaudio_bind(const char *path, rva_portaudio **out) {
    *out = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    rva_portaudio *portaudio = calloc(1, sizeof *portaudio);
    if (!library || !portaudio) {
        free(portaudio);
        return library ? RVA_ERROR_MEMORY : RVA_ERROR_LIBRARY;
    }
    const struct {
        const char *name;
        void *function; /* pointer to a function pointer: POSIX lets dlsym's result be stored through it */
    } symbols[] = {
        {"Pa_GetDeviceCount", &portaudio->device_count},
        {"Pa_GetDeviceInfo", &portaudio->device_info},
        {"Pa_GetHostApiInfo", &portaudio->host_api_info},
        {"Pa_IsFormatSupported", &portaudio->is_format_supported},
        {"Pa_OpenStream", &portaudio->open_stream},
        {"Pa_SetStreamFinishedCallback", &portaudio->set_finished},
        {"Pa_StartStream", &portaudio->start_stream},
        {"Pa_AbortStream", &portaudio->abort_stream},
        {"Pa_CloseStream", &portaudio->close_stream},
        {"Pa_GetErrorText", &portaudio->error_text},
        {"Pa_GetLastHostErrorInfo", &portaudio->last_host_error},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(library, symbols[i].name);
        if (!found) {
            free(portaudio);
            return RVA_ERROR_LIBRARY;
        }
        *(void **)symbols[i].function = found;
    }
    *(void **)&portaudio->alsa_set_periods = dlsym(library, "PaAlsa_SetNumPeriods");
    *out = portaudio;
    return RVA_OK;
}

void rva_portaudio_unbind(rva_portaudio *portaudio) { free(portaudio); }

/* Fills the stream parameters, or says which field cannot be. */
static int parameters_of(const rva_portaudio *portaudio, const rva_portaudio_config *config, PaStreamParameters *parameters) {
    static const PaSampleFormat formats[] = {0, paInt16, paInt24, paInt32, paFloat32, paUInt8};
    int count = portaudio->device_count();
    if (count < 0) return count;
    if (config->device < 0 || config->device >= count) return paInvalidDevice;
    if (config->format < RVA_FORMAT_S16 || config->format > RVA_FORMAT_U8) return RVA_ERROR_FORMAT;
    if (config->channels < 1 || config->channels > RVA_CHANNELS_MAX) return RVA_ERROR_CHANNELS;
    *parameters = (PaStreamParameters){
        .device = config->device,
        .channelCount = (int)config->channels,
        .sampleFormat = formats[config->format],
        .suggestedLatency = config->buffer_s,
    };
    return RVA_OK;
}

int rva_portaudio_probe(const rva_portaudio *portaudio, const rva_portaudio_config *config) {
    PaStreamParameters parameters;
    int code = parameters_of(portaudio, config, &parameters);
    return code ? code : portaudio->is_format_supported(&parameters, NULL, config->rate_hz);
}

RVA_REALTIME static int on_block(const void *input, void *output, unsigned long pa_frames,
                                 const PaStreamCallbackTimeInfo *time, PaStreamCallbackFlags flags, void *context) {
    (void)output;
    rva_portaudio_stream *stream = context;
    int64_t arrived_ns = rva_clock_ns();
    /* inputBufferAdcTime is of the block's first sample; hosts that do not know it leave it at 0. */
    double age_s = time->inputBufferAdcTime > 0
                       ? time->currentTime - time->inputBufferAdcTime - (double)pa_frames / stream->base.rate_hz
                       : (double)INFINITY;
    rva_watch_note(&stream->watch);
    if (input) rva_stream_block(&stream->base, input, pa_frames, arrived_ns, age_s, flags & paInputOverflow);
    return paContinue;
}

RVA_REALTIME static void on_finished(void *context) { rva_stream_finish(context, 0); }

static bool is_on_alsa(const rva_portaudio *portaudio, const rva_portaudio_config *config) {
    const PaDeviceInfo *device = portaudio->device_info(config->device);
    const PaHostApiInfo *host = device ? portaudio->host_api_info(device->hostApi) : NULL;
    return host && host->type == paALSA;
}

/* PortAudio takes a quarter of the latency for ALSA's period, which would make a 100 ms buffer deliver 30 ms bursts. The
 * number of periods is a setting of the whole process: set it for this open, and set it back. */
static void set_periods(const rva_portaudio *portaudio, const rva_portaudio_config *config, bool for_this_stream) {
    const int usual = 4;
    if (!portaudio->alsa_set_periods || !is_on_alsa(portaudio, config) || !config->block_samples) return;
    double block_s = (double)config->block_samples / config->rate_hz;
    int periods = (int)ceil(config->buffer_s / block_s * 1.2);
    portaudio->alsa_set_periods(for_this_stream && periods > usual ? periods : usual);
}

int rva_portaudio_open(const rva_portaudio *portaudio, rva_chain *chain, const rva_portaudio_config *config,
                       rva_portaudio_stream **out) {
    *out = NULL;
    PaStreamParameters parameters;
    int code = parameters_of(portaudio, config, &parameters);
    if (code) return code;
    rva_portaudio_stream *stream = calloc(1, sizeof *stream);
    if (!stream) return RVA_ERROR_MEMORY;
    rva_stream_init(&stream->base, chain, config->rate_hz, config->wake_fd, config->resume_ns);
    stream->portaudio = portaudio;
    stream->priority = is_on_alsa(portaudio, config) ? config->priority : 0;
    if (config->is_served && config->block_samples) {
        static const size_t sample_bytes[] = {0, 2, 3, 4, 4, 1};
        const size_t stride_bytes = sample_bytes[config->format] * config->channels;
        code = rva_stream_expect_server(&stream->base, config->block_samples, stride_bytes, config->keeps_time);
        if (code) {
            free(stream);
            return code;
        }
    }
    set_periods(portaudio, config, true);
    code = portaudio->open_stream(&stream->pa_stream, &parameters, NULL, config->rate_hz, config->block_samples,
                                  paClipOff | paDitherOff, on_block, stream);
    set_periods(portaudio, config, false);
    if (code == paNoError) {
        code = portaudio->set_finished(stream->pa_stream, on_finished);
        if (code != paNoError) portaudio->close_stream(stream->pa_stream);
    }
    if (code != paNoError) {
        rva_stream_close(&stream->base);
        free(stream);
        return code;
    }
    *out = stream;
    return RVA_OK;
}

int rva_portaudio_start(rva_portaudio_stream *stream) {
    sigset_t before;
    rva_thread_block_signals(&before); /* which PortAudio's thread inherits */
    const int code = stream->portaudio->start_stream(stream->pa_stream);
    rva_thread_allow_signals(&before);
    return code;
}

int rva_portaudio_watch(rva_portaudio_stream *stream, int64_t stall_ns) {
    rva_stream_watch(&stream->base, stall_ns);
    return stream->watch.is_running ? 0 : rva_watch_start(&stream->watch, &stream->base, stream->priority);
}

int rva_portaudio_close(rva_portaudio_stream *stream, rva_stream_statistics *last) {
    rva_watch_stop(&stream->watch);
    stream->portaudio->abort_stream(stream->pa_stream); /* an error here means that it runs no more */
    int code = stream->portaudio->close_stream(stream->pa_stream);
    if (code != paNoError) return code; /* PortAudio may still have it */
    rva_stream_close(&stream->base);
    rva_stream_read(&stream->base, last);
    free(stream);
    return code;
}

void rva_portaudio_statistics(const rva_portaudio_stream *stream, rva_stream_statistics *statistics) {
    rva_stream_read(&stream->base, statistics);
}

const char *rva_portaudio_error_text(const rva_portaudio *portaudio, int code) { return portaudio->error_text(code); }

const char *rva_portaudio_host_error(const rva_portaudio *portaudio, int64_t *code) {
    const PaHostErrorInfo *error = portaudio->last_host_error();
    *code = error ? error->errorCode : 0;
    return error && error->errorText ? error->errorText : "";
}
