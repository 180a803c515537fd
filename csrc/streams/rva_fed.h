/* rva_fed.h - a stream whose blocks come by hand: from a callback in Python, or from a device that is made up. Part of the
 * public C interface, in the manner of rva.h.
 *
 * Counting, capture times, gaps and stalls are rva_stream.h's, as of every other stream. All functions but the statistics
 * are for one thread at a time. Times are ns of the feeder's own clock, which need not be CLOCK_MONOTONIC.
 */
#ifndef RVA_FED_H
#define RVA_FED_H

#include "core/rva.h"
#include "streams/rva_stream.h"

/* --- cdef begin --- */

typedef struct rva_fed_stream rva_fed_stream;

/* The chain stays the caller's and must outlive the stream. `wake_fd` is written when the stream ends, for its first block,
 * and for a stall that is watched for (-1: none). `opened_ns` is now; `resume_ns` is captured_ns of the stream that fed this
 * chain before, 0: there was none. RVA_OK or RVA_ERROR_MEMORY, and then *stream is NULL. */
int rva_fed_open(rva_chain *chain, uint32_t rate_hz, int wake_fd, int64_t opened_ns, int64_t resume_ns, rva_fed_stream **stream);

/* A block of `samples` per channel that came at `arrived_ns`, and whose last sample was `age_s` old then (NaN: nobody knows).
 * `has_overrun`: sound was lost before it; how much is told from the capture times. */
void rva_fed_block(rva_fed_stream *stream, const void *block, size_t samples, int64_t arrived_ns, double age_s, int has_overrun);

/* The stream has ended by itself; `code` is a negative errno, or 0. */
void rva_fed_finish(rva_fed_stream *stream, int32_t code);

/* Wake the consumer when nothing has come for `stall_ns` (0: never), as rva_fed_look finds. */
void rva_fed_watch(rva_fed_stream *stream, int64_t stall_ns);

/* Has a stall begun? How long from `now_ns` on none can, in ns; INT64_MAX for ever. */
int64_t rva_fed_look(rva_fed_stream *stream, int64_t now_ns);

/* Any thread; real-time safe. */
void rva_fed_statistics(const rva_fed_stream *stream, rva_stream_statistics *statistics);

/* Frees it; *last is how it ended. */
void rva_fed_close(rva_fed_stream *stream, rva_stream_statistics *last);

/* --- cdef end --- */

#endif
