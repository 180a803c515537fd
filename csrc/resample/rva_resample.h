/* rva_resample - from any device rate to 16 kHz, mono float: half bands, then the polyphase stage. Internal.
 *
 * Delay-compensated: output sample m is the input's value at the time m / 16,000 s, and is given out as soon as the
 * input that it needs is there. The result does not depend on how the input is cut into runs. */
#ifndef RVA_RESAMPLE_H
#define RVA_RESAMPLE_H

#include "core/rva.h"
#include "core/rva_rt.h"

/* Most input samples of one run. As little as 10 ms at 48 kHz needs: a callback finds its caches and its TLB cold, and
 * pays for every page that the buffers are spread over. */
#define RVA_RESAMPLE_CHUNK 512
#define RVA_RESAMPLE_OUTPUTS (2 * RVA_RESAMPLE_CHUNK + 512) /* most outputs of a run, of any stage, and of an end */

typedef struct rva_resampler rva_resampler;

/* RVA_OK, or which field is wrong. Computes the filter and allocates all that it will need. Not real-time safe. */
int rva_resample_open(const rva_config *config, rva_resampler **resampler);
void rva_resample_close(rva_resampler *resampler);

/* Room for RVA_RESAMPLE_CHUNK samples, to be filled before each run: memory that is touched anyway, and that kernels may read
 * beyond. */
RVA_REALTIME float *rva_resample_input(rva_resampler *resampler);

/* Takes int16 samples, times `scale`, straight into the first stage, before a run that takes the rest: as many of them as go
 * that way, which may be none. Adds those at full scale to *clipped and returns how many were taken. */
RVA_REALTIME size_t rva_resample_take_int16(rva_resampler *resampler, const int16_t *samples, size_t count, float scale,
                                            uint32_t *clipped);

/* Takes that many input samples from the room, and returns how many outputs they allow; *outputs says where these are, in the
 * resampler's own memory until the next call. */
RVA_REALTIME size_t rva_resample_run(rva_resampler *resampler, size_t samples, float **outputs);

/* The end of the input: writes what is left, so that the total is input x 16,000 / rate, rounded up, and returns how
 * many; all state is back at its beginning. */
RVA_REALTIME size_t rva_resample_end(rva_resampler *resampler, float *outputs);

/* Input samples between the newest that was taken and the one at the time of the next output. May be negative at high
 * ratios. */
RVA_REALTIME double rva_resample_ahead_samples(const rva_resampler *resampler);

/* Input samples that are still to be taken until `outputs` more have been given out, 1 at least. It may say a few more
 * than are needed, never less. */
RVA_REALTIME uint64_t rva_resample_due_samples(const rva_resampler *resampler, uint64_t outputs);

double rva_resample_group_delay_s(const rva_resampler *resampler);
const char *rva_resample_kernel(const rva_resampler *resampler);

#endif
