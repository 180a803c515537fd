#include "core/rva_ring.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(rva_frame) % RVA_PCM_ALIGN == 0, "slots in an array keep their alignment");
_Static_assert(offsetof(rva_frame, pcm) % RVA_PCM_ALIGN == 0, "the samples of an aligned slot are aligned");

int rva_ring_open(rva_ring *ring, uint32_t capacity_frames) {
    memset(ring, 0, sizeof *ring);
    if (capacity_frames < 1 || capacity_frames > RVA_CAPACITY_MAX) return RVA_ERROR_CAPACITY;
    ring->slot_count = capacity_frames + 1;
    size_t bytes = (size_t)ring->slot_count * sizeof(rva_frame);
    ring->slots = aligned_alloc(RVA_PCM_ALIGN, bytes);
    if (!ring->slots) return RVA_ERROR_MEMORY;
    memset(ring->slots, 0, bytes); /* touched now, so that the audio thread takes no page fault later */
    return RVA_OK;
}

void rva_ring_close(rva_ring *ring) {
    free(ring->slots);
    ring->slots = NULL;
}

RVA_REALTIME bool rva_ring_commit(rva_ring *ring) {
    uint64_t committed = atomic_load_explicit(&ring->committed, memory_order_relaxed); /* our own word */
    uint32_t capacity = ring->slot_count - 1;
    if (committed - ring->released_seen >= capacity) {
        /* Acquire: the consumer's reads of the slot that it released come before our writes into it. */
        ring->released_seen = atomic_load_explicit(&ring->released, memory_order_acquire);
        if (committed - ring->released_seen >= capacity) return false;
    }
    ring->write_index = ring->write_index + 1 == ring->slot_count ? 0 : ring->write_index + 1;
    /* Release: the frame's content comes before the count that announces it. */
    atomic_store_explicit(&ring->committed, committed + 1, memory_order_release);
    return true;
}

RVA_REALTIME const rva_frame *rva_ring_peek(rva_ring *ring) {
    uint64_t released = atomic_load_explicit(&ring->released, memory_order_relaxed); /* our own word */
    if (released == ring->committed_seen) {
        ring->committed_seen = atomic_load_explicit(&ring->committed, memory_order_acquire);
        if (released == ring->committed_seen) return NULL;
    }
    return &ring->slots[ring->read_index];
}

RVA_REALTIME void rva_ring_advance(rva_ring *ring) {
    uint64_t released = atomic_load_explicit(&ring->released, memory_order_relaxed);
    ring->read_index = ring->read_index + 1 == ring->slot_count ? 0 : ring->read_index + 1;
    atomic_store_explicit(&ring->released, released + 1, memory_order_release);
}

RVA_REALTIME uint32_t rva_ring_queued(const rva_ring *ring) {
    /* `released` first: it never passes `committed`, so the difference cannot be negative. */
    uint64_t released = atomic_load_explicit(&ring->released, memory_order_acquire);
    return (uint32_t)(atomic_load_explicit(&ring->committed, memory_order_acquire) - released);
}
