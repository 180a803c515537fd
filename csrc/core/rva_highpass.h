/* rva_highpass - takes a constant offset out of sound at 16 kHz. Internal. */
#ifndef RVA_HIGHPASS_H
#define RVA_HIGHPASS_H

#include "core/rva.h"
#include "core/rva_rt.h"

#define RVA_HIGHPASS_HZ 20.0 /* -3 dB; at 100 Hz it is -0.17 dB. An offset falls to a thousandth in 55 ms */

typedef struct {
    float mean; /* what is taken out */
    float share;
} rva_highpass;

void rva_highpass_open(rva_highpass *highpass);

/* In place. First order: the running mean follows the sound by `share` of the difference, sample by sample. */
RVA_REALTIME void rva_highpass_run(rva_highpass *highpass, float *samples, size_t count);

#endif
