/* rva_vad - voice activity by energy: hops of 16 ms against a noise floor that adapts, with hysteresis.
 *
 * A hop is speech when its RMS reaches the level, and stands out of the noise by the margin; once it is speech the
 * thresholds are lower by the hysteresis. The noise floor is the smallest smoothed energy of the last 2 to 2.5 s (minimum
 * statistics: R. Martin, "Noise power spectral density estimation based on optimal smoothing and minimum statistics",
 * IEEE Trans. Speech Audio Processing 9(5), 2001, without its bias compensation), so speech with pauses does not lift
 * it, and noise that begins is taken for speech for 2.5 s at most. A steady hum or fan is noise, whatever its level.
 */
#ifndef RVA_VAD_H
#define RVA_VAD_H

#include <stddef.h>
#include <stdint.h>

/* --- cdef begin --- */

/* All of a detector's state: the caller's memory, plain data that may be copied. Its fields are nobody's business. */
typedef struct {
    double level, margin, release; /* mean square, ratio, ratio */
    double smoothed, floor, window_minimum;
    double minima[4];
    uint64_t energy; /* of the open hop */
    uint32_t filled, hops, window;
    int32_t is_speech;
} rva_vad;

/* Any thread; real-time safe. Makes a detector ready. `level_dbfs`: RMS below which nothing is speech, -90 to 0.
 * `margin_db`: how far speech stands out of the noise, 0 to 40; 0 leaves the noise floor out. `hysteresis_db`: 0 to 20.
 * 0 on success; -1 and an untouched detector when a value is out of its range (NaN too). */
int rva_vad_open(rva_vad *vad, double level_dbfs, double margin_db, double hysteresis_db);

/* The detector's one thread; real-time safe. Hears `samples` (int16 at 16 kHz, little-endian as in rva_frame, aligned
 * or not), and writes one byte for each hop that they complete: 1 for speech, else 0; at most samples / 256 + 1 of them.
 * Returns how many. */
size_t rva_vad_feed(rva_vad *vad, const void *pcm, size_t samples, uint8_t *decisions);

/* The detector's one thread; real-time safe. Forgets the hop that is half full: sound is missing here. */
void rva_vad_skip(rva_vad *vad);

/* The detector's one thread; real-time safe. RMS of the noise against full scale, in dB; -200 when there is none. */
double rva_vad_floor_dbfs(const rva_vad *vad);

/* --- cdef end --- */

#endif
