/* A PortAudio that is made up: its one device sends a block of silence when the stream is started, and another while it is
 * being aborted, as one does whose sound server hangs and then goes on. */
#include <portaudio.h>
#include <stddef.h>

enum { BLOCK = 160 };

static PaStreamCallback *callback;
static void *context;

static PaError send_block(void) {
    static const short silence[BLOCK];
    const PaStreamCallbackTimeInfo unknown = {0};
    callback(silence, NULL, BLOCK, &unknown, 0, context);
    return paNoError;
}

PaDeviceIndex Pa_GetDeviceCount(void) { return 1; }
const PaDeviceInfo *Pa_GetDeviceInfo(PaDeviceIndex device) {
    (void)device;
    return NULL;
}
const PaHostApiInfo *Pa_GetHostApiInfo(PaHostApiIndex host) {
    (void)host;
    return NULL;
}
PaError Pa_IsFormatSupported(const PaStreamParameters *input, const PaStreamParameters *output, double rate_hz) {
    (void)input, (void)output, (void)rate_hz;
    return paNoError;
}
PaError Pa_OpenStream(PaStream **stream, const PaStreamParameters *input, const PaStreamParameters *output, double rate_hz,
                      unsigned long block, PaStreamFlags flags, PaStreamCallback *on_block, void *of_block) {
    (void)input, (void)output, (void)rate_hz, (void)block, (void)flags;
    *stream = &callback;
    callback = on_block;
    context = of_block;
    return paNoError;
}
PaError Pa_SetStreamFinishedCallback(PaStream *stream, PaStreamFinishedCallback *on_finished) {
    (void)stream, (void)on_finished;
    return paNoError;
}
PaError Pa_StartStream(PaStream *stream) {
    (void)stream;
    return send_block();
}
PaError Pa_AbortStream(PaStream *stream) {
    (void)stream;
    return send_block();
}
PaError Pa_CloseStream(PaStream *stream) {
    (void)stream;
    return paNoError;
}
const char *Pa_GetErrorText(PaError code) {
    (void)code;
    return "";
}
const PaHostErrorInfo *Pa_GetLastHostErrorInfo(void) { return NULL; }
