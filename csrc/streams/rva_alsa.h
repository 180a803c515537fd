/* rva_alsa.h - a capture thread of our own over ALSA, for Linux. Part of the public C interface, in the manner of rva.h.
 *
 * No released PortAudio survives the unplugging of a bare ALSA device: it loops for ever and cannot be stopped. Here an
 * unplug is an ordinary event. libasound is loaded at run time: nothing is needed to build or install, and where it is
 * missing, rva_alsa_bind says so.
 *
 * Results are RVA_OK, one of RVA_ERROR_..., or RVA_ERROR_SYSTEM - errno for what ALSA or the kernel said.
 */
#ifndef RVA_ALSA_H
#define RVA_ALSA_H

#include "core/rva.h"
#include "streams/rva_stream.h"

/* --- cdef begin --- */

#define RVA_ALSA_RATES 13          /* usual rates that are asked about */

typedef struct {
    uint32_t channels_min;
    uint32_t channels_max;
    uint32_t rate_min_hz;
    uint32_t rate_max_hz;
    uint32_t formats;              /* bit RVA_FORMAT_... set: has it; S32 also for 24 bits in 32 (ALSA's S24_LE) */
    uint32_t is_hardware;          /* the kernel's device itself, not a plugin or a sound server behind it */
    uint32_t period_min_us;        /* least sound that it gathers before it gives any, in its best case; 0: not known */
    uint32_t rates_hz[13];         /* those of the usual rates that it has, ascending, or of none the nearest to 48,000 Hz that
                                      can be converted; 0 behind them */
} rva_alsa_abilities;

typedef struct {
    const char *pcm;               /* ALSA's name: "hw:CARD=Array,DEV=0"; used during the call only */
    uint32_t rate_hz;              /* rate, channels and format as in the chain's rva_config, and exactly so */
    uint32_t channels;
    uint32_t format;               /* RVA_FORMAT_... */
    uint32_t block_samples;        /* per channel; the device may round it */
    uint32_t buffer_samples;       /* how late the thread may be without a loss; the device may round it */
    int32_t wake_fd;               /* written when the stream ends by itself; -1: none */
    uint32_t priority;             /* of SCHED_FIFO for the thread, where the limits allow it; 0: leave it as it is */
    int64_t resume_ns;             /* captured_ns of the stream that fed this chain before; 0: there was none */
} rva_alsa_config;

typedef struct rva_alsa rva_alsa;
typedef struct rva_alsa_stream rva_alsa_stream;

/* Any thread. Loads libasound.so.2; RVA_ERROR_LIBRARY where it cannot be had. On success *alsa is the caller's. */
int rva_alsa_bind(rva_alsa **alsa);

/* NULL is allowed. No stream of it may be open. libasound stays loaded. */
void rva_alsa_unbind(rva_alsa *alsa);

/* Any thread; blocks shortly. Opens the device, asks what it can do, and closes it again. */
int rva_alsa_probe(const rva_alsa *alsa, const char *pcm, rva_alsa_abilities *abilities);

/* Any thread; blocks shortly. Opens the device without starting it. RVA_ERROR_RATE, RVA_ERROR_CHANNELS or
 * RVA_ERROR_FORMAT when it does not have what is asked for. The chain stays the caller's, must outlive the stream, and may
 * be pushed to by nobody else. On an error *stream is NULL. */
int rva_alsa_open(const rva_alsa *alsa, rva_chain *chain, const rva_alsa_config *config, rva_alsa_stream **stream);

/* Any thread. How much sound, in s, gathers before the device gives any: its period. */
double rva_alsa_latency_s(const rva_alsa_stream *stream);

/* Any thread, once. From here until rva_alsa_close, or until the stream has finished, our thread pushes into the chain. */
int rva_alsa_start(rva_alsa_stream *stream);

/* Any thread; one system call at most. To be called when a flush has been asked for: the thread sleeps until a frame is
 * due, and may not have heard of it. */
void rva_alsa_hurry(const rva_alsa_stream *stream);

/* Any thread; real-time safe. Wakes the consumer when nothing has come for `stall_ns` (0: never), once for each stall. */
void rva_alsa_watch(rva_alsa_stream *stream, int64_t stall_ns);

/* Any thread. Ends the thread, closes and frees; takes milliseconds, whatever has become of the device. *last is how the
 * stream ended: sound may come until then. */
void rva_alsa_close(rva_alsa_stream *stream, rva_stream_statistics *last);

/* Any thread; real-time safe. finish_code is a negative errno: -ENODEV for a device that is gone. */
void rva_alsa_statistics(const rva_alsa_stream *stream, rva_stream_statistics *statistics);

/* --- cdef end --- */

#endif
