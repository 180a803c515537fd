/* rva_portaudio.h - a PortAudio input stream whose callback is rva_chain_push. Part of the public C interface, in the
 * manner of rva.h.
 *
 * Nothing here links to PortAudio: its functions are looked up in a library that the process has loaded already, so that
 * this core and whoever else uses PortAudio share one instance. PortAudio must have been initialised by that other user
 * (PyAudio), and be kept so while a stream is open.
 *
 * PortAudio is not thread-safe: the caller holds one lock, for the whole process, around each function here that is
 * marked "life cycle" and around each other call into PortAudio.
 *
 * Results are RVA_OK, one of RVA_ERROR_..., or one of PortAudio's own codes (paNotInitialized, -10000, and up).
 */
#ifndef RVA_PORTAUDIO_H
#define RVA_PORTAUDIO_H

#include "core/rva.h"
#include "streams/rva_stream.h"

/* --- cdef begin --- */

typedef struct {
    int32_t device;                /* PortAudio's index; checked against its device count */
    uint32_t rate_hz;              /* rate, channels and format as in the chain's rva_config */
    uint32_t channels;
    uint32_t format;               /* RVA_FORMAT_... */
    uint32_t block_samples;        /* of each callback, per channel; 0 leaves it to PortAudio */
    int32_t wake_fd;               /* written when the stream ends; -1: none */
    double buffer_s;               /* of the device: how late the audio thread may be without a loss */
    int64_t resume_ns;             /* captured_ns of the stream that fed this chain before; 0: there was none */
    uint32_t is_served;            /* a sound server is in between (rva_stream_expect_server) */
    uint32_t keeps_time;           /* whose capture times are right, as PulseAudio's are */
    uint32_t priority;             /* of SCHED_FIFO for PortAudio's own thread on ALSA, while sound comes and a watch is kept
                                      (rva_portaudio_watch), where the limits allow it; 0: leave it as it is. Other hosts give
                                      their thread a priority themselves */
} rva_portaudio_config;

typedef struct rva_portaudio rva_portaudio;
typedef struct rva_portaudio_stream rva_portaudio_stream;

/* Any thread. Looks PortAudio up through the loaded library `path` (PyAudio's extension module, or PortAudio itself).
 * On success *portaudio is the caller's. It is never closed by itself: the functions live as long as the process. */
int rva_portaudio_bind(const char *path, rva_portaudio **portaudio);

/* NULL is allowed. No stream of it may be open. */
void rva_portaudio_unbind(rva_portaudio *portaudio);

/* Life cycle. RVA_OK when the device accepts this rate, these channels and this format; may block for a second when the
 * device is busy. A format that PortAudio would convert is accepted too. */
int rva_portaudio_probe(const rva_portaudio *portaudio, const rva_portaudio_config *config);

/* Life cycle. Opens the stream without starting it. The chain stays the caller's and must outlive the stream, and may be
 * pushed to by nobody else. On an error *stream is NULL. */
int rva_portaudio_open(const rva_portaudio *portaudio, rva_chain *chain, const rva_portaudio_config *config,
                       rva_portaudio_stream **stream);

/* Life cycle. From here until rva_portaudio_close PortAudio's thread pushes into the chain. */
int rva_portaudio_start(rva_portaudio_stream *stream);

/* Life cycle. Wakes the consumer when nothing has come for `stall_ns` (0: never), once for each stall. The first call makes a
 * thread for that, which ends with the stream. 0, or an errno where it cannot be had. */
int rva_portaudio_watch(rva_portaudio_stream *stream, int64_t stall_ns);

/* Life cycle. Aborts (never stops: stopping waits for a device that may not answer), closes and frees. When this has
 * returned, nothing pushes any more, and *last is how the stream ended: sound may come until then. It may not return, when
 * the device is gone and PortAudio loops on it. On an error nothing has been freed. */
int rva_portaudio_close(rva_portaudio_stream *stream, rva_stream_statistics *last);

/* Any thread; real-time safe. */
void rva_portaudio_statistics(const rva_portaudio_stream *stream, rva_stream_statistics *statistics);

/* Life cycle. PortAudio's sentence for one of its codes, static. */
const char *rva_portaudio_error_text(const rva_portaudio *portaudio, int code);

/* Life cycle. What the host's sound system last said, and its code, after paUnanticipatedHostError (-9999). */
const char *rva_portaudio_host_error(const rva_portaudio *portaudio, int64_t *code);

/* --- cdef end --- */

#endif
