/* The machine's own share: what a thread that is woken and a message that is made and written take without an interpreter.
 *
 *     floor PORT PATH IS_SECURE PREFIX SUFFIX PCM_BYTES COUNT PERIOD_NS
 *
 * Connects to a WebSocket server on this machine. A message is PREFIX, the base64 text of PCM_BYTES of sound, and SUFFIX, made
 * by the core's own rva_message.c, with another mask each time. With a period, one thread fires at that rhythm, by an eventfd
 * as the audio thread does, and the other, which waits in epoll as an event loop does, takes the sound, makes the message and
 * writes it; one line for each: nanoseconds (CLOCK_MONOTONIC) when it was fired, when the other thread was awake, when the
 * message was there, when the call that wrote it had returned. Without a period (0) the messages are made and written one after
 * the other, and the only line is nanoseconds of processor time for each.
 *
 * TLS is OpenSSL's, loaded at run time by its public functions, so that nothing is needed to build this; the server, on this
 * machine, is not verified. Exit codes: 2: a system call failed, 3: no OpenSSL. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wire/rva_message.h"

typedef struct ssl ssl;
typedef struct ssl_context ssl_context;

static struct {
    const void *(*client_method)(void);
    ssl_context *(*new_context)(const void *method);
    ssl *(*new_ssl)(ssl_context *context);
    int (*set_fd)(ssl *self, int fd);
    int (*connect)(ssl *self);
    int (*write)(ssl *self, const void *data, int bytes);
    int (*read)(ssl *self, void *data, int bytes);
} tls;

static struct {
    const char *name;
    void *into;
} const functions[] = {
    {"TLS_client_method", &tls.client_method}, {"SSL_CTX_new", &tls.new_context}, {"SSL_new", &tls.new_ssl},
    {"SSL_set_fd", &tls.set_fd},               {"SSL_connect", &tls.connect},     {"SSL_write", &tls.write},
    {"SSL_read", &tls.read},
};

static int sock, wake_fd;
static ssl *secure;
static _Atomic int64_t fired_ns;
static int64_t period_ns;

static int64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static long must(long result) {
    if (result < 0) {
        perror("floor");
        exit(2);
    }
    return result;
}

static void must_do(int succeeded, const char *what) {
    if (succeeded) return;
    fprintf(stderr, "floor: %s failed\n", what);
    exit(3);
}

static void make_secure(void) {
    void *library = dlopen("libssl.so.3", RTLD_NOW);
    if (!library) library = dlopen("libssl.so.1.1", RTLD_NOW);
    must_do(library != NULL, "loading OpenSSL");
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *found = dlsym(library, functions[i].name);
        must_do(found != NULL, functions[i].name);
        memcpy(functions[i].into, &found, sizeof found);
    }
    secure = tls.new_ssl(tls.new_context(tls.client_method()));
    must_do(secure && tls.set_fd(secure, sock) == 1 && tls.connect(secure) == 1, "the TLS handshake");
}

static struct {
    const char *prefix, *suffix;
    uint8_t *ring, *pcm, *frame; /* where the audio thread left the sound, a copy of it, the message */
    size_t pcm_bytes, bytes;
} message;

static void make_room(void) {
    message.bytes = rva_message_bytes(strlen(message.prefix), message.pcm_bytes, strlen(message.suffix));
    message.ring = calloc(1, message.pcm_bytes);
    message.pcm = calloc(1, message.pcm_bytes);
    message.frame = calloc(1, message.bytes);
    must_do(message.ring && message.pcm && message.frame, "making room for a message");
    for (size_t i = 0; i < message.pcm_bytes; i++)
        message.ring[i] = (uint8_t)i;
}

static void make_message(long number) {
    const uint8_t mask[4] = {(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16), 0x5a};
    memcpy(message.pcm, message.ring, message.pcm_bytes);
    rva_message_encode(message.frame, (const uint8_t *)message.prefix, strlen(message.prefix), message.pcm, message.pcm_bytes,
                       (const uint8_t *)message.suffix, strlen(message.suffix), mask);
}

static void send_all(const uint8_t *data, int bytes) {
    if (secure)
        must_do(tls.write(secure, data, bytes) == bytes, "SSL_write");
    else
        must_do(must(send(sock, data, (size_t)bytes, 0)) == bytes, "send");
}

static void open_websocket(const char *path) {
    char text[1024];
    int bytes = snprintf(text, sizeof text,
                         "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                         path);
    send_all((const uint8_t *)text, bytes);
    for (int at = 0; at < (int)sizeof text - 1;) {
        const int room = (int)sizeof text - 1 - at;
        const long got = secure ? tls.read(secure, text + at, room) : recv(sock, text + at, (size_t)room, 0);
        must_do(got > 0, "the WebSocket handshake");
        at += (int)got;
        text[at] = 0;
        if (strstr(text, "\r\n\r\n")) return;
    }
    must_do(0, "the WebSocket handshake");
}

static void *fire(void *count) {
    int64_t due_ns = now(CLOCK_MONOTONIC);
    for (long left = *(long *)count; left > 0; left--) {
        due_ns += period_ns;
        const struct timespec due = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000};
        const uint64_t one = 1;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        atomic_store(&fired_ns, now(CLOCK_MONOTONIC));
        must(write(wake_fd, &one, sizeof one));
    }
    return NULL;
}

static void send_when_fired(long count) {
    pthread_t thread;
    struct epoll_event event = {.events = EPOLLIN};
    const int epoll = (int)must(epoll_create1(0));
    wake_fd = (int)must(eventfd(0, 0));
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, wake_fd, &event));
    must(-pthread_create(&thread, NULL, fire, &count));
    for (long left = count; left > 0; left--) {
        uint64_t times;
        must(epoll_wait(epoll, &event, 1, -1));
        const int64_t awake_ns = now(CLOCK_MONOTONIC);
        must(read(wake_fd, &times, sizeof times));
        make_message(left);
        const int64_t made_ns = now(CLOCK_MONOTONIC);
        send_all(message.frame, (int)message.bytes);
        const int64_t written_ns = now(CLOCK_MONOTONIC);
        printf("%lld %lld %lld %lld\n", (long long)atomic_load(&fired_ns), (long long)awake_ns, (long long)made_ns,
               (long long)written_ns);
    }
    pthread_join(thread, NULL);
}

static void make_and_send(long count) {
    for (long left = count; left > 0; left--) {
        make_message(left);
        send_all(message.frame, (int)message.bytes);
    }
}

static void send_in_a_row(long count) {
    make_and_send(count / 10); /* these do not count */
    const int64_t began_ns = now(CLOCK_PROCESS_CPUTIME_ID);
    make_and_send(count);
    printf("%lld\n", (long long)((now(CLOCK_PROCESS_CPUTIME_ID) - began_ns) / count));
}

int main(int count, char **words) {
    if (count != 9) return 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[1]))};
    const int yes = 1;
    message.prefix = words[4];
    message.suffix = words[5];
    message.pcm_bytes = (size_t)atol(words[6]);
    make_room();
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sock = (int)must(socket(AF_INET, SOCK_STREAM, 0));
    must(connect(sock, (const struct sockaddr *)&address, sizeof address));
    must(setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
    if (atoi(words[3])) make_secure();
    open_websocket(words[2]);
    period_ns = atoll(words[8]);
    if (period_ns)
        send_when_fired(atol(words[7]));
    else
        send_in_a_row(atol(words[7]));
    return 0;
}
