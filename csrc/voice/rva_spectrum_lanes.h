/* The kernels' common body for spectra: rva_lanes.h says what the including file has defined. Multiplications and additions
 * are never fused, so that vectors of any width, and one lane, give the same bits. */
#include "voice/rva_kalman.h"
#include "voice/rva_spectrum.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

INLINE lanes square(lanes re, lanes im) { return ADD(MULTIPLY(re, re), MULTIPLY(im, im)); }

/* Four values 4 apart of 16, in place. */
INLINE void turn4(lanes *re, lanes *im, int first, int apart) {
    lanes *r0 = re + first, *r1 = r0 + apart, *r2 = r1 + apart, *r3 = r2 + apart;
    lanes *i0 = im + first, *i1 = i0 + apart, *i2 = i1 + apart, *i3 = i2 + apart;
    const lanes a_re = ADD(*r0, *r2), a_im = ADD(*i0, *i2), b_re = SUBTRACT(*r0, *r2), b_im = SUBTRACT(*i0, *i2);
    const lanes c_re = ADD(*r1, *r3), c_im = ADD(*i1, *i3), d_re = SUBTRACT(*r1, *r3), d_im = SUBTRACT(*i1, *i3);
    *r0 = ADD(a_re, c_re), *i0 = ADD(a_im, c_im);
    *r1 = ADD(b_re, d_im), *i1 = SUBTRACT(b_im, d_re);
    *r2 = SUBTRACT(a_re, c_re), *i2 = SUBTRACT(a_im, c_im);
    *r3 = SUBTRACT(b_re, d_im), *i3 = ADD(b_im, d_re);
}

INLINE void turn_by(lanes *re, lanes *im, lanes by_re, lanes by_im) {
    const lanes old = *re;
    *re = SUBTRACT(MULTIPLY(old, by_re), MULTIPLY(*im, by_im));
    *im = ADD(MULTIPLY(old, by_im), MULTIPLY(*im, by_re));
}

/* The transforms of the 16 columns of a square, each multiplied by the table where there is one. */
INLINE void columns(const rva_fft *fft, float *re, float *im, int is_turned) {
    for (int at = 0; at < 16; at += LANES) {
        lanes r[16], i[16];
#pragma GCC unroll 16
        for (int row = 0; row < 16; row++) r[row] = load(re + 16 * row + at), i[row] = load(im + 16 * row + at);
#pragma GCC unroll 4
        for (int n = 0; n < 4; n++) turn4(r, i, n, 4);
#pragma GCC unroll 4
        for (int k = 1; k < 4; k++)
#pragma GCC unroll 4
            for (int n = 1; n < 4; n++) /* by exp(-2 pi i n k / 16), which is in the table's row n */
                turn_by(r + 4 * k + n, i + 4 * k + n, splat(fft->square_re[64 * n + 4 * k]),
                        splat(fft->square_im[64 * n + 4 * k]));
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) turn4(r, i, 4 * k, 1);
#pragma GCC unroll 16
        for (int row = 0; row < 16; row++) {
            const int from = row % 4 * 4 + row / 4;
            if (is_turned)
                turn_by(r + from, i + from, load(fft->square_re + 16 * row + at), load(fft->square_im + 16 * row + at));
            store(re + 16 * row + at, r[from]);
            store(im + 16 * row + at, i[from]);
        }
    }
}

INLINE void transpose(const float *restrict from, float *restrict to) {
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 16; column++) to[16 * row + column] = from[16 * column + row];
}

RVA_REALTIME static void transform(const rva_fft *fft, float *re, float *im) {
    float turned_re[RVA_FFT_HALF], turned_im[RVA_FFT_HALF];
    columns(fft, re, im, 1);
    transpose(re, turned_re);
    transpose(im, turned_im);
    columns(fft, turned_re, turned_im, 0);
    memcpy(re, turned_re, sizeof turned_re);
    memcpy(im, turned_im, sizeof turned_im);
}

RVA_REALTIME static void part(const rva_fft *fft, const float *back_re, const float *back_im, float *re, float *im) {
    const lanes half = splat(0.5f);
    for (int k = 0; k < RVA_FFT_HALF; k += LANES) {
        const lanes z_re = load(re + k), z_im = load(im + k), b_re = load(back_re + k), b_im = load(back_im + k);
        const lanes even_re = MULTIPLY(half, ADD(z_re, b_re)), even_im = MULTIPLY(half, SUBTRACT(z_im, b_im));
        lanes odd_re = MULTIPLY(half, ADD(z_im, b_im)), odd_im = MULTIPLY(half, SUBTRACT(b_re, z_re));
        turn_by(&odd_re, &odd_im, load(fft->half_re + k), load(fft->half_im + k));
        store(re + k, ADD(even_re, odd_re));
        store(im + k, ADD(even_im, odd_im));
    }
}

RVA_REALTIME static void join(const rva_fft *fft, const float *back_re, const float *back_im, float *re, float *im) {
    const lanes half = splat(0.5f);
    for (int k = 0; k < RVA_FFT_HALF; k += LANES) {
        const lanes x_re = load(re + k), x_im = load(im + k), b_re = load(back_re + k), b_im = load(back_im + k);
        const lanes even_re = MULTIPLY(half, ADD(x_re, b_re)), even_im = MULTIPLY(half, SUBTRACT(x_im, b_im));
        lanes odd_re = MULTIPLY(half, SUBTRACT(x_re, b_re)), odd_im = MULTIPLY(half, ADD(x_im, b_im));
        turn_by(&odd_re, &odd_im, load(fft->half_re + k), SUBTRACT(splat(0.0f), load(fft->half_im + k)));
        store(re + k, SUBTRACT(even_re, odd_im));
        store(im + k, ADD(even_im, odd_re));
    }
}

/* sum += x * w */
INLINE void add_product(lanes x_re, lanes x_im, lanes w_re, lanes w_im, lanes *sum_re, lanes *sum_im) {
    *sum_re = ADD(*sum_re, SUBTRACT(MULTIPLY(x_re, w_re), MULTIPLY(x_im, w_im)));
    *sum_im = ADD(*sum_im, ADD(MULTIPLY(x_re, w_im), MULTIPLY(x_im, w_re)));
}

RVA_REALTIME static void predict(const rva_kalman *kalman, rva_kalman_filter *filter, float keep, float least, float *y_re,
                                 float *y_im, float *doubt) {
    const lanes kept = splat(keep), kept_power = splat(keep * keep), walk = splat(1.0f - keep * keep);
    const lanes floor = splat(least);
    for (int k = 0; k < RVA_FFT_ROOM; k += LANES) {
        lanes sum_re = splat(0.0f), sum_im = splat(0.0f), power = splat(0.0f);
        for (uint32_t p = 0; p < RVA_KALMAN_PARTITIONS; p++) {
            const uint32_t at = kalman->at[p];
            const lanes x_re = load(kalman->x_re[at] + k), x_im = load(kalman->x_im[at] + k);
            const lanes w_re = MULTIPLY(kept, load(filter->w_re[p] + k)), w_im = MULTIPLY(kept, load(filter->w_im[p] + k));
            lanes c = ADD(MULTIPLY(kept_power, load(filter->c[p] + k)), MULTIPLY(walk, square(w_re, w_im)));
            c = LARGER(c, floor);
            store(filter->w_re[p] + k, w_re);
            store(filter->w_im[p] + k, w_im);
            store(filter->c[p] + k, c);
            add_product(x_re, x_im, w_re, w_im, &sum_re, &sum_im);
            power = ADD(power, MULTIPLY(square(x_re, x_im), c));
        }
        store(y_re + k, sum_re);
        store(y_im + k, sum_im);
        store(doubt + k, power);
    }
}

/* The noise is what of the error's power the filter's uncertainty does not explain: taken for all of it, a loud echo would
 * be learnt ten times more slowly. */
RVA_REALTIME static void learn(const rva_kalman *kalman, rva_kalman_filter *filter, const float *e_re,
                               const float *e_im, const float *doubt) {
    const lanes kept = splat(0.7f), new = splat(0.3f), share = splat(0.02f), least_power = splat(1e-3f);
    const lanes one = splat(1.0f), half = splat(0.5f);
    for (int k = 0; k < RVA_FFT_ROOM; k += LANES) {
        const lanes error_re = load(e_re + k), error_im = load(e_im + k), explained = load(doubt + k);
        const lanes power = square(error_re, error_im);
        const lanes unexplained = LARGER(SUBTRACT(power, explained), MULTIPLY(share, power));
        const lanes noise = LARGER(ADD(MULTIPLY(kept, load(filter->noise + k)), MULTIPLY(new, unexplained)), least_power);
        store(filter->noise + k, noise);
        const lanes scale = one / ADD(explained, ADD(noise, noise));
        for (uint32_t p = 0; p < RVA_KALMAN_PARTITIONS; p++) {
            const uint32_t at = kalman->at[p];
            const lanes x_re = load(kalman->x_re[at] + k), x_im = load(kalman->x_im[at] + k), c = load(filter->c[p] + k);
            const lanes step = MULTIPLY(c, scale), s_re = MULTIPLY(step, x_re), s_im = MULTIPLY(step, x_im);
            lanes w_re = load(filter->w_re[p] + k), w_im = load(filter->w_im[p] + k);
            w_re = ADD(w_re, ADD(MULTIPLY(s_re, error_re), MULTIPLY(s_im, error_im)));
            w_im = ADD(w_im, SUBTRACT(MULTIPLY(s_re, error_im), MULTIPLY(s_im, error_re)));
            store(filter->w_re[p] + k, w_re);
            store(filter->w_im[p] + k, w_im);
            const lanes learnt = MULTIPLY(half, ADD(MULTIPLY(s_re, x_re), MULTIPLY(s_im, x_im)));
            store(filter->c[p] + k, MULTIPLY(SUBTRACT(one, learnt), c));
        }
    }
}

RVA_REALTIME static void apply(const rva_kalman *kalman, const rva_kalman_filter *filter, float *y_re, float *y_im) {
    for (int k = 0; k < RVA_FFT_ROOM; k += LANES) {
        lanes sum_re = splat(0.0f), sum_im = splat(0.0f);
        for (uint32_t p = 0; p < RVA_KALMAN_PARTITIONS; p++) {
            const uint32_t at = kalman->at[p];
            add_product(load(kalman->x_re[at] + k), load(kalman->x_im[at] + k), load(filter->w_re[p] + k),
                        load(filter->w_im[p] + k), &sum_re, &sum_im);
        }
        store(y_re + k, sum_re);
        store(y_im + k, sum_im);
    }
}

RVA_REALTIME static void smooth(const float *re, const float *im, float keep, float *power, float *smoothed) {
    const lanes kept = splat(keep), new = splat(1.0f - keep), least = splat(1e-9f); /* denormals are slow */
    for (int k = 0; k < RVA_FFT_ROOM; k += LANES) {
        const lanes now = square(load(re + k), load(im + k));
        store(power + k, now);
        store(smoothed + k, LARGER(ADD(MULTIPLY(kept, load(smoothed + k)), MULTIPLY(new, now)), least));
    }
}

RVA_REALTIME static void weigh(const float *power, const float *echo, float over, float least, float *before, float *gain,
                               float *re, float *im) {
    const lanes zero = splat(0.0f), many = splat(over), floor = splat(least);
    const lanes kept = splat(0.7f), new = splat(0.3f), tiny = splat(1e-3f);
    for (int k = 0; k < RVA_FFT_ROOM; k += LANES) {
        /* the ratio of speech to echo, times the echo, so that no echo divides by nothing */
        const lanes now = load(power + k), unwanted = MULTIPLY(many, load(echo + k)), old = load(gain + k);
        const lanes above = LARGER(SUBTRACT(now, unwanted), zero);
        const lanes wanted = ADD(MULTIPLY(kept, MULTIPLY(MULTIPLY(old, old), load(before + k))), MULTIPLY(new, above));
        const lanes weight = LARGER(ADD(wanted, tiny) / ADD(ADD(wanted, unwanted), tiny), floor);
        store(before + k, now);
        store(gain + k, weight);
        store(re + k, MULTIPLY(weight, load(re + k)));
        store(im + k, MULTIPLY(weight, load(im + k)));
    }
}

static const rva_spectrum spectrum = {
    .transform = transform,
    .part = part,
    .join = join,
    .predict = predict,
    .learn = learn,
    .apply = apply,
    .smooth = smooth,
    .weigh = weigh,
};
