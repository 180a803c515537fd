/* rva.h - the public C interface of ravatar-audio's real-time core, and its manual.
 *
 * Sound enters as blocks in the device's own rate, format and channels, and leaves as frames: 4,096 mono samples at
 * 16 kHz, signed 16 bit, little-endian, with what must be known about them. One thread pushes (the producer: the audio
 * thread), one thread peeks (the consumer); neither ever waits for the other.
 *
 * Each function says on which thread it may be called, and whether it is real-time safe: no allocation, no lock, no
 * system call (but the one wake-up per finished frame), and no work whose time depends on the sound's content.
 *
 * The region between the two marks below is the cffi builder's cdef, read from this file; it is plain C without
 * preprocessor conditions.
 */
#ifndef RVA_H
#define RVA_H

#include <stddef.h>
#include <stdint.h>

/* --- cdef begin --- */

#define RVA_RATE_HZ 16000          /* rate of every frame */
#define RVA_FRAME_SAMPLES 4096     /* samples of a frame: 256 ms */
#define RVA_HOP_SAMPLES 256        /* samples of an analysis step: 16 ms */
#define RVA_FRAME_HOPS 16          /* hops of a frame */
#define RVA_RATE_MIN_HZ 8000       /* device rates that can be converted */
#define RVA_RATE_MAX_HZ 192000
#define RVA_CHANNELS_MAX 32
#define RVA_CAPACITY_MAX 65536     /* slots of the largest ring: 4.7 hours */

/* Device sample formats, in the machine's own byte order; S24 is packed in three bytes. */
#define RVA_FORMAT_S16 1
#define RVA_FORMAT_S24 2
#define RVA_FORMAT_S32 3
#define RVA_FORMAT_F32 4           /* full scale is 1.0; NaN counts as 0 */
#define RVA_FORMAT_U8 5            /* 128 is zero */

/* Resampling profiles; csrc/README.md has their pass and stop bands and delays. */
#define RVA_PROFILE_BALANCED 0
#define RVA_PROFILE_LOW_LATENCY 1
#define RVA_PROFILE_HIGH 2

#define RVA_PHASE_LINEAR 0
#define RVA_PHASE_MINIMUM 1

#define RVA_OPTION_DC_BLOCK 1      /* bits of rva_config.options */
#define RVA_OPTION_DITHER 2

#define RVA_FLAG_FLUSHED 1         /* bits of rva_frame.flags: ended early, on request or at the end of the source */
#define RVA_FLAG_DISCONTINUITY 2   /* sound was lost between the frame before and the end of this one */

/* What functions return: 0, or one of these. rva_error_text() has a sentence for each. */
#define RVA_OK 0
#define RVA_ERROR_RATE -1
#define RVA_ERROR_CHANNELS -2
#define RVA_ERROR_FORMAT -3
#define RVA_ERROR_CAPACITY -4
#define RVA_ERROR_PROFILE -5
#define RVA_ERROR_KERNEL -6        /* RAVATAR_AUDIO_KERNEL names none that this processor can run */
#define RVA_ERROR_MEMORY -7
#define RVA_ERROR_GAIN -8
#define RVA_ERROR_LENGTH -9        /* bytes that are no whole number of samples over all channels */

typedef struct {
    uint32_t rate_hz;              /* of the device: RVA_RATE_MIN_HZ to RVA_RATE_MAX_HZ */
    uint32_t channels;             /* of the device: 1 to RVA_CHANNELS_MAX */
    uint32_t format;               /* RVA_FORMAT_... */
    uint32_t channel_mask;         /* bit c set: channel c is heard; the heard ones are averaged; 0 hears all */
    uint32_t capacity_frames;      /* frames that the ring holds for the consumer, 1 to RVA_CAPACITY_MAX */
    uint32_t profile;              /* RVA_PROFILE_... */
    uint32_t phase;                /* RVA_PHASE_... */
    uint32_t options;              /* RVA_OPTION_... */
    float gain_db;                 /* -60 to +60; 0 leaves the sound as it is */
    int32_t wake_fd;               /* eventfd or pipe, non-blocking, written once for each frame; -1: none */
} rva_config;

/* One analysis step of 16 ms (the last of a flushed frame may be shorter). */
typedef struct {
    uint64_t energy;               /* sum of the squares of the samples, as int16 */
    uint32_t length_samples;       /* 1 to RVA_HOP_SAMPLES; 0 for a hop that a short frame does not have */
    uint32_t peak;                 /* largest magnitude, 0 to 32,768 */
    uint32_t clipped;              /* device samples at full scale that arrived during the hop, heard channels */
    uint32_t zero_run_samples;     /* exact zeros in a row up to the hop's end, across hops and frames; saturates */
} rva_hop;

/* One slot of the ring. The consumer reads it in place between peek and advance. */
typedef struct {
    uint64_t seq;                  /* from 0, one more for each frame finished, dropped ones included */
    uint64_t position_samples;     /* of the first sample, counted from the start of the capture at 16 kHz */
    int64_t captured_ns;           /* CLOCK_MONOTONIC when the last sample was at the microphone */
    int64_t finished_ns;           /* CLOCK_MONOTONIC when the frame was handed over */
    uint64_t ring_lost_samples;    /* lost before this frame because the ring was full, at 16 kHz */
    uint64_t device_lost_samples;  /* lost by the device since the frame before, at 16 kHz, as far as is known */
    uint32_t length_samples;       /* true length, 1 to RVA_FRAME_SAMPLES; the rest is zeros */
    uint32_t clipped;              /* sum over the hops */
    uint32_t peak;                 /* largest over the hops */
    uint32_t flags;                /* RVA_FLAG_... */
    rva_hop hops[16];
    int16_t pcm[4096];             /* little-endian, whatever the machine */
} rva_frame;

/* Counters since the chain was opened; each is read without a lock, so they may be one block apart. */
typedef struct {
    uint64_t blocks;               /* pushed */
    uint64_t device_samples;       /* pushed, per channel, in the device's rate */
    uint64_t converted_samples;    /* at 16 kHz: in finished frames, dropped ones included, and in the open one */
    uint64_t finished_frames;      /* handed over or dropped */
    uint64_t ring_dropped_frames;  /* finished while the ring was full */
    uint64_t ring_dropped_samples;
    uint64_t device_overruns;      /* times that the device said it had lost sound */
    uint64_t device_lost_samples;  /* lost by the device, at 16 kHz, as far as is known */
    uint64_t clipped;
    uint64_t wake_failures;        /* wake-ups that could not be written */
    int64_t last_block_ns;         /* CLOCK_MONOTONIC when the newest block was pushed; 0: none yet */
    uint32_t queued_frames;        /* waiting for the consumer */
    uint32_t open_samples;         /* in the frame that is being filled */
} rva_statistics;

typedef struct rva_chain rva_chain;

/* Opens a chain: all that it will ever need is allocated and computed here. Not real-time safe. On success *chain is
 * the caller's, to be given to rva_chain_close; else it is NULL and the result says which field was refused. */
int rva_chain_open(const rva_config *config, rva_chain **chain);

/* Frees the chain; NULL is allowed. Neither producer nor consumer may be inside a call. Not real-time safe. */
void rva_chain_close(rva_chain *chain);

/* Producer; real-time safe. Converts a block of `samples` per channel, interleaved; `end_ns` is when its last sample was
 * at the microphone (CLOCK_MONOTONIC). The block may have any length and alignment, and is not kept. */
void rva_chain_push(rva_chain *chain, const void *block, size_t samples, int64_t end_ns);

/* Producer and consumer at once, for a converter; real-time safe. Pushes a block of `bytes` whose time is counted in its own
 * samples, the first ever pushed being at 0. Returns how many frames wait, or RVA_ERROR_LENGTH. */
int rva_chain_feed(rva_chain *chain, const void *block, size_t bytes);

/* Producer; real-time safe. The device has lost sound before the block that comes next: `samples` per channel in the
 * device's rate, 0 when it did not say how much. */
void rva_chain_note_loss(rva_chain *chain, uint64_t samples);

/* Any thread; real-time safe. The next block ends the frame that is being filled first: the rest becomes zeros, and
 * its true length is kept. A frame with no sample in it is not sent. */
void rva_chain_request_flush(rva_chain *chain);

/* Any thread; real-time safe. Ends the frame that is being filled at a position, to the sample: the frame's last sample is
 * the one before `position_samples` (16 kHz, counted as in rva_frame). A position that is not ahead any more works as
 * rva_chain_request_flush does, UINT64_MAX takes the request back. There is one request at a time, the newest, whichever
 * of the two functions made it; it is gone once it has been served. */
void rva_chain_flush_at(rva_chain *chain, uint64_t position_samples);

/* Producer; real-time safe. Device samples that are still to be pushed until the frame that is being filled is handed over,
 * because it is full or has been asked for: 1 at least. It may say some 0.1 ms more than are needed, never less. */
uint64_t rva_chain_due_samples(const rva_chain *chain);

/* Any thread; real-time safe. Samples at 16 kHz from the newest that has been converted to where a flush was asked for; 0
 * when that is not ahead any more, UINT64_MAX when none was asked for. */
uint64_t rva_chain_flush_in_samples(const rva_chain *chain);

/* Producer, when no more will come; real-time safe. Gives out what the resampler still holds and finishes the last
 * frame. The chain may be pushed to again: that begins a new stretch of sound in the same numbering. */
void rva_chain_finish(rva_chain *chain);

/* Consumer; real-time safe. The oldest frame, valid until rva_chain_advance, or NULL when there is none. */
const rva_frame *rva_chain_peek(rva_chain *chain);

/* Consumer; real-time safe. Gives the slot of the peeked frame back. Call it once for each frame peeked. */
void rva_chain_advance(rva_chain *chain);

/* Any thread; real-time safe. */
void rva_chain_statistics(const rva_chain *chain, rva_statistics *statistics);

/* Any thread; real-time safe. What the resampler delays live sound by, in seconds: its group delay at 1 kHz. */
double rva_chain_group_delay_s(const rva_chain *chain);

/* Any thread, once for a chain. From the next block on the device's own samples are kept, all channels, until there are
 * `samples` per channel: for looking at channels that are not heard. RVA_OK, RVA_ERROR_MEMORY, or RVA_ERROR_CAPACITY when that
 * has been asked for before. */
int rva_chain_tap(rva_chain *chain, size_t samples);

/* Any thread; real-time safe. How many samples per channel have been kept by now; *sound is where, interleaved, in the device's
 * format, and lives as long as the chain. 0, and NULL, when none were asked for. */
size_t rva_chain_tapped(const rva_chain *chain, const void **sound);

/* Any thread. Name of the kernel that the chain's resampler runs: "portable", "avx2", "neon", ... */
const char *rva_chain_kernel(const rva_chain *chain);

/* Any thread; real-time safe. CLOCK_MONOTONIC in nanoseconds, the clock of captured_ns; on macOS CLOCK_UPTIME_RAW, here
 * and wherever this manual says CLOCK_MONOTONIC: the one that Python's time.monotonic() reads. */
int64_t rva_now_ns(void);

/* Any thread. A sentence for a result code, static. */
const char *rva_error_text(int code);

/* --- cdef end --- */

#endif
