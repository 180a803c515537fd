/* Written by design/design_prototype.py; change that and run it, not this. */
#ifndef RVA_PROTOTYPE_DATA_H
#define RVA_PROTOTYPE_DATA_H

/* The prototype filters, one per profile, in the order of RVA_PROFILE_*. Gain is unity when h is summed at KNOT_HZ. */

#define RVA_PROTOTYPE_KNOT_HZ 64000.0
#define RVA_PROTOTYPE_COUNT 3
#define RVA_PROTOTYPE_MAX_DEGREE 7
#define RVA_HALF_BAND_CLASSES 4

typedef struct rva_prototype {
    int degree;            /* of the B-spline */
    int knots;             /* how many coefficients h has; odd */
    const double *linear;  /* [knots / 2 + 1]: the symmetric coefficients from the centre outwards */
    const double *minimum; /* [knots]: the minimum-phase coefficients from t = 0 on */
} rva_prototype;

typedef struct rva_half_band {
    int rate_hz; /* the lowest input rate that this table is made for */
    int taps;    /* coefficients of one side */
    const double *side;
} rva_half_band;

extern const rva_prototype rva_prototypes[RVA_PROTOTYPE_COUNT];
extern const rva_half_band rva_half_bands[RVA_PROTOTYPE_COUNT][RVA_HALF_BAND_CLASSES];

#endif
