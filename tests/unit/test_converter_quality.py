"""What the resampler promises of the sound: pass band, aliases and images, delay, and the formula it stands for."""

import ctypes
import importlib.util
import math
import sys
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from benches.resampler import PHASES, PROFILES, build, opened
from ravatar_audio.converter import Converter
from tests.conftest import ROOT

Doubles = NDArray[np.float64]

OUT_HZ = 16_000
PASS_HZ = {"balanced": 7_300, "low_latency": 7_300, "high": 7_600}
PASS_DB = {"balanced": 0.01, "low_latency": 0.01, "high": 0.005}
STOP_HZ = {"balanced": 8_000, "low_latency": 8_700, "high": 8_000}
STOP_DB = {"balanced": -98.0, "low_latency": -98.0, "high": -120.0}
# Interpolating and decimating, exact and interpolated phases, no half band and up to three of them.
RATES_HZ = (8_000, 11_025, 16_001, 22_050, 32_000, 37_800, 44_100, 48_000, 88_200, 191_999, 192_000)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(tmp_path_factory.mktemp("core"))


@pytest.fixture(scope="module")
def design() -> ModuleType:
    """csrc/resample/design/design_prototype.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "design_prototype", ROOT / "csrc" / "resample" / "design" / "design_prototype.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["design_prototype"] = module
    spec.loader.exec_module(module)
    return module


def split_tone(sound: Doubles, tone_hz: float) -> tuple[float, Doubles, Doubles]:
    """The amplitude of a tone in a sound at 16 kHz, and the frequencies and amplitudes of all that is not the tone."""
    window = np.blackman(len(sound)) ** 2
    angle = 2 * np.pi * tone_hz / OUT_HZ * np.arange(len(sound))
    gain = 0.0
    if tone_hz < OUT_HZ / 2:
        basis = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        fit = np.linalg.lstsq(basis * np.sqrt(window)[:, None], sound * np.sqrt(window), rcond=None)[0]
        gain = float(np.hypot(*fit))
        sound = sound - basis @ fit
    size = 1 << math.ceil(math.log2(4 * len(sound)))
    rest = np.abs(np.fft.rfft(sound * window, size)) * 2 / window.sum()
    at_hz: Doubles = np.linspace(0, OUT_HZ / 2, len(rest))
    return gain, at_hz, np.asarray(rest, np.float64)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("profile", PROFILES)
def test_tones_pass_as_promised_and_leave_nothing_elsewhere(
    library: ctypes.CDLL, profile: str, phase: str, rate_hz: int
) -> None:
    scale = min(rate_hz, OUT_HZ) / OUT_HZ
    nyquist = rate_hz / 2
    edges = [PASS_HZ[profile] * scale, STOP_HZ[profile] + 3, STOP_HZ[profile] + 50, STOP_HZ[profile] * 1.1]
    tones = [tone for tone in [*np.linspace(0.0031, 0.9968, 24) * nyquist, *edges] if tone < nyquist]
    margin = int((0.03 / scale) * OUT_HZ)
    time_s = np.arange(int(rate_hz * (0.16 + 0.06 / scale))) / rate_hz
    worst_pass_db, worst_rest_db = 0.0, -math.inf
    for tone_hz in tones:
        with opened(library, rate_hz, profile, phase) as resampler:
            sound = resampler.convert(np.sin(2 * np.pi * tone_hz * time_s + 0.3)).astype(np.float64)
        gain, at_hz, rest = split_tone(sound[margin:-margin], tone_hz)
        if tone_hz <= PASS_HZ[profile] * scale:
            worst_pass_db = max(worst_pass_db, abs(20 * math.log10(gain)))
        if profile == "low_latency":  # its aliases may land between the pass band and 8 kHz
            rest = rest[at_hz < PASS_HZ[profile] * scale]
        worst_rest_db = max(worst_rest_db, 20 * math.log10(rest.max()))
    assert worst_pass_db < PASS_DB[profile]
    assert worst_rest_db < STOP_DB[profile]


def sampled(
    design: ModuleType, coefficients: Doubles, knot_hz: float, sound: Doubles, rate_hz: float, at: Doubles
) -> Doubles:
    """The sound through a prototype, at positions in input samples."""
    degree = design.DEGREE
    padded = np.concatenate([np.zeros(degree), coefficients, np.zeros(degree)])
    prototype = BSpline(np.arange(-degree, len(coefficients) + 2 * degree + 1), padded, degree)
    step = knot_hz / max(rate_hz, OUT_HZ)  # knots from one input sample to the next
    half = (len(coefficients) + degree) / 2
    outputs = []
    for position in at:
        near = np.arange(math.ceil(position - half / step), math.floor(position + half / step) + 1)
        outputs.append(prototype(half + (near - position) * step) * step @ sound[near])
    return np.array(outputs)


def reference(design: ModuleType, profile: str, rate_hz: int, sound: Doubles) -> Doubles:
    """The definition in double precision: half bands, the wide prototype to 24 kHz, the narrow one to 16 kHz."""
    chosen = next(each for each in design.PROFILES if each.name == profile)
    count = math.ceil(len(sound) * OUT_HZ / rate_hz)
    rate, between_hz = float(rate_hz), design.BETWEEN_HZ
    before = int(0.02 * rate) // 64 * 64  # silence, so that filters see neither beginning nor end
    sound = np.concatenate([np.zeros(before), sound, np.zeros(before)])
    start = float(before)
    while rate >= 2 * between_hz:
        class_hz = max(each for each in design.HALF_BAND_RATES_HZ if each <= rate)
        side = design.design_half_band(class_hz, chosen.edge_hz, chosen.fold_db)
        taps = np.zeros(4 * len(side) - 1)
        taps[0::2] = np.concatenate([side[::-1], side])
        taps[2 * len(side) - 1] = 0.5
        sound = np.convolve(sound, taps)[2 * len(side) - 1 :][: len(sound)][::2]
        rate, start = rate / 2, start / 2
    if rate > OUT_HZ and rate != between_hz:
        early = 150  # outputs before the beginning
        last = int((len(sound) - start - 50) * between_hz / rate)
        at = start + np.arange(-early, last) * rate / between_hz
        sound = sampled(design, design.design_wide(chosen), design.WIDE_KNOT_HZ, sound, rate, at)
        rate, start = between_hz, float(early)
    at = start + np.arange(count) * rate / OUT_HZ
    return sampled(design, design.design_prototype(chosen), design.KNOT_HZ, sound, rate, at)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000, 191_999])
def test_the_output_is_the_formula_in_double_precision(library: ctypes.CDLL, design: ModuleType, rate_hz: int) -> None:
    """Noise through an independent implementation of what the design script says; so the tables are the script's."""
    sound = np.random.default_rng(1).uniform(-0.5, 0.5, rate_hz // 100).astype(np.float32).astype(np.float64)
    expected = reference(design, "balanced", rate_hz, sound)
    with opened(library, rate_hz, "balanced") as resampler:
        got = resampler.convert(sound)
    assert len(got) == len(expected)
    assert np.abs(got - expected).max() < 2e-6


def test_the_checked_in_tables_are_what_the_script_gives(design: ModuleType) -> None:
    written = (ROOT / "csrc" / "resample" / "rva_prototype_data.c").read_text(encoding="utf-8")
    for profile in design.PROFILES:
        linear = design.design_prototype(profile)
        minimum = design.minimum_phase(linear, profile.floor_db)
        tables = {"linear": linear, "minimum": minimum, "wide": design.design_wide(profile)}
        for name, values in tables.items():
            body = written.split(f"{name}_{profile.name}[{len(values)}] = {{")[1].split("}")[0]
            stored = np.array([float(cell) for cell in body.replace("\n", " ").split(",") if cell.strip()])
            assert np.abs(stored - values).max() < 1e-9, (profile.name, name)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 191_999, 192_000])
@pytest.mark.parametrize("phase", PHASES)
def test_cutting_does_not_change_a_bit(library: ctypes.CDLL, rate_hz: int, phase: str) -> None:
    random = np.random.default_rng(rate_hz)
    sound = random.standard_normal(12_345).astype(np.float32)
    with opened(library, rate_hz, "balanced", phase) as resampler:
        whole = resampler.convert(sound)
        assert len(whole) == math.ceil(len(sound) * OUT_HZ / rate_hz)
        for longest in (1, 7, 480, 8_192):
            cuts = np.cumsum(random.integers(1, longest + 1, len(sound)))
            again = resampler.convert(sound, cuts[cuts < len(sound)])
            assert again.tobytes() == whole.tobytes(), longest


@pytest.mark.parametrize(("profile", "limit_s"), [("balanced", 3.9e-3), ("low_latency", 2.2e-3)])
@pytest.mark.parametrize("rate_hz", [32_000, 44_100, 48_000, 96_000, 192_000])
def test_live_sound_is_not_held_back_longer_than_promised(
    library: ctypes.CDLL, profile: str, limit_s: float, rate_hz: int
) -> None:
    """Lag: how much older the newest output is than the newest input, when a block of 10 ms has been taken."""
    fed = made = 0
    worst_s = 0.0
    with opened(library, rate_hz, profile) as resampler:
        for _ in range(150):
            made += len(resampler.feed(np.zeros(rate_hz // 100)))
            fed += rate_hz // 100
            worst_s = max(worst_s, fed / rate_hz - made / OUT_HZ)
        assert worst_s <= limit_s
        assert resampler.group_delay_s <= limit_s


@pytest.mark.parametrize(("profile", "limit_s"), [("balanced", 0.2e-3), ("low_latency", 0.2e-3), ("high", 0.2e-3)])
def test_minimum_phase_delays_1_khz_by_a_fifth_of_a_millisecond(
    library: ctypes.CDLL, profile: str, limit_s: float
) -> None:
    """Measured from the phase of tones beside 1 kHz, and what the resampler says of itself."""
    time_s = np.arange(9_600) / 48_000
    phases = []
    for tone_hz in (990.0, 1_010.0):
        with opened(library, 48_000, profile, "minimum") as resampler:
            sound = resampler.convert(np.sin(2 * np.pi * tone_hz * time_s))[800:-800]
            promised_s = resampler.group_delay_s
        angle = 2 * np.pi * tone_hz * (np.arange(len(sound)) + 800) / OUT_HZ
        basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        sine, cosine = np.linalg.lstsq(basis, sound.astype(np.float64), rcond=None)[0]
        phases.append(math.atan2(cosine, sine))
    delay_s = (phases[0] - phases[1]) / (2 * np.pi * 20.0)
    assert delay_s == pytest.approx(promised_s, abs=2e-6)
    assert delay_s <= limit_s


def test_sound_at_16_khz_passes_bit_for_bit() -> None:
    samples = np.random.default_rng(5).integers(-32_768, 32_768, 20_000).astype(np.int16)
    with Converter(16_000) as converter:
        frames = converter.process(samples) + converter.flush()
    assert b"".join(frame.pcm[: 2 * frame.length_samples] for frame in frames) == samples.astype("<i2").tobytes()


def test_nan_and_infinity_do_not_outlast_the_filter() -> None:
    rng = np.random.default_rng(6)
    clean = rng.uniform(-0.5, 0.5, 48_000).astype(np.float32)
    dirty = clean.copy()
    dirty[1_000:1_010] = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-44, np.nan, 0, -np.nan, np.inf]
    results = []
    for sound in (clean, dirty):
        with Converter(48_000, 1, "float32") as converter:
            frames = converter.process(sound) + converter.flush()
        results.append(np.frombuffer(b"".join(frame.pcm[: 2 * frame.length_samples] for frame in frames), "<i2"))
    differs = np.nonzero(results[0] != results[1])[0]
    assert differs.min() > 1_000 / 3 - 80
    assert differs.max() < 1_010 / 3 + 80
