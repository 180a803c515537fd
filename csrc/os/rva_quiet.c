/* rva_quiet - handlers of messages that do nothing (rva_quiet.h). */
#include "os/rva_quiet.h"

#include <dlfcn.h>
#include <stddef.h>

/* alsa/error.h: snd_lib_error_handler_t; jack/jack.h: jack_set_error_function, jack_set_info_function;
 * portaudio's pa_debugprint.h: PaUtilLogCallback. */
typedef void (*alsa_handler)(const char *file, int line, const char *function, int error, const char *format, ...);
typedef void (*text_handler)(const char *text);

static void ignore_alsa(const char *file, int line, const char *function, int error, const char *format, ...) {
    (void)file, (void)line, (void)function, (void)error, (void)format;
}

static void ignore_text(const char *text) { (void)text; }

/* A library that is loaded already, or NULL. It stays loaded: who set a handler in it must not lose it. */
static void *loaded(const char *name) { return dlopen(name, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD); }

/* Pointers to functions by dlsym, as POSIX lets them be stored. */
#define LOOK_UP(function, library, name) *(void **)(&(function)) = dlsym(library, name)

static void quiet_alsa(void *library) {
    int (*set)(alsa_handler);
    LOOK_UP(set, library, "snd_lib_error_set_handler");
    const alsa_handler *handler = dlsym(library, "snd_lib_error");
    if (!set) return;
    const alsa_handler before = handler ? *handler : NULL;
    set(NULL); /* which sets the library's own */
    const alsa_handler usual = handler ? *handler : NULL;
    set(before == usual || !before ? ignore_alsa : before);
}

/* `set` is one of libjack's, and `handler` the name of the variable that it sets. */
static void quiet_jack(void *library, const char *set_name, const char *handler_name) {
    void (*set)(text_handler);
    LOOK_UP(set, library, set_name);
    const text_handler *handler = dlsym(library, handler_name);
    if (!set) return;
    const text_handler before = handler ? *handler : NULL;
    set(NULL);
    const text_handler usual = handler ? *handler : NULL;
    set(before == usual || !before ? ignore_text : before);
}

void rva_quiet_libraries(void) {
    void *library;
    if ((library = loaded("libasound.so.2"))) quiet_alsa(library);
    if ((library = loaded("libjack.so.0"))) {
        quiet_jack(library, "jack_set_error_function", "jack_error_callback");
        quiet_jack(library, "jack_set_info_function", "jack_info_callback");
    }
    if ((library = loaded("libportaudio.so.2"))) {
        void (*set)(text_handler);
        LOOK_UP(set, library, "PaUtil_SetDebugPrintFunction");
        if (set) set(ignore_text);
    }
}
