"""Design the resampler's filters and write them as C tables: ``python csrc/design/design_prototype.py [DIRECTORY]``.

Nothing is designed at run time: opening a stream only *samples* what is computed here.

Prototype
    One continuous-time kernel per profile, h(t) = sum c[i] B(t * KNOT_HZ - i), B the cardinal B-spline of some degree.
    Its Fourier transform is C(f) * sinc(f / KNOT_HZ) ** (degree + 1): C is an ordinary symmetric FIR response at
    KNOT_HZ, and the spline's own roll-off removes the images of C. So minimax design of h is minimax design of C with a
    desired value of 1 / sinc**(degree + 1) in the pass band and a weight that, at each frequency of C, is the largest
    that any of its images needs. The Remez exchange solves that exactly (Parks & McClellan 1972, in the barycentric
    form). Every phase of every rate samples this one h, so that phases agree and no modulation can arise.

Stop-band tilt
    At an input rate fs the responses at f, f + fs, f - fs, ... fold onto each other. Flat ripples would add up; ripples
    that fall off as (f / stop) ** -TILT do not, to within a fraction of a decibel.

Minimum phase
    The zeros of C outside the unit circle are reflected into it. |C| stays what it was at every frequency, so both
    phases of a profile have the same magnitude response; the spline keeps its small delay of (degree + 1) / 2 knots.

Half bands
    Rates of 40 kHz and more are first halved (linear phase only). The filter need only be flat up to `edge_hz` and kill
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

KNOT_HZ = 64_000.0
GRID_PER_EXTREMUM = 20
TILT = 1.3
HALF_BAND_RATES_HZ = (44_100, 48_000, 88_200, 176_400)


@dataclass(frozen=True)
class Profile:
    """What one profile promises; decibels are relative to unity gain."""

    name: str
    pass_hz: float
    stop_hz: float
    pass_db: float
    stop_db: float
    support_s: float
    degree: int
    edge_hz: float
    half_band_db: float


PROFILES = (
    Profile("balanced", 7300, 8000, 0.008, -100.0, 6.75e-3, 7, 7700, -104.0),
    Profile("low_latency", 7300, 8700, 0.008, -100.0, 3.52e-3, 7, 7350, -104.0),
    Profile("high", 7600, 8000, 0.004, -122.0, 14.1e-3, 7, 7850, -128.0),
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


def spline_gain(f_hz: Array, degree: int) -> Array:
    gain: Array = np.sinc(f_hz / KNOT_HZ) ** (degree + 1)
    return gain


def gain_error(db: float) -> float:
    return float(10 ** (db / 20) - 1)


def design_prototype(profile: Profile) -> Array:
    """The knots' coefficients c, symmetric and of odd length, such that h has unity gain in units of 1 / KNOT_HZ."""
    length = round(profile.support_s * KNOT_HZ) - profile.degree - 1
    count = (length + 1) // 2
    step = KNOT_HZ / 2 / count / GRID_PER_EXTREMUM
    passed = np.linspace(0, profile.pass_hz, int(profile.pass_hz / step) + 1)
    stopped = np.linspace(profile.stop_hz, KNOT_HZ / 2, int((KNOT_HZ / 2 - profile.stop_hz) / step) + 1)
    weight = np.zeros_like(stopped)
    for image in (stopped, *(np.abs(j * KNOT_HZ + s * stopped) for j in (1, 2, 3) for s in (-1, 1))):
        tolerance = 10 ** (profile.stop_db / 20) * (image / profile.stop_hz) ** -TILT
        weight = np.maximum(weight, np.abs(spline_gain(image, profile.degree)) / tolerance)
    flat = spline_gain(passed, profile.degree)
    series, worst = minimax(
        np.cos(2 * np.pi * np.concatenate([passed, stopped]) / KNOT_HZ),
        np.concatenate([1 / flat, np.zeros_like(stopped)]),
        np.concatenate([flat / gain_error(profile.pass_db), weight]),
        count,
    )
    if worst > 1:
        raise RuntimeError(f"{profile.name}: {worst:.3f} times the tolerance; give the kernel more support")
    return np.concatenate([series[:0:-1], series])


def minimum_phase(symmetric: Array) -> Array:
    """The causal coefficients with the same magnitude response and all zeros on or inside the unit circle."""
    half = len(symmetric) // 2
    chebyshev = symmetric[half:] * np.r_[1.0, np.full(half, 2.0)]
    x = np.polynomial.chebyshev.chebroots(chebyshev).astype(complex)
    on_circle = (np.abs(x.imag) < 1e-12) & (np.abs(x.real) <= 1)
    x[on_circle] = x[on_circle].real
    outer = x + np.sqrt(x - 1) * np.sqrt(x + 1)
    first = np.where(np.abs(outer) > 1, 1 / outer, outer)
    second = np.where(on_circle, np.conj(first), first)
    points = 1 << int(np.ceil(np.log2(4 * len(symmetric))))
    z = np.exp(-2j * np.pi * np.arange(points) / points)
    response = np.ones(points, dtype=complex)
    for root in np.concatenate([first, second]):
        response *= 1 - root * z
    causal = np.fft.ifft(response).real[: len(symmetric)]
    result: Array = causal * (symmetric.sum() / causal.sum())
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
    body = [note, '#include "rva_prototype_data.h"\n\n']
    prototypes: list[str] = []
    bands: list[str] = []
    for profile in PROFILES:
        linear = design_prototype(profile)
        half = len(linear) // 2
        body.append(f"static const double linear_{profile.name}[{half + 1}] = {{\n{_rows(linear[half:])}\n}};\n\n")
        body.append(
            f"static const double minimum_{profile.name}[{len(linear)}] = {{\n{_rows(minimum_phase(linear))}\n}};\n\n"
        )
        prototypes.append(f"    {{{profile.degree}, {len(linear)}, linear_{profile.name}, minimum_{profile.name}}},\n")
        row = []
        for rate in HALF_BAND_RATES_HZ:
            band = design_half_band(rate, profile.edge_hz, profile.half_band_db)
            body.append(f"static const double half_{profile.name}_{rate}[{len(band)}] = {{\n{_rows(band)}\n}};\n\n")
            row.append(f"{{{rate}, {len(band)}, half_{profile.name}_{rate}}}")
        bands.append("    {" + ",\n     ".join(row) + "},\n")
    body.append("const rva_prototype rva_prototypes[RVA_PROTOTYPE_COUNT] = {\n" + "".join(prototypes) + "};\n\n")
    body.append(
        "const rva_half_band rva_half_bands[RVA_PROTOTYPE_COUNT][RVA_HALF_BAND_CLASSES] = {\n" + "".join(bands) + "};\n"
    )
    (directory / "rva_prototype_data.c").write_text("".join(body))
    (directory / "rva_prototype_data.h").write_text(
        note
        + f"""#ifndef RVA_PROTOTYPE_DATA_H
#define RVA_PROTOTYPE_DATA_H

/* The prototype filters, one per profile, in the order of RVA_PROFILE_*. Gain is unity when h is summed at KNOT_HZ. */

#define RVA_PROTOTYPE_KNOT_HZ {KNOT_HZ:.1f}
#define RVA_PROTOTYPE_COUNT {len(PROFILES)}
#define RVA_PROTOTYPE_MAX_DEGREE {max(profile.degree for profile in PROFILES)}
#define RVA_HALF_BAND_CLASSES {len(HALF_BAND_RATES_HZ)}

typedef struct rva_prototype {{
    int degree;            /* of the B-spline */
    int knots;             /* how many coefficients h has; odd */
    const double *linear;  /* [knots / 2 + 1]: the symmetric coefficients from the centre outwards */
    const double *minimum; /* [knots]: the minimum-phase coefficients from t = 0 on */
}} rva_prototype;

typedef struct rva_half_band {{
    int rate_hz; /* the lowest input rate that this table is made for */
    int taps;    /* coefficients of one side */
    const double *side;
}} rva_half_band;

extern const rva_prototype rva_prototypes[RVA_PROTOTYPE_COUNT];
extern const rva_half_band rva_half_bands[RVA_PROTOTYPE_COUNT][RVA_HALF_BAND_CLASSES];

#endif
"""
    )


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
