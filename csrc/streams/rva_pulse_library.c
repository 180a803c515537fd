/* rva_pulse_library - loading libpulse (rva_pulse.h). */
#include "streams/rva_pulse_library.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "streams/rva_pulse.h"

int rva_pulse_bind(rva_pulse **out) {
    *out = NULL;
    void *library = dlopen("libpulse.so.0", RTLD_NOW | RTLD_LOCAL);
    rva_pulse *pulse = calloc(1, sizeof *pulse);
    if (!library || !pulse) {
        free(pulse);
        return library ? RVA_ERROR_MEMORY : RVA_ERROR_LIBRARY;
    }
    const struct {
        const char *name;
        void *function; /* pointer to a function pointer: POSIX lets dlsym's result be stored through it */
    } symbols[] = {
#define SYMBOL(name, result, parameters) {"pa_" #name, &pulse->name},
        RVA_PULSE_FUNCTIONS(SYMBOL)
#undef SYMBOL
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(library, symbols[i].name);
        if (!found) {
            free(pulse);
            return RVA_ERROR_LIBRARY;
        }
        *(void **)symbols[i].function = found;
    }
    *out = pulse;
    return RVA_OK;
}

void rva_pulse_unbind(rva_pulse *pulse) { free(pulse); }

const char *rva_pulse_error_text(const rva_pulse *pulse, int code) {
    return code <= RVA_ERROR_PULSE ? pulse->strerror(RVA_ERROR_PULSE - code) : rva_error_text(code);
}

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
static const int big = 1; /* each big-endian format follows its little-endian one */
#else
static const int big = 0;
#endif

enum { PULSE_U8 = 0, PULSE_S16 = 3, PULSE_FLOAT32 = 5, PULSE_S32 = 7, PULSE_S24 = 9, PULSE_S24_32 = 11 };

int rva_pulse_format(unsigned format) {
    switch (format) {
    case RVA_FORMAT_S16: return PULSE_S16 + big;
    case RVA_FORMAT_S24: return PULSE_S24 + big;
    case RVA_FORMAT_S32: return PULSE_S32 + big;
    case RVA_FORMAT_F32: return PULSE_FLOAT32 + big;
    case RVA_FORMAT_U8: return PULSE_U8;
    default: return -1;
    }
}

unsigned rva_pulse_format_of(int format) {
    switch (format) {
    case PULSE_U8: return RVA_FORMAT_U8;
    case PULSE_FLOAT32:
    case PULSE_FLOAT32 + 1: return RVA_FORMAT_F32;
    case PULSE_S24:
    case PULSE_S24 + 1: return RVA_FORMAT_S24;
    case PULSE_S32:
    case PULSE_S32 + 1:
    case PULSE_S24_32:
    case PULSE_S24_32 + 1: return RVA_FORMAT_S32;
    default: return RVA_FORMAT_S16; /* A-law and µ-law too */
    }
}
