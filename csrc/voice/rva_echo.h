/* rva_echo - echo cancellation: takes the loudspeaker's sound out of the microphone's.
 *
 *     size_t bytes = rva_echo_bytes();
 *     rva_echo *echo = aligned_alloc(RVA_ECHO_ALIGN, bytes);
 *     rva_echo_open(echo, bytes, RVA_ECHO_SUPPRESS);
 *     for (;;) {
 *         ... 256, 512, ... samples of the microphone, and what was played when they were heard, or up to 0.2 s before
 *         rva_echo_process(echo, microphone, reference, out, samples);
 *     }
 *     free(echo);
 *
 * A linear filter (rva_kalman.h) explains what it can of the microphone's sound by the reference, and takes it away; that
 * leaves a visitor's voice as it is. A suppressor (rva_suppress.h) holds down the rest, and is one block of 256 samples late.
 * The echo must come after its reference, by 0 to 0.3 s less the room's reverberation, and both must keep time to a few parts
 * per million.
 *
 * The output depends on the sound and on the calls' order, not on how it is cut into calls, nor on the processor: kernels give
 * the same bits (but NEON on 32-bit ARM, where numbers below 1e-38 are zero). With nothing ever played it is the microphone's,
 * bit for bit. */
#ifndef RVA_ECHO_H
#define RVA_ECHO_H

#include <stddef.h>
#include <stdint.h>

/* --- cdef begin --- */

#define RVA_ECHO_BLOCK 256
#define RVA_ECHO_ALIGN 64
#define RVA_ECHO_HISTORY 5376 /* samples of the reference that a canceller knows: 21 blocks */

enum { RVA_ECHO_SUPPRESS = 1 }; /* options: with the suppressor; the output is RVA_ECHO_BLOCK samples late then */

typedef struct rva_echo rva_echo;

typedef struct {
    uint64_t blocks;          /* since it was opened */
    uint64_t played_blocks;   /* with a reference above -70 dBFS */
    uint64_t restarts;        /* what had been learnt of the echo's path was useless, and it is learnt anew */
    double erle_db;           /* echo return loss enhancement: microphone over output, of the last 10 s of echo; 0: none yet */
    int32_t is_settled;       /* the path is learnt: the linear filter alone takes 6 dB or more of the echo away */
} rva_echo_statistics;

/* Any thread; real-time safe. How much memory a canceller needs, in bytes. */
size_t rva_echo_bytes(void);

/* Any thread; not real-time safe. Makes a canceller in `memory`, aligned to RVA_ECHO_ALIGN, with these options. 0 on
 * success; -1 when the memory is not aligned or too small, or an option unknown. There is nothing to close. */
int rva_echo_open(rva_echo *memory, size_t bytes, uint32_t options);

/* One thread at a time; real-time safe. `samples` of microphone, reference and output (int16 at 16 kHz, little-endian as in
 * rva_frame, aligned or not): a multiple of RVA_ECHO_BLOCK, else nothing is done and -1 returned; 0 on success. `out` may be
 * one of the other two. */
int rva_echo_process(rva_echo *echo, const void *microphone, const void *reference, void *out, size_t samples);

/* The same thread; real-time safe. From the next block on the echo comes `samples` later against the reference than before
 * (negative: sooner), as the reference was moved: what has been learnt moves with it. `history` is what the reference's last
 * RVA_ECHO_HISTORY samples would have been, moved: int16, little-endian, the oldest first. So no echo comes through. */
void rva_echo_move(rva_echo *echo, int32_t samples, const void *history);

/* The same thread; real-time safe. Forgets the echo's path. */
void rva_echo_restart(rva_echo *echo);

/* The same thread; real-time safe. */
void rva_echo_statistics_of(const rva_echo *echo, rva_echo_statistics *statistics);

/* --- cdef end --- */

#endif
