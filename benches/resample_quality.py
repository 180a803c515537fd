"""The resampler's noise, aliases and frequency response, by tones through the core; part of benches.resample."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from ravatar_audio.converter import Converter
from ravatar_audio.errors import SettingsError

from .resampler import PROFILES, build, opened
from .rig.harness import Report

STOP_HZ = {"balanced": 8_050, "low_latency": 8_700, "high": 8_050}
IN_BAND_HZ = {"balanced": 8_000, "low_latency": 7_300, "high": 8_000}
RATES_HZ = (8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 191_999)


def snr_db(rate_hz: int) -> float:
    """A 997 Hz tone at -1 dBFS as int16, without dither: power of the tone over all else."""
    sound = 10 ** (-1 / 20) * np.sin(2 * np.pi * 997 * np.arange(2 * rate_hz) / rate_hz)
    with Converter(rate_hz, 1, "float32") as converter:
        frames = converter.process(sound.astype(np.float32)) + converter.flush()
    data = b"".join(frame.pcm[: 2 * frame.length_samples] for frame in frames)
    got = np.frombuffer(data, "<i2").astype(np.float64)[4_000:-4_000]
    angle = 2 * np.pi * 997 * np.arange(len(got)) / 16_000
    basis = np.stack([np.cos(angle), np.sin(angle), np.ones_like(angle)], axis=1)
    fit = basis @ np.linalg.lstsq(basis, got, rcond=None)[0]
    return 10 * math.log10(float(np.mean(fit**2) / np.mean((got - fit) ** 2)))


def kernels() -> list[str]:
    names = []
    for name in ("portable", "sse2", "avx2", "avx512", "neon"):
        os.environ["RAVATAR_AUDIO_KERNEL"] = name
        try:
            Converter(48_000).close()
        except SettingsError:
            continue
        names.append(name)
    return names


def decibels(amplitude: float) -> float:
    return 20 * math.log10(max(amplitude, 1e-9))


def tone(library: Any, profile: str, rate_hz: int, tone_hz: float) -> tuple[float, float]:
    """Converts a tone of amplitude 1. Gives what is left of it at its own frequency (folded, when it is above 8 kHz)
    and the largest component anywhere else below the profile's edge; both in dB."""
    scale = min(rate_hz, 16_000) / 16_000
    margin = int(480 / scale)
    time_s = np.arange(int(rate_hz * (0.16 + 0.06 / scale))) / rate_hz
    with opened(library, rate_hz, profile) as resampler:
        sound = resampler.convert(np.sin(2 * np.pi * tone_hz * time_s + 0.3)).astype(np.float64)[margin:-margin]
    window = np.blackman(len(sound)) ** 2
    root = np.sqrt(window)
    angle = 2 * np.pi * tone_hz / 16_000 * np.arange(len(sound))
    basis = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    fit = np.linalg.lstsq(basis * root[:, None], sound * root, rcond=None)[0]
    if tone_hz < STOP_HZ[profile]:
        sound = sound - basis @ fit
    spectrum = np.abs(np.fft.rfft(sound * window, 1 << 14)) * 2 / window.sum()
    counted = np.fft.rfftfreq(1 << 14, 1 / 16_000) < IN_BAND_HZ[profile] * scale
    return decibels(float(np.hypot(*fit))), decibels(float(spectrum[counted].max()))


def worst_spur_db(library: Any, profile: str, rate_hz: int, tones: int) -> float:
    """The largest component that any of `tones` input tones leaves anywhere but at its own frequency."""
    nyquist_hz = rate_hz / 2
    tones_hz = [*np.linspace(0.0031, 0.9968, tones) * nyquist_hz, STOP_HZ[profile]]
    return max(tone(library, profile, rate_hz, each)[1] for each in tones_hz if each < nyquist_hz)


def pictures(report: Report, library: Any, is_quick: bool) -> None:
    """The frequency response and the sweep for aliases, at 48 kHz."""
    wide_hz = np.linspace(75, 23_925, 80 if is_quick else 240)
    edge_hz = np.linspace(6_000, 8_000, 41 if is_quick else 101)
    swept = {profile: [tone(library, profile, 48_000, each) for each in wide_hz] for profile in PROFILES}
    response = {profile: [level for level, _ in pairs] for profile, pairs in swept.items()}
    spurs = {profile: [spur for _, spur in pairs] for profile, pairs in swept.items()}
    edge = {profile: [max(-0.2, tone(library, profile, 48_000, each)[0]) for each in edge_hz] for profile in PROFILES}
    x_label = "tone at 48 kHz, Hz"
    report.series("frequency response, 48 to 16 kHz", list(wide_hz), response, x_label=x_label, y_label="dB")
    report.series("edge of the pass band, cut off at -0.2 dB", list(edge_hz), edge, x_label=x_label, y_label="dB")
    report.series("largest alias or other spur that a tone leaves", list(wide_hz), spurs, x_label=x_label, y_label="dB")


def measure(report: Report, folder: Path, is_quick: bool) -> None:
    """Noise of every kernel, spurs of every profile, and the pictures of both."""
    before = os.environ.get("RAVATAR_AUDIO_KERNEL")
    worst = math.inf
    names = kernels()
    for name in names:
        os.environ["RAVATAR_AUDIO_KERNEL"] = name
        worst = min([worst, *(snr_db(rate_hz) for rate_hz in (RATES_HZ[::3] if is_quick else RATES_HZ))])
    os.environ.pop("RAVATAR_AUDIO_KERNEL")
    if before is not None:
        os.environ["RAVATAR_AUDIO_KERNEL"] = before
    report.at_least("997 Hz at -1 dBFS, int16 out: worst SNR of all kernels and rates", worst, "dB", 96)
    report.note(f"kernels that this machine runs: {', '.join(names)}")
    library = build(folder)
    for profile, goal_db in zip(PROFILES, (-98, -98, -120), strict=True):
        rates_hz = RATES_HZ[::3] if is_quick else RATES_HZ
        value = max(worst_spur_db(library, profile, rate_hz, 12 if is_quick else 60) for rate_hz in rates_hz)
        report.at_most(f"{profile}: worst alias or image of any tone, all rates", value, "dB", goal_db)
    pictures(report, library, is_quick)
