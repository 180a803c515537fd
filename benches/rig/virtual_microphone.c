/* A USB microphone without hardware: an ALSA capture plugin with a clock of its own.
 *
 * What it delivers is a function of the device's position (samples since it was started, on CLOCK_MONOTONIC), so that
 * a reader who comes too late finds samples missing, exactly as with hardware. In an asound.conf:
 *
 *   pcm_type.virtual_microphone { lib "/path/libasound_module_pcm_virtual_microphone.so" }
 *   pcm.mic {
 *       type virtual_microphone
 *       source "ramp"              # or the path of a 16 bit WAV file, played again and again
 *       rates "44100 48000"        formats "S16_LE S24_3LE S24_LE S32_LE FLOAT_LE"
 *       channels_min 1             channels_max 2
 *       ppm 0                      # by how much its clock is fast
 *       period_min 48              # samples of one 16 bit channel: it tells of sound no more often
 *       step 1                     # it tells its position in whole multiples of so many samples, as many cards do
 *       lasting 1                  # its position goes on while nobody has it open, instead of beginning anew
 *       control "/path/control"    # see below
 *       exclusive 1                # a second open is refused
 *       hint { show on  description "..." }
 *   }
 *
 * The control file's first word is what the device does, looked at when it is opened or polled, once a millisecond:
 *   ok                         works
 *   eacces | ebusy | enodev    opening fails with that error
 *   unplug                     what a USB microphone does: an overrun first, then no such device
 *   hup                        the driver hangs up: POLLERR and POLLHUP, and the state is "disconnected"
 *   stall                      no more samples, and no error
 *   suspend                    once: what a machine that slept finds: the device is suspended and must be prepared anew
 *   lose N                     once: nothing is heard for as long as N samples take, then an overrun is reported
 *
 * The ramp, for sample n of channel c: channel 0 is n, channel 1 is n / 32768, channel c is n (c + 1), each modulo 32768;
 * formats wider than 16 bits have 5n modulo 256 in the byte below. tests/device/ramp.py says the same in Python.
 */
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_MIN = 48, PERIOD_MAX = 9600, CHANNELS_MAX = 32, LIST_MAX = 16 };

typedef enum { WORKING, UNPLUGGED, HUNG_UP, STALLED } condition;

typedef struct {
    snd_pcm_ioplug_t io;
    int timer_fd, lock_fd;
    char control[512];
    struct timespec control_changed;
    int64_t look_again_ns; /* libasound asks some ten times a block, and a stat costs more than the rest */
    condition condition;
    bool unplug_was_overrun; /* the overrun that comes before an unplug has been reported */
    int64_t epoch_ns;        /* of the first start; 0 before it */
    int64_t start_at;        /* position of the first sample after the newest start */
    int64_t stalled_at;
    int64_t deaf_until_ns;   /* of lose; 0: not deaf */
    double ppm;
    long step;
    bool is_lasting;
    const int16_t *wav;
    int64_t wav_length;
    unsigned wav_channels;
} microphone;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Samples that the device has made since its first start. */
static int64_t position(const microphone *mic) {
    double elapsed_s = (double)(now_ns() - mic->epoch_ns) * 1e-9;
    return (int64_t)(elapsed_s * mic->io.rate * (1.0 + mic->ppm * 1e-6)) / mic->step * mic->step;
}

static void read_control(const char *path, char *word, size_t size, long *number) {
    *word = 0;
    *number = 0;
    int fd = *path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    char text[64] = {0};
    if (read(fd, text, sizeof text - 1) > 0) {
        char *rest = text;
        char *found = strsep(&rest, " \n");
        snprintf(word, size, "%s", found ? found : "");
        if (rest) *number = strtol(rest, NULL, 10);
    }
    close(fd);
}

static void look_at_control(microphone *mic) {
    struct stat status;
    int64_t asked_ns = now_ns();
    if (asked_ns < mic->look_again_ns) return;
    mic->look_again_ns = asked_ns + 1000000;
    if (!*mic->control || stat(mic->control, &status)) return;
    if (!memcmp(&status.st_mtim, &mic->control_changed, sizeof status.st_mtim)) return;
    mic->control_changed = status.st_mtim;
    char word[16];
    long number;
    read_control(mic->control, word, sizeof word, &number);
    if (!strcmp(word, "unplug") || !strcmp(word, "enodev")) {
        mic->condition = UNPLUGGED;
    } else if (!strcmp(word, "hup")) {
        mic->condition = HUNG_UP;
    } else if (!strcmp(word, "stall")) {
        if (mic->condition != STALLED) mic->stalled_at = position(mic);
        mic->condition = STALLED;
    } else {
        mic->condition = WORKING;
        if (!strcmp(word, "lose")) {
            mic->stalled_at = position(mic);
            mic->deaf_until_ns = now_ns() + (int64_t)(1e9 * (double)number / mic->io.rate);
        }
        if (!strcmp(word, "suspend") && mic->io.state == SND_PCM_STATE_RUNNING) mic->io.state = SND_PCM_STATE_SUSPENDED;
    }
}

static bool is_gone(const microphone *mic) { return mic->condition == UNPLUGGED || mic->condition == HUNG_UP; }

static int on_prepare(snd_pcm_ioplug_t *io) {
    microphone *mic = io->private_data;
    look_at_control(mic);
    return is_gone(mic) ? -ENODEV : 0;
}

static int on_start(snd_pcm_ioplug_t *io) {
    microphone *mic = io->private_data;
    look_at_control(mic);
    if (is_gone(mic)) return -ENODEV;
    if (!mic->epoch_ns) mic->epoch_ns = mic->is_lasting ? 1 : now_ns();
    mic->start_at = position(mic); /* what was before is gone, as in hardware that was stopped */
    int64_t period_ns = (int64_t)(1e9 * (double)io->period_size / io->rate / (1.0 + mic->ppm * 1e-6));
    struct timespec period = {period_ns / 1000000000, period_ns % 1000000000};
    struct itimerspec timer = {period, period};
    return timerfd_settime(mic->timer_fd, 0, &timer, NULL) ? -errno : 0;
}

static int on_stop(snd_pcm_ioplug_t *io) {
    microphone *mic = io->private_data;
    struct itimerspec never = {{0, 0}, {0, 0}};
    return timerfd_settime(mic->timer_fd, 0, &never, NULL) ? -errno : 0;
}

/* Position of the next sample that the application will read. Its pointer begins at 0 with each start. */
static int64_t read_at(const microphone *mic) { return mic->start_at + (int64_t)mic->io.appl_ptr; }

/* The hardware pointer: samples that the device has made since it was started. */
static snd_pcm_sframes_t on_pointer(snd_pcm_ioplug_t *io) {
    microphone *mic = io->private_data;
    look_at_control(mic);
    bool is_deaf = mic->deaf_until_ns && now_ns() < mic->deaf_until_ns;
    int64_t written = is_deaf || mic->condition == STALLED ? mic->stalled_at : position(mic);
    switch (mic->condition) {
    case UNPLUGGED:
        if (!mic->unplug_was_overrun) {
            mic->unplug_was_overrun = true;
            return -EPIPE;
        }
        io->state = SND_PCM_STATE_DISCONNECTED;
        return -ENODEV;
    case HUNG_UP:
        io->state = SND_PCM_STATE_DISCONNECTED;
        return -ENODEV;
    default: break;
    }
    bool was_deaf = mic->deaf_until_ns && !is_deaf;
    if (was_deaf) mic->deaf_until_ns = 0;
    if (was_deaf || written - read_at(mic) > (int64_t)io->buffer_size) return -EPIPE;
    return (snd_pcm_sframes_t)(written - mic->start_at);
}

static int32_t sample_of(const microphone *mic, int64_t at, unsigned channel) { /* 16 bits */
    if (mic->wav) return mic->wav[(at % mic->wav_length) * mic->wav_channels + channel % mic->wav_channels];
    int64_t value = channel == 0 ? at : channel == 1 ? at >> 15 : at * (channel + 1);
    return (int32_t)(value & 0x7fff);
}

static void write_sample(snd_pcm_format_t format, char *to, int32_t value24) {
    int16_t value16 = (int16_t)(value24 >> 8);
    int32_t value32 = (int32_t)((uint32_t)value24 << 8);
    float real = (float)value24 / 8388608.0f;
    switch (format) {
    case SND_PCM_FORMAT_S16_LE: memcpy(to, &value16, 2); break;
    case SND_PCM_FORMAT_S24_3LE: memcpy(to, &value24, 3); break;
    case SND_PCM_FORMAT_S24_LE: /* the highest byte means nothing */
        value32 = (int32_t)(((uint32_t)value24 & 0xffffff) | 0x5a000000);
        memcpy(to, &value32, 4);
        break;
    case SND_PCM_FORMAT_S32_LE: memcpy(to, &value32, 4); break;
    case SND_PCM_FORMAT_FLOAT_LE: memcpy(to, &real, 4); break;
    default: break;
    }
}

static snd_pcm_sframes_t on_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas, snd_pcm_uframes_t offset,
                                     snd_pcm_uframes_t size) {
    microphone *mic = io->private_data;
    if (is_gone(mic)) return -ENODEV;
    bool is_mapped = io->access == SND_PCM_ACCESS_MMAP_INTERLEAVED || io->access == SND_PCM_ACCESS_MMAP_NONINTERLEAVED;
    /* A mapped buffer must hold all that is available, beyond its end too, and may be filled more than once. */
    snd_pcm_uframes_t count = is_mapped ? io->hw_ptr - io->appl_ptr : size;
    for (unsigned channel = 0; channel < io->channels; channel++) {
        const snd_pcm_channel_area_t *area = &areas[channel];
        for (snd_pcm_uframes_t i = 0; i < count; i++) {
            snd_pcm_uframes_t slot = is_mapped ? (offset + i) % io->buffer_size : offset + i;
            char *to = (char *)area->addr + (area->first + area->step * slot) / 8;
            int64_t at = read_at(mic) + (int64_t)i;
            int32_t fine = mic->wav ? 0 : (int32_t)(5 * at & 0xff);
            write_sample(io->format, to, (int32_t)((uint32_t)sample_of(mic, at, channel) << 8 | (uint32_t)fine));
        }
    }
    return (snd_pcm_sframes_t)size;
}

static int on_poll(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned count, unsigned short *events) {
    (void)count;
    microphone *mic = io->private_data;
    *events = 0;
    uint64_t ticks;
    if (fds[0].revents & POLLIN && read(mic->timer_fd, &ticks, sizeof ticks) > 0) *events = POLLIN;
    look_at_control(mic);
    if (mic->condition == STALLED) *events = 0;
    if (io->state == SND_PCM_STATE_SUSPENDED) *events = POLLERR;
    if (mic->condition == HUNG_UP || (mic->condition == UNPLUGGED && mic->unplug_was_overrun)) {
        io->state = SND_PCM_STATE_DISCONNECTED;
        *events = POLLERR | POLLHUP;
    }
    return 0;
}

static void release(microphone *mic) {
    if (mic->timer_fd >= 0) close(mic->timer_fd);
    if (mic->lock_fd >= 0) close(mic->lock_fd);
    free(mic);
}

static int on_close(snd_pcm_ioplug_t *io) {
    release(io->private_data);
    return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
    .start = on_start,
    .stop = on_stop,
    .pointer = on_pointer,
    .transfer = on_transfer,
    .prepare = on_prepare,
    .poll_revents = on_poll,
    .close = on_close,
};

/* Maps a 16 bit PCM WAV file and finds its samples. */
static int map_wav(microphone *mic, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status)) return -errno;
    size_t size = (size_t)status.st_size;
    const unsigned char *file = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (file == MAP_FAILED || size < 44 || memcmp(file, "RIFF", 4)) return -EINVAL;
    for (size_t at = 12; at + 8 <= size;) {
        uint32_t length;
        memcpy(&length, file + at + 4, 4);
        if (!memcmp(file + at, "fmt ", 4)) mic->wav_channels = file[at + 10];
        at += 8;
        if (!memcmp(file + at - 8, "data", 4)) {
            if (!mic->wav_channels) return -EINVAL;
            if (length > size - at) length = (uint32_t)(size - at);
            mic->wav = (const int16_t *)(file + at);
            mic->wav_length = length / 2 / mic->wav_channels;
            return mic->wav_length ? 0 : -EINVAL;
        }
        at += length + (length & 1);
    }
    return -EINVAL;
}

static int error_of(const char *word) {
    if (!strcmp(word, "eacces")) return -EACCES;
    if (!strcmp(word, "ebusy")) return -EBUSY;
    if (!strcmp(word, "enodev") || !strcmp(word, "unplug") || !strcmp(word, "hup")) return -ENODEV;
    return 0;
}

static int offer(microphone *mic, const char *rates, const char *formats, long channels_min, long channels_max,
                 long period_min) {
    static const unsigned access[] = {SND_PCM_ACCESS_RW_INTERLEAVED, SND_PCM_ACCESS_RW_NONINTERLEAVED,
                                      SND_PCM_ACCESS_MMAP_INTERLEAVED, SND_PCM_ACCESS_MMAP_NONINTERLEAVED};
    unsigned rate_list[LIST_MAX], rate_count = 0, format_list[LIST_MAX], format_count = 0;
    char *end;
    for (const char *at = rates; rate_count < LIST_MAX; at = end) {
        unsigned long rate = strtoul(at, &end, 10);
        if (end == at) break;
        rate_list[rate_count++] = (unsigned)rate;
    }
    char copy[256];
    snprintf(copy, sizeof copy, "%s", formats);
    char *rest = copy;
    for (char *name; (name = strsep(&rest, " ")) && format_count < LIST_MAX;) {
        snd_pcm_format_t format = snd_pcm_format_value(name);
        if (format != SND_PCM_FORMAT_UNKNOWN) format_list[format_count++] = (unsigned)format;
    }
    snd_pcm_ioplug_t *io = &mic->io;
    int code = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 4, access);
    if (code >= 0) code = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, format_count, format_list);
    if (code >= 0) code = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_RATE, rate_count, rate_list);
    if (code >= 0)
        code = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, (unsigned)channels_min, (unsigned)channels_max);
    if (code >= 0)
        code = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, (unsigned)period_min * 2, PERIOD_MAX * 4 * CHANNELS_MAX);
    if (code >= 0) code = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 64);
    return code;
}

SND_PCM_PLUGIN_DEFINE_FUNC(virtual_microphone) {
    (void)root;
    const char *source = "ramp", *control = "", *rates = "48000", *formats = "S16_LE";
    long channels_min = 1, channels_max = 2, exclusive = 0, ppm = 0, step = 1, lasting = 0, period_min = PERIOD_MIN;
    const struct {
        const char *name;
        const char **text;
        long *number;
    } fields[] = {
        {"source", &source, NULL},        {"control", &control, NULL},      {"rates", &rates, NULL},
        {"formats", &formats, NULL},      {"exclusive", NULL, &exclusive},  {"channels_min", NULL, &channels_min},
        {"channels_max", NULL, &channels_max}, {"ppm", NULL, &ppm},             {"step", NULL, &step},
        {"lasting", NULL, &lasting},           {"period_min", NULL, &period_min},
    };
    snd_config_iterator_t at, next;
    snd_config_for_each(at, next, conf) {
        snd_config_t *node = snd_config_iterator_entry(at);
        const char *id;
        if (snd_config_get_id(node, &id) < 0) continue;
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            if (strcmp(id, fields[i].name)) continue;
            if (fields[i].text) snd_config_get_string(node, fields[i].text);
            else snd_config_get_integer(node, fields[i].number);
        }
    }
    if (stream != SND_PCM_STREAM_CAPTURE) return -ENOENT;
    char word[16];
    long number;
    read_control(control, word, sizeof word, &number);
    if (error_of(word)) return error_of(word);

    microphone *mic = calloc(1, sizeof *mic);
    if (!mic) return -ENOMEM;
    mic->lock_fd = mic->timer_fd = -1;
    mic->is_lasting = lasting != 0;
    mic->ppm = (double)ppm;
    mic->step = step;
    snprintf(mic->control, sizeof mic->control, "%s", control);
    struct stat status; /* what the file says already does not happen again: lose is for running streams */
    if (!stat(control, &status)) mic->control_changed = status.st_mtim;
    if (!strcmp(word, "stall")) mic->condition = STALLED;
    int code = 0;
    if (exclusive) {
        char lock[600];
        snprintf(lock, sizeof lock, "%s.lock", control); /* one for all names that an asound.conf gives it */
        mic->lock_fd = open(lock, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
        if (mic->lock_fd < 0 || flock(mic->lock_fd, LOCK_EX | LOCK_NB)) code = -EBUSY;
    }
    if (!code && *source == '/') code = map_wav(mic, source);
    if (!code && (mic->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) < 0) code = -errno;
    if (code) {
        release(mic);
        return code;
    }
    mic->io = (snd_pcm_ioplug_t){
        .version = SND_PCM_IOPLUG_VERSION,
        .name = "Virtual USB microphone",
        .callback = &callbacks,
        .private_data = mic,
        .poll_fd = mic->timer_fd,
        .poll_events = POLLIN,
        .flags = SND_PCM_IOPLUG_FLAG_MONOTONIC | SND_PCM_IOPLUG_FLAG_BOUNDARY_WA,
    };
    code = snd_pcm_ioplug_create(&mic->io, name, stream, mode);
    if (code < 0) {
        release(mic);
        return code;
    }
    code = offer(mic, rates, formats, channels_min, channels_max, period_min);
    if (code < 0) {
        snd_pcm_ioplug_delete(&mic->io); /* calls on_close */
        return code;
    }
    *pcmp = mic->io.pcm;
    return 0;
}
SND_PCM_PLUGIN_SYMBOL(virtual_microphone);
