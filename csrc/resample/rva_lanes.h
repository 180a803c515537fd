/* What the bodies of vector kernels share, on the compilers' own vector types. The including file has defined, for its
 * instruction set, LANES and the type `lanes` of as many floats (with one lane: float itself), and, where the compiler's own
 * operators will not do, ADD(a, b), SUBTRACT(a, b), MULTIPLY(a, b) and LARGER(a, b). No include guard, as in the bodies. */
#include <string.h>

#ifndef ADD
#define ADD(a, b) ((a) + (b))
#define SUBTRACT(a, b) ((a) - (b))
#define MULTIPLY(a, b) ((a) * (b))
#endif

#define INLINE static inline __attribute__((always_inline))

INLINE lanes load(const float *from) {
    lanes value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE void store(float *to, lanes value) { memcpy(to, &value, sizeof value); }

INLINE lanes splat(float value) { return value - (lanes){0}; }

#ifndef LARGER
#if LANES == 1
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#else
typedef int32_t lanes_mask __attribute__((vector_size(LANES * sizeof(int32_t))));
INLINE lanes larger(lanes a, lanes b) {
    const lanes_mask is_first = a > b;
    return (lanes)((is_first & (lanes_mask)a) | (~is_first & (lanes_mask)b));
}
#define LARGER(a, b) larger(a, b)
#endif
#endif
