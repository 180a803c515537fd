/* The device: its sound, its descriptors, and its answers to control requests. */
#include "usb_microphone.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct microphone is = {.rates = {16000, 44100, 48000}, .rate_count = 3, .channels = 1, .bits = 16, .vendor = 0x2886, .product = 0x18,
                        .late_ms = 100, .batch_ms = 4, .maker = "SEEED", .name = "ReSpeaker 4 Mic Array (UAC1.0)", .serial = ""};
unsigned rate, alternate, configuration, mute;
int16_t volume;
bool runs;
double epoch;
static char signal_name[256] = "ramp";
static int16_t *table;
static size_t table_frames;
static unsigned table_rate;

double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void say(const char *format, ...) {
    va_list arguments;
    printf("%.3f ", now_s() - epoch);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

void set_signal(const char *name) {
    snprintf(signal_name, sizeof signal_name, "%s", name);
    table_rate = 0;
}

/* ---- the sound ---- */

static void make_table(void) {
    free(table);
    table = NULL;
    table_frames = 0;
    table_rate = rate;
    if (!strncmp(signal_name, "sine:", 5)) {
        const double hz = atof(signal_name + 5);
        table = malloc((table_frames = rate) * sizeof *table);
        for (size_t n = 0; n < table_frames; n++) table[n] = (int16_t)lrint(16384 * sin(2 * M_PI * hz * (double)n / rate));
    } else if (strchr(signal_name, '/')) {
        FILE *file = fopen(signal_name, "rb");
        if (!file) { say("%s: %s", signal_name, strerror(errno)); return; }
        fseek(file, 0, SEEK_END);
        table_frames = (size_t)ftell(file) / 2;
        rewind(file);
        table = malloc(table_frames * 2 + 2);
        table_frames = fread(table, 2, table_frames, file);
        fclose(file);
    }
}

static int16_t sample(uint64_t n) {
    if (mute) return 0;
    if (table_frames) return table[n % table_frames];
    if (signal_name[0] == 'r') return (int16_t)(uint16_t)n;
    if (signal_name[0] == 'n') { /* noise: a hash of the position */
        uint64_t x = n * 0x9E3779B97F4A7C15u;
        x ^= x >> 31; x *= 0xBF58476D1CE4E5B9u; x ^= x >> 27;
        return (int16_t)((int)(x >> 48 & 8191) - 4096);
    }
    return 0;
}

size_t put_sound(unsigned char *to, uint64_t from, uint64_t until) {
    const unsigned bytes = is.bits / 8;
    if (table_rate != rate) make_table();
    unsigned char *at = to;
    for (uint64_t n = from; n < until; n++) {
        const int32_t value = (int32_t)((uint32_t)(int32_t)sample(n) << (is.bits - 16));
        for (unsigned c = 0; c < is.channels; c++)
            for (unsigned b = 0; b < bytes; b++) *at++ = (unsigned char)((uint32_t)value >> (8 * b));
    }
    return (size_t)(at - to);
}

/* ---- what it is ---- */

static unsigned char *add(unsigned char *at, const void *data, size_t size) { memcpy(at, data, size); return at + size; }
#define ADD(...) at = add(at, (unsigned char[]){__VA_ARGS__}, sizeof((unsigned char[]){__VA_ARGS__}))
#define LE16(x) (unsigned char)(x), (unsigned char)((x) >> 8)

static size_t device_descriptor(unsigned char *to) {
    unsigned char *at = to;
    ADD(18, 1, LE16(0x0110), 0, 0, 0, 64, LE16(is.vendor), LE16(is.product), LE16(0x0100), 1, 2, is.serial[0] ? 3 : 0, 1);
    return (size_t)(at - to);
}

static size_t configuration_descriptor(unsigned char *to) {
    unsigned char *at = to;
    const unsigned bytes = is.bits / 8, feature = 8 + is.channels, units = 12 + feature + 9;
    unsigned top = 0;
    for (unsigned i = 0; i < is.rate_count; i++) top = is.rates[i] > top ? is.rates[i] : top;
    const unsigned packet = (top / 1000 + 1 + (top % 1000 != 0)) * is.channels * bytes;
    if (packet > 1023) { fprintf(stderr, "usbmic: more than full speed carries\n"); exit(2); }
    ADD(9, 2, 0, 0, 2, 1, 0, 0x80, 50);
    ADD(9, 4, 0, 0, 0, 1, 1, 0, 0);                                    /* audio control */
    ADD(9, 0x24, 1, LE16(0x0100), LE16(9 + units), 1, 1);
    ADD(12, 0x24, 2, 1, LE16(0x0201), 0, (unsigned char)is.channels, 0, 0, 0, 0); /* 1: a microphone */
    ADD((unsigned char)feature, 0x24, 6, 2, 1, 1, 3);                  /* 2: its mute and volume */
    for (unsigned c = 0; c <= is.channels; c++) ADD(0);
    ADD(9, 0x24, 3, 3, LE16(0x0101), 0, 2, 0);                         /* 3: to the host */
    ADD(9, 4, 1, 0, 0, 1, 2, 0, 0);                                    /* audio streaming: off, on */
    ADD(9, 4, 1, 1, 1, 1, 2, 0, 0);
    ADD(7, 0x24, 1, 3, 1, LE16(1));
    ADD((unsigned char)(8 + 3 * is.rate_count), 0x24, 2, 1, (unsigned char)is.channels, (unsigned char)bytes, (unsigned char)is.bits,
        (unsigned char)is.rate_count);
    for (unsigned i = 0; i < is.rate_count; i++) ADD(LE16(is.rates[i]), (unsigned char)(is.rates[i] >> 16));
    ADD(9, 5, 0x81, 5, LE16(packet), 1, 0, 0);                         /* isochronous, asynchronous, each ms */
    ADD(7, 0x25, 1, 1, 0, LE16(0));
    const size_t size = (size_t)(at - to);
    to[2] = (unsigned char)size;
    to[3] = (unsigned char)(size >> 8);
    return size;
}

static size_t string_descriptor(unsigned char *to, unsigned number) {
    const char *texts[] = {NULL, is.maker, is.name, is.serial};
    if (number > 3) return 0;
    unsigned char *at = to + 2;
    if (number == 0) ADD(9, 4);
    else for (const char *c = texts[number]; *c; c++) ADD((unsigned char)*c, 0);
    to[0] = (unsigned char)(at - to);
    to[1] = 3;
    return (size_t)(at - to);
}

/* ---- control requests: how many bytes are the answer, -1 to stall ---- */

int control(const unsigned char *setup, const unsigned char *data, size_t size, unsigned char *to) {
    const unsigned kind = setup[0], what = setup[1], value = setup[2] | setup[3] << 8, index = setup[4] | setup[5] << 8;
    if ((kind & 0x60) == 0) switch (what) {
        case 6: switch (value >> 8) {
            case 1: return (int)device_descriptor(to);
            case 2: return (int)configuration_descriptor(to);
            case 3: { size_t n = string_descriptor(to, value & 255); return n ? (int)n : -1; }
            default: return -1;
        }
        case 0: to[0] = to[1] = 0; return 2;
        case 1: case 3: return 0;
        case 8: to[0] = (unsigned char)configuration; return 1;
        case 9: configuration = value; return 0;
        case 10: to[0] = (unsigned char)(index == 1 ? alternate : 0); return 1;
        case 11:
            if (index == 1) { alternate = value; runs = false; say("alternate %u", value); }
            return 0;
        default: return -1;
    }
    if ((kind & 0x7f) == 0x21 && index >> 8 == 2 && value >> 8 == 1) { /* mute */
        if (what == 1 && size >= 1) { mute = data[0]; say("mute %u", mute); return 0; }
        if (what == 0x81) { to[0] = (unsigned char)mute; return 1; }
    }
    if ((kind & 0x7f) == 0x21 && index >> 8 == 2 && value >> 8 == 2) { /* volume: -30 to 12 dB by 1 dB */
        if (what == 1 && size >= 2) { volume = (int16_t)(data[0] | data[1] << 8); return 0; }
        const int16_t values[] = {volume, -30 * 256, 12 * 256, 256};
        if (what >= 0x81 && what <= 0x84) { memcpy(to, &values[what - 0x81], 2); return 2; } /* little-endian machines */
    }
    if ((kind & 0x7f) == 0x22 && value >> 8 == 1) { /* rate */
        if (what == 0x81) { to[0] = (unsigned char)rate; to[1] = (unsigned char)(rate >> 8); to[2] = (unsigned char)(rate >> 16); return 3; }
        if (what == 1 && size >= 3) {
            const unsigned asked = data[0] | data[1] << 8 | (unsigned)data[2] << 16;
            for (unsigned i = 0; i < is.rate_count; i++)
                if (is.rates[i] == asked) { rate = asked; runs = false; say("rate %u", rate); return 0; }
        }
    }
    return -1;
}
