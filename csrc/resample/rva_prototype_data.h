/* Written by design/design_prototype.py; change that and run it, not this. */
#ifndef RVA_PROTOTYPE_DATA_H
#define RVA_PROTOTYPE_DATA_H

/* The prototype filters of each profile, in the order of RVA_PROFILE_*. Gain is unity when h is summed
 * at knot_hz. */

#define RVA_PROTOTYPE_BETWEEN_HZ 24000 /* between the wide kernel or the half bands, and the narrow one */
#define RVA_PROTOTYPE_PROFILES 3
#define RVA_PROTOTYPE_DEGREE 5 /* of the B-splines */
#define RVA_HALF_BAND_CLASSES 3

typedef struct rva_prototype {
    double knot_hz;
    int knots;
    const double *coefficients; /* [knots], from the kernel's beginning on */
} rva_prototype;

typedef struct rva_prototype_set {
    rva_prototype linear;  /* narrow: what decides the output's band; symmetric */
    rva_prototype minimum; /* the same magnitude in minimum phase */
    rva_prototype wide;    /* only takes a rate to 24 kHz, for the narrow one to finish; symmetric */
} rva_prototype_set;

typedef struct rva_half_band {
    int rate_hz; /* the lowest input rate that this table is made for */
    int taps;    /* coefficients of one side */
    const double *side;
} rva_half_band;

extern const rva_prototype_set rva_prototypes[RVA_PROTOTYPE_PROFILES];
extern const rva_half_band rva_half_bands[RVA_PROTOTYPE_PROFILES][RVA_HALF_BAND_CLASSES];

#endif
