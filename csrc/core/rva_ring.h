/* rva_ring - single-producer single-consumer ring of frame slots, filled and read in place. Internal.
 *
 * The producer always owns one slot, the one that it fills; commit hands it over and owns the next. When `capacity`
 * frames wait already, commit keeps the slot instead, to be filled again: the newest frame is dropped, nothing waits.
 * So there is one slot more than the capacity, and no frame is ever copied.
 *
 * Counters are 64 bit and never wrap in practice. csrc/README.md has the memory-order argument.
 */
#ifndef RVA_RING_H
#define RVA_RING_H

#include <stdatomic.h>
#include <stdbool.h>

#include "core/rva.h"
#include "core/rva_rt.h"

typedef struct {
    /* producer's line */
    _Alignas(RVA_CACHE_LINE) _Atomic uint64_t committed; /* frames handed over; stored by the producer only */
    uint64_t released_seen;                              /* the producer's copy of `released` */
    uint32_t write_index;                                /* slot that is being filled */
    /* consumer's line */
    _Alignas(RVA_CACHE_LINE) _Atomic uint64_t released; /* frames given back; stored by the consumer only */
    uint64_t committed_seen;                            /* the consumer's copy of `committed` */
    uint32_t read_index;
    /* read by both, written by neither after open */
    _Alignas(RVA_CACHE_LINE) rva_frame *slots;
    uint32_t slot_count; /* capacity + 1 */
} rva_ring;

/* RVA_OK, RVA_ERROR_CAPACITY or RVA_ERROR_MEMORY. Not real-time safe. */
int rva_ring_open(rva_ring *ring, uint32_t capacity_frames);
void rva_ring_close(rva_ring *ring);

/* Producer. The slot to fill; it is the same until a commit succeeds. */
RVA_REALTIME static inline rva_frame *rva_ring_acquire(rva_ring *ring) { return &ring->slots[ring->write_index]; }

/* Producer. Hands the acquired slot over; false when the ring is full and the slot stays the producer's. */
RVA_REALTIME bool rva_ring_commit(rva_ring *ring);

/* Consumer. The oldest frame or NULL; valid until the advance. */
RVA_REALTIME const rva_frame *rva_ring_peek(rva_ring *ring);

/* Consumer. Gives the peeked slot back to the producer. */
RVA_REALTIME void rva_ring_advance(rva_ring *ring);

/* Any thread. Frames that wait for the consumer, as of some moment during the call. */
RVA_REALTIME uint32_t rva_ring_queued(const rva_ring *ring);

#endif
