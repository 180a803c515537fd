/* rva_fed - a stream whose blocks come by hand (rva_fed.h). */
#include <stdlib.h>

#include "streams/rva_fed.h"

struct rva_fed_stream {
    rva_stream base;
};

int rva_fed_open(rva_chain *chain, uint32_t rate_hz, int wake_fd, int64_t opened_ns, int64_t resume_ns, rva_fed_stream **out) {
    rva_fed_stream *stream = *out = calloc(1, sizeof *stream);
    if (!stream) return RVA_ERROR_MEMORY;
    rva_stream_init(&stream->base, chain, rate_hz, wake_fd, resume_ns);
    stream->base.opened_ns = opened_ns;
    return RVA_OK;
}

void rva_fed_block(rva_fed_stream *stream, const void *block, size_t samples, int64_t arrived_ns, double age_s, int has_overrun) {
    rva_stream_block_begun(&stream->base, block, samples, arrived_ns, age_s, has_overrun, rva_clock_ns());
}

void rva_fed_finish(rva_fed_stream *stream, int32_t code) { rva_stream_finish(&stream->base, code); }

void rva_fed_watch(rva_fed_stream *stream, int64_t stall_ns) { rva_stream_watch(&stream->base, stall_ns); }

int64_t rva_fed_look(rva_fed_stream *stream, int64_t now_ns) { return rva_stream_look(&stream->base, now_ns); }

void rva_fed_statistics(const rva_fed_stream *stream, rva_stream_statistics *statistics) {
    rva_stream_read(&stream->base, statistics);
}

void rva_fed_close(rva_fed_stream *stream, rva_stream_statistics *last) {
    rva_stream_close(&stream->base);
    rva_stream_read(&stream->base, last);
    free(stream);
}
