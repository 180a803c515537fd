"""Test signals: tone, sweep, noise and speech-like sound, the same for the same seed. Pure."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ravatar_audio.errors import SettingsError

Samples = NDArray[np.float32]
_Values = NDArray[np.float64]

KINDS = ("speech", "tone", "sweep", "noise")

TONE_HZ = 1_000.0
TONE_DBFS = -12.0
"""Peak level of tone and sweep; noise has it as RMS less 8 dB, so that it does not clip."""
SWEEP_S = 10.0
SWEEP_FROM_HZ = 20.0

_SEGMENT_S = 0.25
_AMPLITUDE = 10 ** (TONE_DBFS / 20)

# Formants (Hz) of vowels, men: Peterson and Barney, "Control methods used in a study of the vowels", JASA 24 (1952).
_VOWELS = np.array(
    [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410), (440, 1020, 2240)]
)
_BANDWIDTHS_HZ = np.array([80.0, 100.0, 140.0])
_FORMANT_GAINS = np.array([1.0, 0.5, 0.25])


def generate(kind: str, rate_hz: int, seed: int = 1) -> Iterator[Samples]:
    """Yield endless mono sound at `rate_hz`, in pieces of any length; the pieces joined depend on the arguments only.

    Raises SettingsError for a kind that is not one of KINDS.
    """
    makers = {"tone": _tone, "sweep": _sweep, "noise": _noise, "speech": _speech}
    if kind not in makers:
        raise SettingsError(f"synthetic sound {kind!r} is unknown; it is one of {', '.join(KINDS)}")
    return makers[kind](rate_hz, np.random.default_rng(seed))


def _tone(rate_hz: int, rng: np.random.Generator) -> Iterator[Samples]:
    step = np.arange(rate_hz)  # whole seconds are whole periods, so the phase never has to be carried
    second = (_AMPLITUDE * np.sin(2 * np.pi * TONE_HZ / rate_hz * step)).astype(np.float32)
    return itertools.repeat(second)


def _sweep(rate_hz: int, rng: np.random.Generator) -> Iterator[Samples]:
    """Logarithmic, from 20 Hz to half the rate in 10 s, then again."""
    count = round(SWEEP_S * rate_hz)
    rise = np.log(rate_hz / 2 / SWEEP_FROM_HZ)
    phase = 2 * np.pi * SWEEP_FROM_HZ * SWEEP_S / rise * (np.exp(np.arange(count) / count * rise) - 1)
    sweep = (_AMPLITUDE * np.sin(phase)).astype(np.float32)
    return itertools.repeat(sweep)


def _noise(rate_hz: int, rng: np.random.Generator) -> Iterator[Samples]:
    while True:
        white = rng.standard_normal(round(_SEGMENT_S * rate_hz), dtype=np.float32)
        yield np.clip(white * np.float32(_AMPLITUDE * 10 ** (-8 / 20)), -1, 1)


def _speech(rate_hz: int, rng: np.random.Generator) -> Iterator[Samples]:
    """Phrases of voiced syllables, some opened by a hiss, with pauses of room noise between them."""
    while True:
        pitch_hz = rng.uniform(95, 140)
        for position in np.linspace(1.15, 0.85, rng.integers(4, 10)):  # pitch falls over a phrase
            if rng.random() < 0.35:
                yield _hiss(rate_hz, rng)
            yield _syllable(rate_hz, rng, pitch_hz * position)
        yield _room(rate_hz, rng, rng.uniform(0.25, 0.8))


def _room(rate_hz: int, rng: np.random.Generator, length_s: float) -> Samples:
    return np.float32(3e-4) * rng.standard_normal(round(length_s * rate_hz), dtype=np.float32)


def _envelope(count: int, rise: float, fall: float) -> _Values:
    position = np.arange(count) / count
    return np.clip(np.minimum(position / rise, (1 - position) / fall), 0, 1) ** 2


def _hiss(rate_hz: int, rng: np.random.Generator) -> Samples:
    count = round(rng.uniform(0.05, 0.11) * rate_hz)
    white = rng.standard_normal(count)
    hiss = np.diff(white, prepend=0.0)  # rises with frequency, as a fricative does
    return (0.02 * hiss * _envelope(count, 0.3, 0.3)).astype(np.float32) + _room(rate_hz, rng, count / rate_hz)


def _syllable(rate_hz: int, rng: np.random.Generator, pitch_hz: float) -> Samples:
    """Harmonics of a gliding pitch, weighed by formants that glide from one vowel to another."""
    count = round(rng.uniform(0.12, 0.26) * rate_hz)
    position = np.arange(count) / count
    first, last = _VOWELS[rng.integers(len(_VOWELS), size=2)]
    glide_hz = pitch_hz * (1 + 0.04 * np.sin(np.pi * position + rng.uniform(0, np.pi)))
    phase = 2 * np.pi * np.cumsum(glide_hz) / rate_hz
    top_hz = min(4_500.0, 0.45 * rate_hz)
    number: _Values = np.arange(1, int(top_hz / (1.04 * pitch_hz)) + 1, dtype=np.float64)
    harmonics_hz = np.asarray(number * pitch_hz, np.float64)
    weights = [_weights(harmonics_hz, formants_hz) for formants_hz in (first, last)]
    gains = np.outer(weights[0], 1 - position) + np.outer(weights[1], position)
    voiced = np.sum(gains * np.sin(np.outer(number, phase)), axis=0)
    loudness = rng.uniform(0.12, 0.3) / max(1e-9, float(np.max(np.abs(voiced))))
    syllable: Samples = (voiced * loudness * _envelope(count, 0.2, 0.35)).astype(np.float32)
    return syllable + _room(rate_hz, rng, count / rate_hz)


def _weights(frequencies_hz: _Values, formants_hz: _Values) -> _Values:
    distance = (frequencies_hz[:, None] - formants_hz) / _BANDWIDTHS_HZ
    resonances = np.sum(_FORMANT_GAINS / np.sqrt(1 + distance**2), axis=1)
    weights: _Values = resonances * (100.0 / frequencies_hz) ** 0.5
    return weights
