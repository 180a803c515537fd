"""Figures of the echo bench: what a canceller made of a scene. From 300 to 7,000 Hz, as some filter below."""

from dataclasses import dataclass

import numpy as np

from .echo_scenes import AGAIN_S, BOTH_S, FAR_S, NEAR_S, Pcm, Take
from .echo_sounds import RATE_HZ, Sound, banded

HOP = 256
STEP = 512
"""Of the visitor's voice, for what is lost of it: 32 ms."""


def decibels(ratio: float) -> float:
    return float(10 * np.log10(max(ratio, 1e-14)))


def powers(sound: Sound, step: int = HOP) -> Sound:
    mean: Sound = (sound[: len(sound) // step * step].reshape(-1, step) ** 2).mean(axis=1)
    return mean + 1e-14


def lag_of(out: Sound, target: Sound, most: int = 1_600) -> int:
    """By how many samples `out` is behind."""
    size = 1 << (2 * len(out)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(out, size) * np.conj(np.fft.rfft(target, size)), size)
    return int(np.argmax(correlation[:most]))


@dataclass(frozen=True)
class Outcome:
    """How a canceller did. Decibels, and shares of 0 to 1."""

    gone_db: float
    """Echo gone in seconds 10 to 20."""
    first_db: float
    """In its first second of sound."""
    by_second_db: tuple[float, ...]
    again_db: float
    """In seconds 50 to 60, after both have talked."""
    voice_lost_db: float
    """Median over 32 ms steps of the visitor's voice while both talk, by projection."""
    steps_gone: float
    """Share of such steps that are down by more than 10 dB."""
    alone_lost_db: float
    si_sdr_db: float
    """Of the visitor while both talk."""
    lag_samples: int
    out: Pcm
    """As it came, but shifted by its lag."""


def lost(near: Sound, out: Sound, span_s: tuple[int, int]) -> tuple[float, float]:
    part = slice(span_s[0] * RATE_HZ, span_s[1] * RATE_HZ)
    length = (span_s[1] - span_s[0]) * RATE_HZ // STEP * STEP
    voice, kept = near[part][:length].reshape(-1, STEP), out[part][:length].reshape(-1, STEP)
    energy = (voice**2).sum(axis=1)
    spoken = energy > energy.max() * 1e-3
    gain = (voice[spoken] * kept[spoken]).sum(axis=1) / energy[spoken]
    loss_db = -20 * np.log10(np.clip(np.abs(gain), 1e-4, None))
    return float(np.median(loss_db)), float((loss_db > 10).mean())


def outcome(take: Take, out_pcm: Pcm) -> Outcome:
    microphone = banded(take.microphone / 32_768, 300, 7_000)
    near = banded(take.near, 300, 7_000)
    out = np.zeros(len(microphone))
    out[: len(out_pcm)] = out_pcm / 32_768
    out = banded(out, 300, 7_000)
    alone = slice(NEAR_S[0] * RATE_HZ, NEAR_S[1] * RATE_HZ)
    lag = lag_of(out[alone], near[alone])
    out = np.roll(out, -lag)
    echo = powers(take.echo)
    active = echo > echo.max() * 10**-3.5
    heard, left = powers(microphone), powers(out)

    def gone_db(begin_s: float, end_s: float) -> float:
        part = slice(round(begin_s * RATE_HZ) // HOP, round(end_s * RATE_HZ) // HOP)
        on = active[part]
        return decibels(heard[part][on].mean() / left[part][on].mean()) if on.any() else float("nan")

    first = int(np.argmax(active)) * HOP / RATE_HZ
    both = slice(BOTH_S[0] * RATE_HZ, BOTH_S[1] * RATE_HZ)
    target, kept = near[both], out[both]
    scaled = np.dot(kept, target) / np.dot(target, target) * target
    voice_lost, steps_gone = lost(near, out, BOTH_S)
    return Outcome(
        gone_db=gone_db(10, FAR_S[1]),
        first_db=gone_db(first, first + 1),
        by_second_db=tuple(round(gone_db(s, s + 1), 1) for s in range(*FAR_S)),
        again_db=gone_db(*AGAIN_S),
        voice_lost_db=voice_lost,
        steps_gone=steps_gone,
        alone_lost_db=lost(near, out, NEAR_S)[0],
        si_sdr_db=decibels(np.dot(scaled, scaled) / np.dot(kept - scaled, kept - scaled)),
        lag_samples=lag,
        out=np.roll(out_pcm, -lag),
    )
