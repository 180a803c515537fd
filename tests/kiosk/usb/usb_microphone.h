/* usb_microphone - a USB microphone (audio class 1, full speed) as Linux sees one, without hardware: the kernel's vhci-hcd is the
 * host controller, this program the device. For machines that need not be fast: one process, no thread, some 10 us a ms.
 *
 *   modprobe -a vhci-hcd snd-usb-audio
 *   usb_microphone serve [rates=16000,48000] [channels=1] [bits=16] [signal=ramp] [id=2886:0018] [serial=] [name=...] [late=100]
 *                [batch=4] [port=0] [unplugged] [trace]
 *   usb_microphone COMMAND...      plug | unplug | replug S | hold S | freeze S | drop MS | error N | ppm N | mute 0|1 |
 *                          signal ramp|sine:HZ|noise|silence|FILE | status | quit
 *
 * The signal is the world's: it goes on while nobody listens. `ramp`: frame n of the device's clock is n modulo 65536, as
 * int16, so that two values of a recording tell how many frames lie between them. FILE is raw int16, mono, of the rate.
 * A millisecond that no request is waiting for `late` ms after it was due is lost, as on a real bus; late=0: never, the
 * device's clock waits (for emulated machines, which stand still at times). `batch` ms are answered at a time, up to 8:
 * the driver (snd-usb-audio) has 12 requests of 1 ms under way.
 */
#ifndef USB_MICROPHONE_H
#define USB_MICROPHONE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RATES_MAX = 8 };

/* What it is; set once, at the start. */
extern struct microphone {
    unsigned rates[RATES_MAX], rate_count, channels, bits, vendor, product, late_ms, batch_ms, port;
    const char *maker, *name, *serial;
    bool trace;
} is;

/* What the host has set. `runs`: requests are being answered; a new rate or alternate setting begins anew. */
extern unsigned rate, alternate, configuration, mute;
extern int16_t volume;
extern bool runs;

extern double epoch; /* when the program began, by now_s(), which is the monotonic clock in s */
double now_s(void);

/* Writes a line with the time since the epoch to standard output. */
void say(const char *format, ...);

/* Chooses the signal from now on, by the words of the head of this file. */
void set_signal(const char *name);

/* Writes the frames [from, until) of the signal in the device's format; returns how many bytes. */
size_t put_sound(unsigned char *to, uint64_t from, uint64_t until);

/* Answers a control request: returns how many bytes the answer has in `to`, -1 to stall. */
int control(const unsigned char *setup, const unsigned char *data, size_t size, unsigned char *to);

#endif
