"""Design the resampler's filters and write them as C tables: ``python design_prototype.py [DIRECTORY]``.

Nothing is designed at run time: opening a stream only *samples* what is computed here.

Prototype
    One continuous-time kernel per profile, h(t) = sum c[i] B(t * KNOT_HZ - i), B the cardinal B-spline of some degree.
    Its Fourier transform is C(f) * sinc(f / KNOT_HZ) ** (degree + 1): C is an ordinary symmetric FIR response at
    KNOT_HZ, and the spline's own roll-off removes the images of C. So minimax design of h is minimax design of C with a
    desired value of 1 / sinc**(degree + 1) in the pass band and a weight that, at each frequency of C, is the largest
    that any of its images needs (those of the transition, which no weight holds down, are left to the spline: KNOT_HZ
    is high enough). The Remez exchange solves that exactly (Parks & McClellan 1972, in the barycentric form). Every
    phase of every rate samples this one h, so that phases agree and no modulation can arise.

Stop-band tilt
    At an input rate fs the responses at f, f + fs, f - fs, ... fold onto each other. Flat ripples would add up; ripples
    that fall off as (f / stop) ** -tilt do not, to within a fraction of a decibel.

Narrow and wide
    A transition as narrow as 700 Hz costs the more the higher the rate is. So linear phase goes by 24 kHz: half bands
    and, for what is no multiple of it, a wide kernel remove only what would fold below 8 kHz there. The narrow one does
    the rest at that rate, always with the same two phases. Both kernels are minimax designs of the same kind.

Minimum phase
    The magnitude decides the delay (Bode 1945): each decibel of the stop band costs some, and the spline's own roll-off
    is (degree + 1) / 2 knots of it. So what is deeper than it need be is filled: the minimum phase has the magnitude
    sqrt(|C|**2 + floor**2), which is C's but for the zeros between the stop band's ripples, and again a polynomial of
    C's length. The floor falls with frequency, as the ripples do. The factor with all zeros inside the unit circle is
    made by the cepstrum (Oppenheim & Schafer, Discrete-Time Signal Processing, "Complex Cepstrum").

Half bands
    Rates of 48 kHz and more are first halved (linear phase only). The filter need only be flat up to `edge_hz` and kill
    what would fold below it: the kernel finishes the job. One table per class of rates, as short as the target allows.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

KNOT_HZ, WIDE_KNOT_HZ = 96_000.0, 128_000.0
DEGREE = 5
BETWEEN_HZ = 24_000.0
GRID_PER_EXTREMUM = 20
WIDE_TILT = 1.0
HALF_BAND_RATES_HZ = (48_000, 88_200, 176_400)


@dataclass(frozen=True)
class Profile:
    """What one profile promises; decibels are relative to unity gain."""

    name: str
    pass_hz: float
    stop_hz: float
    pass_db: float
    stop_db: float
    tilt: float
    support_s: float
    floor_db: float
    edge_hz: float
    ripple_db: float
    fold_db: float
    wide_support_s: float


PROFILES = (
    Profile("balanced", 7300, 8000, 0.008, -100.0, 1.3, 6.70e-3, -112.0, 7700, 0.0018, -104.0, 0.68e-3),
    Profile("low_latency", 7300, 8700, 0.008, -100.0, 1.3, 3.46e-3, -112.0, 7350, 0.0018, -104.0, 0.65e-3),
    Profile("high", 7600, 8000, 0.004, -123.0, 1.0, 14.3e-3, -124.0, 8000, 0.0005, -126.0, 0.85e-3),
)


def minimax(x: Array, desired: Array, weight: Array, count: int) -> tuple[Array, float]:
    """The cosine series of `count` terms in x = cos(w) that minimises max |weight * (desired - P(x))| on the grid.

    Returns (a, error) with P(cos w) = a[0] + 2 * sum a[k] cos(k w). Raises RuntimeError where the exchange fails.
    """
    nodes, bary, values, worst, _ = _exchange(x, desired, weight, count)
    grid = np.cos(np.pi * np.arange(2 * count + 1) / (2 * count))
    sampled = _barycentric(grid, nodes, bary, values)
    return np.fft.ifft(np.concatenate([sampled, sampled[-2:0:-1]])).real[:count], worst


def _exchange(
    x: Array, desired: Array, weight: Array, count: int
) -> tuple[Array, Array, Array, float, NDArray[np.int64]]:
    """The Remez exchange: nodes, weights and values of the barycentric form, the error, and where it alternates."""
    if count > 40:
        # Evenly spread points are hopeless for a long series; the alternation of one half as long, stretched, is close
        # (Filip 2016, "A robust and scalable implementation of the Parks-McClellan algorithm").
        shorter = _exchange(x, desired, weight, count // 2)[4]
        reference = np.interp(np.linspace(0, 1, count + 1), np.linspace(0, 1, len(shorter)), shorter)
    else:
        reference = np.linspace(0, len(x) - 1, count + 1)
    rank = np.arange(count + 1)
    points = np.maximum.accumulate(np.round(reference).astype(np.int64) - rank) + rank  # no point twice
    points = np.minimum(points, len(x) - 1 - rank[::-1])
    alternating = (-1.0) ** np.arange(count + 1)
    for _ in range(40):
        nodes = x[points]
        difference = nodes[:, None] - nodes[None, :]
        np.fill_diagonal(difference, 1.0)
        logs = -np.log(np.abs(difference)).sum(axis=1)
        bary = np.prod(np.sign(difference), axis=1) * np.exp(logs - logs.max())
        level = (bary @ desired[points]) / (bary @ (alternating / weight[points]))
        values = desired[points] - alternating * level / weight[points]
        inner = bary[:-1] * (nodes[:-1] - nodes[-1])
        error = weight * (desired - _barycentric(x, nodes[:-1], inner, values[:-1]))
        worst = float(np.abs(error).max())
        if worst <= abs(level) * (1 + 2e-4):
            return nodes[:-1], inner, values[:-1], worst, points
        points = _alternation(error, count + 1)
    raise RuntimeError(f"the Remez exchange has not converged: {worst:g} against {abs(level):g}")


def _barycentric(x: Array, nodes: Array, weights: Array, values: Array) -> Array:
    difference = x[:, None] - nodes[None, :]
    row, column = np.nonzero(difference == 0)
    difference[row, column] = 1.0
    kernel = weights / difference
    result: Array = (kernel @ values) / kernel.sum(axis=1)
    result[row] = values[column]
    return result


def _alternation(error: Array, wanted: int) -> NDArray[np.int64]:
    """The largest error of each run of one sign, thinned to `wanted` points that still alternate."""
    sign = np.sign(error)
    cuts = [0, *(np.nonzero(sign[1:] != sign[:-1])[0] + 1), len(error)]
    points = np.array([a + int(np.argmax(np.abs(error[a:b]))) for a, b in pairwise(cuts)])
    while len(points) > wanted:
        size = np.abs(error[points])
        pairs = np.maximum(size[1:], size[:-1])
        at = int(np.argmin(pairs))
        if len(points) == wanted + 1 or min(size[0], size[-1]) < pairs[at]:
            points = points[1:] if size[0] < size[-1] else points[:-1]
        else:
            points = np.delete(points, [at, at + 1])
    if len(points) < wanted:
        raise RuntimeError(f"the Remez exchange lost its alternation: {len(points)} of {wanted} points")
    return points


def spline_gain(f_hz: Array, knot_hz: float) -> Array:
    gain: Array = np.sinc(f_hz / knot_hz) ** (DEGREE + 1)
    return gain


def gain_error(db: float) -> float:
    return float(10 ** (db / 20) - 1)


def design_prototype(profile: Profile) -> Array:
    """The narrow kernel's coefficients c: symmetric, of odd length, of unity gain in units of 1 / KNOT_HZ."""
    tolerances = profile.pass_db, profile.stop_db
    shape = profile.support_s, profile.tilt, KNOT_HZ
    return _design(profile.name, profile.pass_hz, profile.stop_hz, *tolerances, *shape)


def design_wide(profile: Profile) -> Array:
    """The wide kernel's: flat where the narrow one is, and nothing left that would fold below `edge_hz` at 24 kHz."""
    stop_hz = BETWEEN_HZ - profile.edge_hz
    tolerances = profile.ripple_db, profile.fold_db
    return _design(profile.name, profile.pass_hz, stop_hz, *tolerances, profile.wide_support_s, WIDE_TILT, WIDE_KNOT_HZ)


def _design(
    name: str,
    pass_hz: float,
    stop_hz: float,
    pass_db: float,
    stop_db: float,
    support_s: float,
    tilt: float,
    knot_hz: float,
) -> Array:
    length = (round(support_s * knot_hz) - DEGREE - 1) // 2 * 2 + 1
    count = (length + 1) // 2
    step = knot_hz / 2 / count / GRID_PER_EXTREMUM
    passed = np.linspace(0, pass_hz, int(pass_hz / step) + 1)
    stopped = np.linspace(stop_hz, knot_hz / 2, int((knot_hz / 2 - stop_hz) / step) + 1)
    weight = np.zeros_like(stopped)
    for image in (stopped, *(np.abs(j * knot_hz + s * stopped) for j in (1, 2, 3) for s in (-1, 1))):
        tolerance = 10 ** (stop_db / 20) * (image / stop_hz) ** -tilt
        weight = np.maximum(weight, np.abs(spline_gain(image, knot_hz)) / tolerance)
    flat = spline_gain(passed, knot_hz)
    series, worst = minimax(
        np.cos(2 * np.pi * np.concatenate([passed, stopped]) / knot_hz),
        np.concatenate([1 / flat, np.zeros_like(stopped)]),
        np.concatenate([flat / gain_error(pass_db), weight]),
        count,
    )
    if worst > 1:
        raise RuntimeError(f"{name}: {worst:.3f} times the tolerance; give the kernel more support than {support_s}")
    return np.concatenate([series[:0:-1], series])


def minimum_phase(symmetric: Array, floor_db: float) -> Array:
    """The causal coefficients of that magnitude over a floor, relative to unity, with all zeros in the unit circle."""
    points = 1 << 19  # many enough for the cepstrum, which dies away as fast as the zeros are off the circle
    half = len(symmetric) // 2
    centred = np.concatenate([symmetric[half:], np.zeros(points - len(symmetric)), symmetric[:half]])
    magnitude = np.fft.fft(centred).real
    falling = (1.2 + np.cos(2 * np.pi * np.arange(points) / points)) / 2.2  # never zero: no zero lies on the circle
    floor = 10 ** (floor_db / 20) * symmetric.sum() * falling
    cepstrum = np.fft.ifft(np.log(magnitude**2 + floor**2) / 2).real
    cepstrum[1 : points // 2] *= 2
    cepstrum[points // 2 + 1 :] = 0
    causal = np.fft.ifft(np.exp(np.fft.fft(cepstrum))).real
    if np.abs(causal[len(symmetric) :]).max() > 1e-9:
        raise RuntimeError(f"the minimum phase is not a filter of that length with a floor of {floor_db} dB")
    result: Array = causal[: len(symmetric)] * (symmetric.sum() / causal[: len(symmetric)].sum())
    return result


def design_half_band(rate_hz: float, edge_hz: float, target_db: float) -> Array:
    """The K coefficients a of y[j] = x[2j] / 2 + sum a[k] (x[2j - 2k - 1] + x[2j + 2k + 1]), K as small as can be."""
    for count in range(2, 40):
        w = np.linspace(0, 2 * np.pi * edge_hz / rate_hz, 40 * count)
        # sum 2 a[k] cos((2k + 1) w) = cos(w) Q(cos 2w), to be 1/2
        series, worst = minimax(np.cos(2 * w), 0.5 / np.cos(w), np.cos(w), count)
        if worst <= 10 ** (target_db / 20):
            q = series * np.r_[1.0, np.full(count - 1, 2.0)]
            return _odd_cosines(q) / 2
    raise RuntimeError(f"no half band for {rate_hz} Hz")


def _odd_cosines(q: Array) -> Array:
    """cos(w) * sum q[k] cos(2kw) as coefficients of cos((2k + 1) w)."""
    result = np.zeros(len(q))
    result[0] = q[0]
    for k in range(1, len(q)):
        result[k - 1] += q[k] / 2
        result[k] += q[k] / 2
    return result


def _rows(values: Array) -> str:
    cells = [f"{value!r}," for value in values.tolist()]
    return "\n".join("    " + " ".join(cells[i : i + 4]) for i in range(0, len(cells), 4))


def write_tables(directory: Path) -> None:
    note = "/* Written by design/design_prototype.py; change that and run it, not this. */\n"
    body = [note, '#include "resample/rva_prototype_data.h"\n\n']
    prototypes: list[str] = []
    bands: list[str] = []
    for profile in PROFILES:
        linear, wide = design_prototype(profile), design_wide(profile)
        minimum = minimum_phase(linear, profile.floor_db)
        body.append(f"static const double linear_{profile.name}[{len(linear)}] = {{\n{_rows(linear)}\n}};\n\n")
        body.append(f"static const double minimum_{profile.name}[{len(linear)}] = {{\n{_rows(minimum)}\n}};\n\n")
        body.append(f"static const double wide_{profile.name}[{len(wide)}] = {{\n{_rows(wide)}\n}};\n\n")
        prototypes.append(
            f"    {{{{{KNOT_HZ}, {len(linear)}, linear_{profile.name}}},\n"
            f"     {{{KNOT_HZ}, {len(linear)}, minimum_{profile.name}}},\n"
            f"     {{{WIDE_KNOT_HZ}, {len(wide)}, wide_{profile.name}}}}},\n"
        )
        row = []
        for rate in HALF_BAND_RATES_HZ:
            band = design_half_band(rate, profile.edge_hz, profile.fold_db)
            body.append(f"static const double half_{profile.name}_{rate}[{len(band)}] = {{\n{_rows(band)}\n}};\n\n")
            row.append(f"{{{rate}, {len(band)}, half_{profile.name}_{rate}}}")
        bands.append("    {" + ",\n     ".join(row) + "},\n")
    body.append("const rva_prototype_set rva_prototypes[RVA_PROTOTYPE_PROFILES] = {\n" + "".join(prototypes) + "};\n\n")
    body.append(
        "const rva_half_band rva_half_bands[RVA_PROTOTYPE_PROFILES][RVA_HALF_BAND_CLASSES] = {\n"
        + "".join(bands)
        + "};\n"
    )
    (directory / "rva_prototype_data.c").write_text("".join(body))
    (directory / "rva_prototype_data.h").write_text(
        note
        + f"""#ifndef RVA_PROTOTYPE_DATA_H
#define RVA_PROTOTYPE_DATA_H

/* The prototype filters of each profile, in the order of RVA_PROFILE_*. Gain is unity when h is summed
 * at knot_hz. */

#define RVA_PROTOTYPE_BETWEEN_HZ {BETWEEN_HZ:.0f} /* between the wide kernel or the half bands, and the narrow one */
#define RVA_PROTOTYPE_PROFILES {len(PROFILES)}
#define RVA_PROTOTYPE_DEGREE {DEGREE} /* of the B-splines */
#define RVA_HALF_BAND_CLASSES {len(HALF_BAND_RATES_HZ)}

typedef struct rva_prototype {{
    double knot_hz;
    int knots;
    const double *coefficients; /* [knots], from the kernel's beginning on */
}} rva_prototype;

typedef struct rva_prototype_set {{
    rva_prototype linear;  /* narrow: what decides the output's band; symmetric */
    rva_prototype minimum; /* the same magnitude in minimum phase */
    rva_prototype wide;    /* only takes a rate to 24 kHz, for the narrow one to finish; symmetric */
}} rva_prototype_set;

typedef struct rva_half_band {{
    int rate_hz; /* the lowest input rate that this table is made for */
    int taps;    /* coefficients of one side */
    const double *side;
}} rva_half_band;

extern const rva_prototype_set rva_prototypes[RVA_PROTOTYPE_PROFILES];
extern const rva_half_band rva_half_bands[RVA_PROTOTYPE_PROFILES][RVA_HALF_BAND_CLASSES];

#endif
"""
    )


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
