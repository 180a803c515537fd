/* rva_tap - the device's own samples, all channels, kept for whoever wants to look at them. Internal. */
#ifndef RVA_TAP_H
#define RVA_TAP_H

#include <stdatomic.h>

#include "core/rva.h"
#include "core/rva_rt.h"

typedef struct {
    size_t stride_bytes, capacity; /* of a sample over all channels; samples that fit */
    _Atomic size_t filled;         /* samples that are there; stored by the producer */
    unsigned char sound[];
} rva_tap;

/* Any thread. NULL when there is no memory; all of it has been touched. To be freed by free(). */
rva_tap *rva_tap_make(size_t stride_bytes, size_t samples);

/* Producer; real-time safe. Keeps a block, or as much of it as fits. */
RVA_REALTIME void rva_tap_take(rva_tap *tap, const void *block, size_t samples);

#endif
