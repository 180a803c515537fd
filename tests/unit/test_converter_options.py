"""What the converter's options do to the sound: gain, offset, dither, formats, and which kernel does it."""

import math
import platform
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ravatar_audio.choices import SampleFormat
from ravatar_audio.converter import Converter
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.native import channels_averaged
from tests.conftest import IS_EMULATED

Samples = NDArray[np.float64]


def sound_of(frames: list[Frame]) -> Samples:
    data = b"".join(frame.pcm[: 2 * frame.length_samples] for frame in frames)
    return np.frombuffer(data, "<i2").astype(np.float64)


def converted(samples: Any, rate_hz: int, channels: int = 1, format: SampleFormat = "int16", **options: Any) -> Samples:
    with Converter(rate_hz, channels, format, **options) as converter:
        return sound_of(converter.process(samples) + converter.flush())


def tone(rate_hz: int, tone_hz: float, amplitude: float, seconds: float = 1.0) -> NDArray[np.float32]:
    return (amplitude * np.sin(2 * np.pi * tone_hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.float32)


def kernels_here() -> list[str]:
    """The names that this machine can run."""
    names = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("portable", "sse2", "avx2", "avx512", "neon"):
            patch.setenv("RAVATAR_AUDIO_KERNEL", name)
            try:
                Converter(48_000).close()
            except SettingsError:
                continue
            names.append(name)
    return names


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000, 96_000, 191_999])
def test_kernels_agree_to_within_one_step(monkeypatch: pytest.MonkeyPatch, rate_hz: int) -> None:
    samples = np.random.default_rng(rate_hz).integers(-20_000, 20_000, rate_hz // 2).astype(np.int16)
    results = {}
    for name in kernels_here():
        monkeypatch.setenv("RAVATAR_AUDIO_KERNEL", name)
        with Converter(rate_hz) as converter:
            assert converter.kernel == name
            results[name] = sound_of(converter.process(samples) + converter.flush())
    assert "portable" in results
    if len(results) == 1 and platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64"):
        pytest.skip(f"{platform.machine()} has no kernel but the portable one")
    assert len(results) > 1
    for name, result in results.items():
        assert np.abs(result - results["portable"]).max() <= 1, name
        assert np.mean(result != results["portable"]) < 0.01, name


@pytest.mark.parametrize("name", ["quantum", "AVX2", "portable "])
def test_a_kernel_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("RAVATAR_AUDIO_KERNEL", name)
    with pytest.raises(SettingsError, match="RAVATAR_AUDIO_KERNEL"):
        Converter(48_000)


TONE_RATES = [8_000, 44_100, 48_000, 191_999]
if not IS_EMULATED:  # two seconds each
    TONE_RATES += [11_025, 16_000, 22_050, 32_000, 96_000, 192_000]


@pytest.mark.parametrize("kernel", kernels_here())
@pytest.mark.parametrize("rate_hz", TONE_RATES)
def test_a_tone_keeps_96_db_over_noise(monkeypatch: pytest.MonkeyPatch, kernel: str, rate_hz: int) -> None:
    """997 Hz at -1 dBFS, without dither: what is left is the rounding to int16, which is 97.1 dB below."""
    monkeypatch.setenv("RAVATAR_AUDIO_KERNEL", kernel)
    sound = converted(tone(rate_hz, 997.0, 10 ** (-1 / 20), 2.0), rate_hz, format="float32")[4_000:-4_000]
    angle = 2 * np.pi * 997.0 * np.arange(len(sound)) / 16_000
    basis = np.stack([np.cos(angle), np.sin(angle), np.ones_like(angle)], axis=1)
    fit = basis @ np.linalg.lstsq(basis, sound, rcond=None)[0]
    assert 10 * math.log10(np.mean(fit**2) / np.mean((sound - fit) ** 2)) >= 96


@pytest.mark.parametrize("gain_db", [-60.0, -6.0, 6.0, 20.0])
def test_gain_is_what_was_asked_for(gain_db: float) -> None:
    samples = tone(48_000, 440.0, 0.05)
    plain, louder = (converted(samples, 48_000, format="float32", gain_db=gain) for gain in (0.0, gain_db))
    ratio = np.sqrt(np.mean(louder[2_000:-2_000] ** 2) / np.mean(plain[2_000:-2_000] ** 2))
    assert 20 * math.log10(ratio) == pytest.approx(gain_db, abs=0.01 if gain_db > -60 else 3.0)


def test_too_much_gain_saturates_and_does_not_wrap() -> None:
    sound = converted(tone(48_000, 100.0, 1.0), 48_000, format="float32", gain_db=40.0)
    assert sound.max() == 32_767
    assert sound.min() == -32_768
    assert np.abs(np.diff(np.sign(sound[1_000:-1_000]))).sum() == pytest.approx(2 * 2 * 100 * 14_000 / 16_000, abs=4)


def test_the_offset_goes_and_speech_stays() -> None:
    samples = tone(48_000, 200.0, 0.25, 3.0) + np.float32(0.2)
    without, with_block = (converted(samples, 48_000, format="float32", dc_block=on)[16_000:32_000] for on in (0, 1))
    assert without.mean() == pytest.approx(0.2 * 32_768, rel=0.01)
    assert abs(with_block.mean()) < 1.0
    assert 20 * math.log10(with_block.std() / without.std()) == pytest.approx(0.0, abs=0.06)


def test_dither_is_white_triangular_and_the_same_however_cut() -> None:
    quiet = np.full(160_000, 0.25 / 32_768, np.float32)
    dithered = converted(quiet, 16_000, format="float32", dither=True)
    assert set(np.unique(dithered)) <= {-1.0, 0.0, 1.0, 2.0}
    assert dithered.mean() == pytest.approx(0.25, abs=0.01)  # a quarter of a step is heard; without dither it is not
    assert not converted(quiet, 16_000, format="float32").any()
    # total error power: 1/12 of rounding and 2/12 of the triangle (Lipshitz, Wannamaker & Vanderkooy 1992)
    assert np.mean((dithered - 0.25) ** 2) == pytest.approx(0.25, rel=0.03)
    error = dithered - dithered.mean()
    for lag in (1, 2, 3, 7, 64):
        assert abs(np.mean(error[lag:] * error[:-lag])) < 0.01 * np.mean(error**2) + 0.002
    with Converter(16_000, 1, "float32", dither=True) as converter:
        frames = [frame for part in np.split(quiet, [1, 7, 4_000, 4_097, 90_001]) for frame in converter.process(part)]
        assert np.array_equal(sound_of(frames + converter.flush()), dithered)


FORMATS = ["int16", "int24", "int32", "float32", "uint8"]


def encoded(sound: NDArray[np.float64], format: str) -> bytes:
    """Samples of -1 to 1 as a device would send them."""
    if format == "float32":
        return sound.astype(np.float32).tobytes()
    if format == "uint8":
        return np.clip(np.round(sound * 128) + 128, 0, 255).astype(np.uint8).tobytes()
    bits = int(format.removeprefix("int"))
    whole = np.clip(np.round(sound * 2.0 ** (bits - 1)), -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1).astype(np.int64)
    if bits != 24:
        return whole.astype(f"int{bits}").tobytes()
    low_bytes = slice(0, 3) if sys.byteorder == "little" else slice(1, 4)
    return (whole & 0xFFFFFF).astype(np.uint32).view(np.uint8).reshape(-1, 4)[:, low_bytes].tobytes()


@pytest.mark.parametrize("channels", [1, 2, 3, 32])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kernel", kernels_here())
def test_formats_and_channels_mean_what_they_say(
    monkeypatch: pytest.MonkeyPatch, kernel: str, format: SampleFormat, channels: int
) -> None:
    """Noise at 16 kHz, where nothing is filtered: the mix of the channels heard, and its full-scale count."""
    monkeypatch.setenv("RAVATAR_AUDIO_KERNEL", kernel)
    random = np.random.default_rng(channels)
    sound = random.uniform(-0.9, 0.9, (5_003, channels))
    sound[100:103, 0] = [1.0, -1.0, 0.98]
    heards = [None, "all", (0,), (channels - 1,)] + ([(0, channels - 1)] if channels > 1 else [])
    step = {"uint8": 1 / 128, "int16": 1 / 32_768}.get(format, 1e-6)
    for heard in heards:
        with Converter(16_000, channels, format, channels_heard=heard) as converter:
            got = sound_of(converter.process(encoded(sound, format)) + converter.flush())
            clipped = converter.statistics().clipped
        mixed = channels_averaged(heard, channels)
        expected = sound[:, list(mixed)].mean(axis=1) * 32_768
        error = np.delete(np.abs(got - expected), [100, 101])  # full scale is a step short of what it stands for
        assert error.max() <= 0.51 + step * 32_768 / 2 + 0.01
        assert clipped == (2 if 0 in mixed else 0)


@pytest.mark.parametrize("gain_db", [0.0, 48.0])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kernel", kernels_here())
def test_int24_is_read_alike_by_every_kernel(
    monkeypatch: pytest.MonkeyPatch, kernel: str, channels: int, gain_db: float
) -> None:
    """Some have a loop of their own, which takes four samples at once and leaves the end of a block to the other. Gain
    brings the lowest bits up to where they are heard."""
    data = np.random.default_rng(3).integers(0, 256, 3 * channels * 300, dtype=np.uint8)
    if gain_db:
        data[2 if sys.byteorder == "little" else 0 :: 3] = 0
    data[: 3 * channels * 20] = [0xFF, 0xFF, 0x7F] * channels * 20

    def converted(name: str, block_samples: int) -> tuple[bytes, int]:
        monkeypatch.setenv("RAVATAR_AUDIO_KERNEL", name)
        with Converter(16_000, channels, "int24", gain_db=gain_db) as converter:
            for part in np.split(data, range(0, len(data), 3 * channels * block_samples)):
                converter.process(part)
            (frame,) = converter.flush()
            return frame.pcm, converter.statistics().clipped

    if sys.byteorder == "little":
        assert converted("portable", 300)[1] >= 20 * channels
    for block_samples in (1, 2, 3, 4, 5, 6, 7, 300):
        assert converted(kernel, block_samples) == converted("portable", 300)
