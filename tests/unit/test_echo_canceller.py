"""Echo cancellation by the core: what goes, what stays, and that neither cuts nor kernels change it."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.frames import HOP_SAMPLES, RATE_HZ
from ravatar_audio.processing import LinearCanceller
from tests.conftest import examples

Pcm = np.ndarray[Any, np.dtype[np.int16]]


def pcm(sound: np.ndarray[Any, Any]) -> Pcm:
    return np.clip(np.round(sound), -32_768, 32_767).astype("<i2")


def whole_hops(seconds: float) -> int:
    return int(seconds * RATE_HZ) // HOP_SAMPLES * HOP_SAMPLES


def speech_like(seconds: float, rng: np.random.Generator, rms: float = 2_500.0) -> np.ndarray[Any, Any]:
    """Coloured noise that comes in syllables and sentences, as speech does."""
    length = whole_hops(seconds)
    spectrum = np.fft.rfft(rng.normal(size=length))
    hz = np.fft.rfftfreq(length, 1 / RATE_HZ)
    sound = np.fft.irfft(spectrum * (hz > 80) / (1 + (hz / 700) ** 2), length)
    time_s = np.arange(length) / RATE_HZ
    sound *= np.clip(np.sin(2 * np.pi * 3.1 * time_s) + 0.5, 0.05, 1) * (np.sin(2 * np.pi * 0.4 * time_s) > -0.8)
    level: float = sound.std()
    return sound / level * rms


def echo_of(played: np.ndarray[Any, Any], rng: np.random.Generator, delay: int = 700) -> np.ndarray[Any, Any]:
    """Through a room: a direct sound and what fades behind it, 60 dB in 0.2 s."""
    path = rng.normal(size=3_000) * np.exp(-np.arange(3_000) / 460.0) * 0.08
    path[0] = 1.0
    path = np.concatenate([np.zeros(delay), path])
    size = 2 * (len(played) + len(path))
    return np.fft.irfft(np.fft.rfft(played, size) * np.fft.rfft(path, size), size)[: len(played)]


def gone_db(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> float:
    return float(10 * np.log10((before.astype(float) ** 2).mean() / ((after.astype(float) ** 2).mean() + 1e-9)))


def processed(canceller: LinearCanceller, microphone: Pcm, reference: Pcm) -> Pcm:
    return np.frombuffer(canceller.process(microphone.tobytes(), reference.tobytes()), "<i2")


@pytest.mark.parametrize("suppress", [True, False])
def test_an_echo_goes_and_a_visitor_stays(suppress: bool) -> None:
    rng = np.random.default_rng(1)
    far, near = speech_like(12, rng), np.roll(speech_like(12, rng, 4_000.0), 21_000)
    near[: len(near) // 2] = 0.0
    echo = echo_of(far, rng)
    canceller = LinearCanceller(suppress=suppress)
    microphone, reference, half = pcm(echo + near + rng.normal(size=len(far)) * 3), pcm(far), len(far) // 2
    out = processed(canceller, microphone[:half], reference[:half])
    assert canceller.statistics().erle_db > 20.0
    out = np.concatenate([out, processed(canceller, microphone[half:], reference[half:])])
    lag = canceller.lag_samples
    assert lag == (HOP_SAMPLES if suppress else 0)
    out = out[lag:]
    alone = slice(3 * RATE_HZ, 5 * RATE_HZ)
    assert gone_db(echo[alone], out[alone]) > 30.0
    both = slice(7 * RATE_HZ, 11 * RATE_HZ)
    wanted, kept = near[both], out[both].astype(float)
    # Noise of the echo's own colour is the hardest visitor there is; benches/echo.py measures what is lost of voices.
    assert 0.8 < np.dot(wanted, kept) / np.dot(wanted, wanted) < 1.05
    assert gone_db(wanted, kept - wanted) > 8.0
    statistics = canceller.statistics()
    assert statistics.is_settled
    assert statistics.restarts == 0
    assert statistics.processed_samples == len(far)


@pytest.mark.parametrize("suppress", [True, False])
@given(seed=st.integers(0, 2**32 - 1), rms=st.sampled_from([0.0, 0.6, 30.0, 3_000.0, 60_000.0]))
@examples(25)
def test_with_nothing_played_the_microphone_passes_bit_for_bit(suppress: bool, seed: int, rms: float) -> None:
    microphone = pcm(np.random.default_rng(seed).normal(size=HOP_SAMPLES * 24) * rms)
    canceller = LinearCanceller(suppress=suppress)
    out = processed(canceller, microphone, np.zeros_like(microphone))
    lag = canceller.lag_samples
    assert np.array_equal(out[lag:], microphone[: len(microphone) - lag])
    assert not out[:lag].any()


@given(hops=st.lists(st.integers(0, 20), min_size=1, max_size=8).filter(any))
@examples(15)
def test_output_does_not_depend_on_how_frames_are_cut(hops: list[int]) -> None:
    rng = np.random.default_rng(5)
    far = speech_like(1.5, rng)
    microphone, reference = pcm(echo_of(far, rng)).tobytes(), pcm(far).tobytes()
    whole = LinearCanceller().process(microphone, reference)
    canceller, parts, at = LinearCanceller(), [], 0
    for count in itertools.cycle(hops):
        cut = slice(at, at + 2 * HOP_SAMPLES * count)
        parts.append(canceller.process(microphone[cut], reference[cut]))
        assert len(parts[-1]) == len(microphone[cut])
        at = cut.stop
        if at >= len(microphone):
            break
    assert b"".join(parts) == whole


@pytest.mark.parametrize("kernel", ["portable", "sse2", "avx2", "avx512", "neon"])
def test_all_kernels_give_the_same_bits(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not run here falls back to the fastest that does."""
    rng = np.random.default_rng(6)
    far = speech_like(2, rng)
    microphone, reference = pcm(echo_of(far, rng) + speech_like(2, rng, 800.0)), pcm(far)
    fastest = processed(LinearCanceller(), microphone, reference)
    monkeypatch.setenv("RAVATAR_AUDIO_KERNEL", kernel)
    assert np.array_equal(processed(LinearCanceller(), microphone, reference), fastest)


def test_a_pause_of_the_avatar_is_not_what_makes_the_filter_forget() -> None:
    rng = np.random.default_rng(7)
    far = speech_like(4, rng)
    silence = np.zeros(whole_hops(60))
    again = speech_like(2, rng)
    played = np.concatenate([far, silence, again])
    echo = echo_of(played, np.random.default_rng(8))
    out = processed(LinearCanceller(suppress=False), pcm(echo + rng.normal(size=len(played)) * 3), pcm(played))
    first = slice(len(far) + len(silence), len(far) + len(silence) + RATE_HZ // 2)
    assert gone_db(echo[first], out[first]) > 20.0


@pytest.mark.parametrize("moved", [-500, -1, 37, 300])
def test_a_move_of_the_reference_that_is_told_loses_nothing(moved: int) -> None:
    rng = np.random.default_rng(9)
    far = speech_like(7, rng)
    echo = echo_of(far, np.random.default_rng(10), delay=1_200)
    before = whole_hops(5)
    moved_far = np.roll(far, -moved)
    microphone = pcm(echo + rng.normal(size=len(far)) * 3)
    after = slice(before + HOP_SAMPLES, before + RATE_HZ // 4)
    gone = []
    for told in (True, False):
        canceller = LinearCanceller(suppress=False)
        first = processed(canceller, microphone[:before], pcm(far[:before]))
        if told:
            canceller.move(moved, pcm(moved_far[before - canceller.history_samples : before]).tobytes())
        out = np.concatenate([first, processed(canceller, microphone[before:], pcm(moved_far[before:]))])
        gone.append(gone_db(echo[after], out[after]))
    assert gone[0] > 20.0
    assert gone[0] > gone[1] + 6.0
    with pytest.raises(ValueError, match="the history has 2 bytes; it takes 10752"):
        canceller.move(1, bytes(2))


def test_other_lengths_are_refused_and_change_nothing() -> None:
    canceller = LinearCanceller()
    with pytest.raises(ValueError, match="511 bytes are no whole number of hops"):
        canceller.process(bytes(511), bytes(511))
    with pytest.raises(ValueError, match="510 bytes are no whole number of hops"):
        canceller.process(bytes(510), bytes(510))
    with pytest.raises(ValueError, match="the reference has 0 bytes, the microphone 512"):
        canceller.process(bytes(512), b"")
    assert canceller.process(b"", b"") == b""
    assert canceller.statistics().processed_samples == 0


def test_extremes_do_no_harm() -> None:
    """Full scale, square, and nothing at all: no value that is not a number gets stuck in the filter."""
    rng = np.random.default_rng(11)
    length = whole_hops(3)
    loud = pcm(np.sign(rng.normal(size=length)) * 40_000)
    canceller = LinearCanceller()
    for microphone, reference in (
        (loud, loud),
        (loud, np.roll(loud, 5)),
        (np.zeros_like(loud), loud),
        (loud, 0 * loud),
    ):
        processed(canceller, microphone, reference)
    far = speech_like(4, rng)
    echo = echo_of(far, rng)
    out = processed(canceller, pcm(echo), pcm(far))
    assert gone_db(echo[2 * RATE_HZ :], out[2 * RATE_HZ :]) > 20.0
