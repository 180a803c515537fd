/* rva_quantize - float to int16 with saturation; byte order on the way out. Internal. */
#ifndef RVA_QUANTIZE_H
#define RVA_QUANTIZE_H

#include "core/rva.h"
#include "core/rva_rt.h"

/* Rounds to nearest, ties to even, after scaling 1.0 to 32,768; saturates to the int16 range. Native byte order. */
RVA_REALTIME void rva_quantize_run(const float *samples, size_t count, int16_t *pcm);

/* The same with triangular dither of one step (two wide, peak to peak) before rounding; `first` is the number of the
 * first sample since the beginning. */
RVA_REALTIME void rva_quantize_run_dithered(const float *samples, size_t count, uint64_t first, int16_t *pcm);

/* Native byte order to little-endian, in place; nothing to do on little-endian machines. */
RVA_REALTIME void rva_quantize_to_little_endian(int16_t *pcm, size_t count);

#endif
