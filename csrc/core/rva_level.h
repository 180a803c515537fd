/* rva_level - peak, energy and digital silence of a run of int16 samples. Internal. */
#ifndef RVA_LEVEL_H
#define RVA_LEVEL_H

#include "core/rva.h"
#include "core/rva_rt.h"

/* Adds up to RVA_HOP_SAMPLES samples (native byte order) to a hop: peak, energy, length and the run of zeros, which goes on from the
 * value that hop->zero_run_samples has. */
RVA_REALTIME void rva_level_add(rva_hop *hop, const int16_t *pcm, size_t count);

#endif
