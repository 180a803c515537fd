/* rva_gain - automatic gain: brings a voice to a level, slowly, and leaves the noise between the words alone.
 *
 *     rva_gain gain;
 *     rva_gain_open(&gain, -24.0);
 *     for (;;) rva_gain_process(&gain, heard, out, samples);      any number of samples
 *
 * The level is that of the voice only: hops of 16 ms that rva_vad.h takes for speech, in the mean of some seconds of them. The
 * gain goes there by 60 dB a second at most, stays where it is in pauses, and is -20 to +24 dB. It raises no noise above
 * -50 dBFS (as far as that has been heard: up to 5 s), and lowers none. A third of a second of speech that is 8 dB louder than
 * the mean, or 14 dB softer, is another voice, or the same one from elsewhere: it begins the mean anew, so that a whisper is
 * raised again within 2 s of a shout. What would come out above -1 dBFS nevertheless is held down by a limiter, which lets go by 40 dB a second.
 *
 * What comes out does not lag, and depends on how the sound is cut only within the 2 ms in which the limiter takes hold. */
#ifndef RVA_GAIN_H
#define RVA_GAIN_H

#include <stddef.h>
#include <stdint.h>

#include "voice/rva_vad.h"

/* --- cdef begin --- */

#define RVA_GAIN_RECENT 20 /* hops of speech, a third of a second */

/* All of a gain's state: the caller's memory, plain data that may be copied. Its fields are nobody's business. */
typedef struct {
    rva_vad vad;
    double target_db, gain_db, limit_db; /* the limiter's gain: 0 or less */
    double applied;                      /* the factor that the last sample was multiplied by */
    double mean;                         /* energy of the speech, in mean squares; 0: none yet */
    double recent[RVA_GAIN_RECENT], energy;
    uint32_t recents, next, means, filled;
} rva_gain;

/* Any thread; real-time safe. Makes a gain ready. `target_dbfs`: the voice's RMS as it should be, -40 to -12. 0 on success; -1
 * and an untouched gain when it is out of its range (NaN too). */
int rva_gain_open(rva_gain *gain, double target_dbfs);

/* One thread at a time; real-time safe. `samples` of sound and output (int16 at 16 kHz, little-endian as in rva_frame, aligned
 * or not), which may be the same memory. */
void rva_gain_process(rva_gain *gain, const void *pcm, void *out, size_t samples);

/* The same thread; real-time safe. Notes that sound is missing here. */
void rva_gain_skip(rva_gain *gain);

/* The same thread; real-time safe. The gain of now in dB, the limiter's part included. */
double rva_gain_db(const rva_gain *gain);

/* --- cdef end --- */

#endif
