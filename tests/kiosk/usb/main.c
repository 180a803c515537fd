/* The bus: usbip's protocol over a socket pair to the kernel's vhci-hcd; and the commands. */
#include "usb_microphone.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>

#define CONTROL "/run/usb_microphone.sock"
#define VHCI "/sys/devices/platform/vhci_hcd.0/"
enum { SUBMIT = 1, UNLINK = 2, QUEUE_MAX = 64, PACKETS_MAX = 16 };

typedef struct { uint32_t seqnum, count, lengths[PACKETS_MAX]; } request;
static request queue[QUEUE_MAX];
static unsigned queued;
static int usb = -1;
static unsigned char in[1 << 17], out[1 << 18];
static size_t in_size, out_size;
static double start, ppm, hold_until, freeze_until, plug_at;
static uint64_t next_ms, base, urbs, frames, lost_ms;
static unsigned drop, fail, starts;

/* ---- the bus ---- */

static double ms_s(void) { return 0.001 / (1 + ppm * 1e-6); }

static void unplug(const char *why) {
    if (usb < 0) return;
    close(usb);
    usb = -1;
    queued = 0;
    runs = false;
    say("unplugged: %s", why);
}

static void flush_out(void) {
    while (out_size && usb >= 0) {
        ssize_t n = send(usb, out, out_size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n < 0) { unplug("the kernel hung up"); return; }
        memmove(out, out + n, out_size - (size_t)n);
        out_size -= (size_t)n;
    }
}

static void put32(unsigned char *at, uint32_t value) { value = htonl(value); memcpy(at, &value, 4); }
static uint32_t get32(const unsigned char *at) { uint32_t value; memcpy(&value, at, 4); return ntohl(value); }

static unsigned char *head(uint32_t command, uint32_t seqnum, int32_t status, uint32_t actual, uint32_t packets, uint32_t errors) {
    if (out_size + 8192 > sizeof out) { unplug("the kernel reads nothing"); return NULL; }
    unsigned char *at = out + out_size;
    memset(at, 0, 48);
    put32(at, command);
    put32(at + 4, seqnum);
    put32(at + 20, (uint32_t)status);
    put32(at + 24, actual);
    put32(at + 32, packets);
    put32(at + 36, errors);
    out_size += 48;
    return at;
}

static uint64_t position(uint64_t ms) { return base + ms * rate / 1000; }

static void complete(const request *r) {
    unsigned char *at = head(3, r->seqnum, 0, 0, r->count, 0);
    if (!at) return;
    unsigned char descriptors[16 * PACKETS_MAX];
    uint32_t offset = 0, errors = 0, actual = 0;
    const bool fails = fail && fail--;
    for (uint32_t i = 0; i < r->count; i++, next_ms++) {
        uint32_t size = 0;
        const bool is_lost = fails || (drop && drop--);
        if (!is_lost) {
            size = (uint32_t)put_sound(out + out_size, position(next_ms), position(next_ms + 1));
            if (size > r->lengths[i]) size = r->lengths[i];
            frames += position(next_ms + 1) - position(next_ms);
        }
        errors += is_lost;
        out_size += size;
        actual += size;
        put32(descriptors + 16 * i, offset);
        put32(descriptors + 16 * i + 4, r->lengths[i]);
        put32(descriptors + 16 * i + 8, size);
        put32(descriptors + 16 * i + 12, is_lost ? (uint32_t)-EILSEQ : 0);
        offset += r->lengths[i];
    }
    memcpy(out + out_size, descriptors, 16 * r->count);
    out_size += 16 * r->count;
    put32(at + 20, fails ? (uint32_t)-EPROTO : 0);
    put32(at + 24, actual);
    put32(at + 36, errors);
    urbs++;
}

/* When there is something to answer; 1e18: nothing is asked for. */
static double due_s(void) {
    if (!queued || !runs) return 1e18;
    unsigned group = is.batch_ms < queued ? is.batch_ms : queued;
    uint64_t packets = 0;
    for (unsigned i = 0; i < group; i++) packets += queue[i].count;
    const double when = start + (double)(next_ms + packets) * ms_s();
    return when > hold_until ? when : hold_until;
}

static void turn(double now) {
    if (!runs || now < hold_until) return;
    if (freeze_until > 0 && now >= freeze_until) { /* what came meanwhile is lost */
        const int64_t behind = (int64_t)((now - start) / ms_s()) - (int64_t)next_ms;
        if (behind > 0) { next_ms += (uint64_t)behind; lost_ms += (uint64_t)behind; say("frozen: %lld ms are lost", (long long)behind); }
        freeze_until = 0;
    }
    if (now < due_s()) return;
    unsigned done = 0;
    for (; done < queued; done++) {
        const request *r = &queue[done];
        const double when = start + (double)(next_ms + r->count) * ms_s();
        if (when > now) break;
        const int64_t late = (int64_t)((now - when) / ms_s());
        if (is.late_ms == 0 && late > 12) start += (double)(late - 12) * ms_s(); /* the device's clock has waited */
        else if (is.late_ms && late > (int64_t)is.late_ms) {
            next_ms += (uint64_t)late;
            lost_ms += (uint64_t)late;
            say("lost %lld ms: nobody had asked", (long long)late);
        }
        complete(r);
        if (usb < 0) return;
    }
    memmove(queue, queue + done, (queued - done) * sizeof *queue);
    queued -= done;
    flush_out();
}

/* Takes one whole request of the kernel's from `in`; false when there is none. */
static bool take(void) {
    if (in_size < 48) return false;
    const uint32_t command = get32(in), seqnum = get32(in + 4), direction = get32(in + 12), endpoint = get32(in + 16);
    size_t need = 48;
    if (command == UNLINK) {
        const uint32_t wanted = get32(in + 20);
        bool was = false;
        for (unsigned i = 0; i < queued && !was; i++)
            if (queue[i].seqnum == wanted) {
                memmove(queue + i, queue + i + 1, (--queued - i) * sizeof *queue);
                was = true;
            }
        head(4, seqnum, was ? -ECONNRESET : 0, 0, 0, 0);
    } else {
        const uint32_t length = get32(in + 24), packets = get32(in + 32);
        const bool isochronous = endpoint == 1;
        const unsigned char *setup = in + 40, *data = in + 48;
        if (direction == 0) need += length;
        if (isochronous) need += 16 * (size_t)packets;
        if (need > sizeof in) { unplug("a request that is too large"); return false; }
        if (in_size < need) return false;
        if (isochronous) {
            if (queued == QUEUE_MAX || packets > PACKETS_MAX) { unplug("too many requests"); return false; }
            request *r = &queue[queued++];
            *r = (request){.seqnum = seqnum, .count = packets};
            for (uint32_t i = 0; i < packets; i++) r->lengths[i] = get32(in + need - 16 * (packets - i) + 4);
            if (!runs) {
                runs = true;
                start = now_s();
                next_ms = 0;
                base = (uint64_t)((start - epoch) * rate);
                starts++;
                say("start rate=%u position=%llu packets=%u", rate, (unsigned long long)base, packets);
            }
        } else {
            unsigned char reply[1024];
            const int size = control(setup, data, direction ? 0 : length, reply);
            const uint32_t wanted = (uint32_t)(setup[6] | setup[7] << 8);
            const uint32_t actual = size < 0 ? 0 : direction ? ((uint32_t)size < wanted ? (uint32_t)size : wanted) : length;
            if (is.trace) say("control %02x %02x %02x%02x %02x%02x -> %d", setup[0], setup[1], setup[3], setup[2], setup[5], setup[4], size);
            if (head(3, seqnum, size < 0 ? -EPIPE : 0, actual, 0, 0) && direction) {
                memcpy(out + out_size, reply, actual);
                out_size += actual;
            }
        }
    }
    memmove(in, in + need, in_size - need);
    in_size -= need;
    return true;
}

static const char *plug(void) {
    if (usb >= 0) return "already";
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return strerror(errno);
    for (int i = 0; i < 2; i++) setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &(int){1 << 20}, sizeof(int));
    in_size = out_size = queued = alternate = configuration = 0;
    runs = false;
    rate = is.rates[is.rate_count - 1];
    char text[64];
    const int size = snprintf(text, sizeof text, "%u %d %u 2", is.port, pair[1], 0x10002u);
    const int fd = open(VHCI "attach", O_WRONLY);
    const bool is_there = fd >= 0 && write(fd, text, (size_t)size) == size;
    const int error = errno;
    if (fd >= 0) close(fd);
    close(pair[1]);
    if (!is_there) { close(pair[0]); return strerror(error); }
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    fcntl(pair[0], F_SETFD, FD_CLOEXEC);
    usb = pair[0];
    say("plugged");
    return "ok";
}

static const char *order(char *text) {
    static char reply[512];
    char *word = strtok(text, " "), *rest = strtok(NULL, "");
    const double number = rest ? atof(rest) : 0, now = now_s();
    if (!word) return "what?";
    if (!strcmp(word, "plug")) { const char *r = plug(); if (strcmp(r, "ok") && strcmp(r, "already")) plug_at = now + 0.1; return r; }
    if (!strcmp(word, "unplug")) { unplug("by command"); plug_at = 0; return "ok"; }
    if (!strcmp(word, "replug")) { unplug("by command"); plug_at = now + (rest ? number : 1); return "ok"; }
    if (!strcmp(word, "hold")) { hold_until = now + number; return "ok"; }
    if (!strcmp(word, "freeze")) { freeze_until = hold_until = now + number; return "ok"; }
    if (!strcmp(word, "drop")) { drop = (unsigned)number; return "ok"; }
    if (!strcmp(word, "error")) { fail = number > 0 ? (unsigned)number : 1; return "ok"; }
    if (!strcmp(word, "mute")) { mute = (unsigned)number; return "ok"; }
    if (!strcmp(word, "ppm")) {
        const double played = (now - start) / ms_s();
        ppm = number;
        start = now - played * ms_s();
        return "ok";
    }
    if (!strcmp(word, "signal") && rest) { set_signal(rest); return "ok"; }
    if (!strcmp(word, "status")) {
        snprintf(reply, sizeof reply,
                 "plugged=%d rate=%u alternate=%u mute=%u volume=%d starts=%u requests=%llu frames=%llu lost_ms=%llu queued=%u position=%llu",
                 usb >= 0, rate, alternate, mute, volume, starts, (unsigned long long)urbs, (unsigned long long)frames,
                 (unsigned long long)lost_ms, queued, (unsigned long long)(runs ? position(next_ms) : (uint64_t)((now - epoch) * rate)));
        return reply;
    }
    return "unknown";
}

static int client(int count, char **words) {
    char text[512] = "";
    for (int i = 0; i < count; i++) { strncat(text, i ? " " : "", 2); strncat(text, words[i], 200); }
    int s = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un me = {.sun_family = AF_UNIX}, server = {.sun_family = AF_UNIX, .sun_path = CONTROL};
    const int size = snprintf(me.sun_path + 1, sizeof me.sun_path - 1, "usb_microphone-%d", getpid());
    bind(s, (struct sockaddr *)&me, (socklen_t)(sizeof(sa_family_t) + 1 + (size_t)size));
    if (sendto(s, text, strlen(text), 0, (struct sockaddr *)&server, sizeof server) < 0) { perror("usb_microphone"); return 1; }
    struct pollfd p = {.fd = s, .events = POLLIN};
    ssize_t n = poll(&p, 1, 30000) > 0 ? recv(s, text, sizeof text - 1, 0) : -1;
    if (n < 0) { fprintf(stderr, "usb_microphone: no answer\n"); return 1; }
    text[n] = 0;
    puts(text);
    return strcmp(text, "unknown") == 0;
}

int main(int argc, char **argv) {
    if (argc < 2) { fprintf(stderr, "usage: usb_microphone serve [name=value...] | COMMAND\n"); return 2; }
    if (strcmp(argv[1], "serve")) return client(argc - 1, argv + 1);
    bool is_unplugged = false;
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!strcmp(argv[i], "unplugged")) is_unplugged = true;
        else if (!strcmp(argv[i], "trace")) is.trace = true;
        else if (!value) { fprintf(stderr, "usb_microphone: %s?\n", argv[i]); return 2; }
        else {
            *value++ = 0;
            if (!strcmp(argv[i], "rates")) {
                is.rate_count = 0;
                for (char *r = strtok(value, ","); r && is.rate_count < RATES_MAX; r = strtok(NULL, ",")) is.rates[is.rate_count++] = (unsigned)atoi(r);
            } else if (!strcmp(argv[i], "channels")) is.channels = (unsigned)atoi(value);
            else if (!strcmp(argv[i], "bits")) is.bits = (unsigned)atoi(value);
            else if (!strcmp(argv[i], "late")) is.late_ms = (unsigned)atoi(value);
            else if (!strcmp(argv[i], "batch")) is.batch_ms = (unsigned)atoi(value);
            else if (!strcmp(argv[i], "port")) is.port = (unsigned)atoi(value);
            else if (!strcmp(argv[i], "id")) sscanf(value, "%x:%x", &is.vendor, &is.product);
            else if (!strcmp(argv[i], "serial")) is.serial = value;
            else if (!strcmp(argv[i], "name")) is.name = value;
            else if (!strcmp(argv[i], "signal")) set_signal(value);
            else { fprintf(stderr, "usb_microphone: %s?\n", argv[i]); return 2; }
        }
    }
    if (is.batch_ms < 1 || is.batch_ms > 8 || !is.rate_count) return 2;
    rate = is.rates[is.rate_count - 1];
    epoch = now_s();
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 60}); /* the bus waits for nobody */
    const int orders = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = CONTROL};
    unlink(CONTROL);
    if (bind(orders, (struct sockaddr *)&name, sizeof name)) { perror(CONTROL); return 1; }
    chmod(CONTROL, 0666);
    if (!is_unplugged) { const char *r = plug(); if (strcmp(r, "ok")) { fprintf(stderr, "usb_microphone: attach: %s\n", r); return 1; } }
    for (;;) {
        double now = now_s(), until = due_s();
        if (plug_at > 0 && plug_at < until) until = plug_at;
        double left = until - now;
        if (left < 0) left = 0;
        struct timespec limit = {.tv_sec = (time_t)(left > 1e6 ? 1e6 : left)};
        limit.tv_nsec = left > 1e6 ? 0 : (long)((left - (double)limit.tv_sec) * 1e9);
        struct pollfd p[2] = {{.fd = orders, .events = POLLIN}, {.fd = usb, .events = (short)(POLLIN | (out_size ? POLLOUT : 0))}};
        if (ppoll(p, usb >= 0 ? 2 : 1, &limit, NULL) < 0 && errno != EINTR) return 1;
        if (p[0].revents) {
            char text[512];
            struct sockaddr_un peer;
            socklen_t size = sizeof peer;
            ssize_t n = recvfrom(orders, text, sizeof text - 1, 0, (struct sockaddr *)&peer, &size);
            if (n > 0) {
                text[n] = 0;
                const bool quits = !strcmp(text, "quit");
                const char *reply = quits ? "ok" : order(text);
                sendto(orders, reply, strlen(reply), 0, (struct sockaddr *)&peer, size);
                if (quits) { unplug("quit"); return 0; }
            }
        }
        if (usb >= 0 && p[1].fd == usb && p[1].revents) {
            ssize_t n = recv(usb, in + in_size, sizeof in - in_size, MSG_DONTWAIT);
            if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) unplug("the kernel hung up");
            else if (n > 0) {
                in_size += (size_t)n;
                while (usb >= 0 && take()) {}
            }
            flush_out();
        }
        now = now_s();
        if (plug_at > 0 && now >= plug_at) {
            plug_at = 0;
            const char *r = plug();
            if (strcmp(r, "ok") && strcmp(r, "already")) plug_at = now + 0.1; /* the port is not free yet */
        }
        if (usb >= 0) turn(now);
    }
}
