/* rva_tap - the device's own samples (rva_tap.h). */
#include "core/rva_tap.h"

#include <stdlib.h>
#include <string.h>

rva_tap *rva_tap_make(size_t stride_bytes, size_t samples) {
    rva_tap *tap = malloc(sizeof *tap + stride_bytes * samples);
    if (!tap) return NULL;
    tap->stride_bytes = stride_bytes;
    tap->capacity = samples;
    atomic_init(&tap->filled, 0);
    rva_rt_touch(tap->sound, stride_bytes * samples);
    return tap;
}

RVA_REALTIME void rva_tap_take(rva_tap *tap, const void *block, size_t samples) {
    const size_t filled = atomic_load_explicit(&tap->filled, memory_order_relaxed), room = tap->capacity - filled;
    const size_t taken = samples < room ? samples : room;
    if (!taken) return;
    memcpy(tap->sound + filled * tap->stride_bytes, block, taken * tap->stride_bytes);
    atomic_store_explicit(&tap->filled, filled + taken, memory_order_release);
}
