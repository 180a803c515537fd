/* rva_alsa_library - loading libasound, and asking a device what it can do (rva_alsa.h). */
#include <dlfcn.h>
#include <stdlib.h>

#include "streams/rva_alsa.h"
#include "streams/rva_alsa_library.h"

int rva_alsa_bind(rva_alsa **out) {
    *out = NULL;
    void *library = dlopen("libasound.so.2", RTLD_NOW | RTLD_LOCAL);
    rva_alsa *alsa = calloc(1, sizeof *alsa);
    if (!library || !alsa) {
        free(alsa);
        return library ? RVA_ERROR_MEMORY : RVA_ERROR_LIBRARY;
    }
    const struct {
        const char *name;
        void *function; /* pointer to a function pointer: POSIX lets dlsym's result be stored through it */
    } symbols[] = {
#define SYMBOL(name, result, parameters) {"snd_pcm_" #name, &alsa->name},
        RVA_ALSA_FUNCTIONS(SYMBOL)
#undef SYMBOL
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(library, symbols[i].name);
        if (!found) {
            free(alsa);
            return RVA_ERROR_LIBRARY;
        }
        *(void **)symbols[i].function = found;
    }
    *out = alsa;
    return RVA_OK;
}

void rva_alsa_unbind(rva_alsa *alsa) { free(alsa); }

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
static const int big = 1; /* each big-endian format follows its little-endian one */
#else
static const int big = 0;
#endif

int rva_alsa_format_24_in_32(void) { return 6 + big; }

int rva_alsa_format(unsigned format) {
    switch (format) {
    case RVA_FORMAT_S16: return 2 + big;
    case RVA_FORMAT_S24: return 32 + big; /* S24_3LE */
    case RVA_FORMAT_S32: return 10 + big;
    case RVA_FORMAT_F32: return 14 + big;
    case RVA_FORMAT_U8: return 1;
    default: return -1;
    }
}

int rva_alsa_probe(const rva_alsa *alsa, const char *name, rva_alsa_abilities *abilities) {
    static const unsigned usual_hz[RVA_ALSA_RATES] = {8000,  11025, 12000, 16000, 22050,  24000, 32000,
                                                      44100, 48000, 88200, 96000, 176400, 192000};
    snd_pcm *pcm;
    snd_pcm_hw_params *params = NULL;
    int code = alsa->open(&pcm, name, SND_STREAM_CAPTURE, SND_NONBLOCK);
    if (code < 0) return RVA_ERROR_SYSTEM + code;
    *abilities = (rva_alsa_abilities){.is_hardware = alsa->type(pcm) == SND_TYPE_HW};
    code = alsa->hw_params_malloc(&params);
    if (code >= 0) code = alsa->hw_params_any(pcm, params);
    if (code >= 0) {
        alsa->hw_params_set_rate_resample(pcm, params, 0);
        alsa->hw_params_get_channels_min(params, &abilities->channels_min);
        alsa->hw_params_get_channels_max(params, &abilities->channels_max);
        alsa->hw_params_get_rate_min(params, &abilities->rate_min_hz, NULL);
        alsa->hw_params_get_rate_max(params, &abilities->rate_max_hz, NULL);
        alsa->hw_params_get_period_time_min(params, &abilities->period_min_us, NULL);
        for (unsigned format = RVA_FORMAT_S16; format <= RVA_FORMAT_U8; format++)
            if (alsa->hw_params_test_format(pcm, params, rva_alsa_format(format)) == 0) abilities->formats |= 1u << format;
        if (alsa->hw_params_test_format(pcm, params, rva_alsa_format_24_in_32()) == 0)
            abilities->formats |= 1u << RVA_FORMAT_S32;
        unsigned found = 0;
        for (unsigned i = 0; i < RVA_ALSA_RATES; i++)
            if (alsa->hw_params_test_rate(pcm, params, usual_hz[i], 0) == 0) abilities->rates_hz[found++] = usual_hz[i];
        unsigned low_hz = RVA_RATE_MIN_HZ, high_hz = RVA_RATE_MAX_HZ, near_hz = 48000; /* of unusual ones */
        if (!found && alsa->hw_params_set_rate_min(pcm, params, &low_hz, NULL) == 0 &&
            alsa->hw_params_set_rate_max(pcm, params, &high_hz, NULL) == 0 &&
            alsa->hw_params_set_rate_near(pcm, params, &near_hz, NULL) == 0)
            abilities->rates_hz[0] = near_hz;
    }
    if (params) alsa->hw_params_free(params);
    alsa->close(pcm);
    return code < 0 ? RVA_ERROR_SYSTEM + code : RVA_OK;
}
