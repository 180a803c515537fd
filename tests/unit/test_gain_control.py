"""Automatic gain: a voice comes out at one level, noise does not come up, and no sample is clipped."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import HOP_SAMPLES, RATE_HZ
from ravatar_audio.processing import GainControl
from tests.conftest import examples
from tests.unit.test_echo_canceller import pcm, speech_like

Sound = np.ndarray[Any, Any]
CEILING = round(32_768 * 10 ** (-1 / 20))


def voice(seconds: float, level_dbfs: float, seed: int, noise_dbfs: float = -75.0) -> Sound:
    """Speech with pauses whose active level is `level_dbfs`."""
    rng = np.random.default_rng(seed)
    sound = speech_like(seconds, rng)
    sound *= 32_768 * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(active(sound) ** 2))
    return pcm(sound + rng.normal(size=len(sound)) * 32_768 * 10 ** (noise_dbfs / 20))


def active(sound: Sound) -> Sound:
    """The hops within 16 dB of the mean of all: where somebody speaks (as ITU-T P.56 has it, by its margin)."""
    hops = sound[: len(sound) // HOP_SAMPLES * HOP_SAMPLES].astype(float).reshape(-1, HOP_SAMPLES)
    energy = (hops**2).mean(axis=1)
    chosen: Sound = hops[energy > energy.mean() / 40]
    return chosen


def active_dbfs(sound: Sound) -> float:
    return float(10 * np.log10(np.mean(active(sound) ** 2)) - 20 * np.log10(32_768))


def rms_dbfs(sound: Sound) -> float:
    return float(10 * np.log10(np.mean(sound.astype(float) ** 2) + 1e-9) - 20 * np.log10(32_768))


def controlled(sound: Sound, gain: GainControl | None = None) -> Sound:
    return np.frombuffer((gain or GainControl()).process(sound.astype("<i2").tobytes()), "<i2")


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("level_dbfs", [-50.0, -45.0, -40.0, -30.0, -24.0, -20.0, -10.0])
def test_a_voice_comes_out_at_the_target_within_three_seconds(level_dbfs: float, seed: int) -> None:
    out = controlled(voice(20, level_dbfs, seed))
    expected = -24.0 if level_dbfs >= -45.0 else level_dbfs + 24.0
    for begin_s in (3, 6, 12):
        part = out[begin_s * RATE_HZ : (begin_s + 5) * RATE_HZ]
        assert active_dbfs(part) == pytest.approx(expected, abs=3.0)
    assert int(np.abs(out.astype(int)).max()) <= CEILING


@pytest.mark.parametrize("noise_dbfs", [-70.0, -62.0, -55.0, -48.0])
def test_noise_is_never_raised_above_its_limit(noise_dbfs: float) -> None:
    sound = voice(20, -40.0, 4, noise_dbfs)
    sound[10 * RATE_HZ : 14 * RATE_HZ] = pcm(
        np.random.default_rng(5).normal(size=4 * RATE_HZ) * 32_768 * 10 ** (noise_dbfs / 20)
    )
    out = controlled(sound)
    assert rms_dbfs(out[10 * RATE_HZ : 14 * RATE_HZ]) <= max(-50.0, noise_dbfs) + 0.5


def test_a_shout_deafens_for_two_seconds_at_most_and_does_not_clip() -> None:
    whisper, shout = voice(12, -45.0, 6), voice(3, -8.0, 7)
    out = controlled(np.concatenate([whisper, shout, whisper]))
    begin = len(whisper) + len(shout)
    before = active_dbfs(out[len(whisper) - 5 * RATE_HZ : len(whisper)])
    assert active_dbfs(out[begin + 2 * RATE_HZ : begin + 5 * RATE_HZ]) > before - 4.0
    assert int(np.abs(out.astype(int)).max()) <= CEILING


def test_the_gain_stays_where_it_is_in_pauses() -> None:
    gain = GainControl()
    controlled(voice(8, -36.0, 8), gain)
    before_db = gain.gain_db
    controlled(pcm(np.random.default_rng(9).normal(size=20 * RATE_HZ) * 6), gain)
    assert gain.gain_db == pytest.approx(before_db, abs=0.1)  # the last step of speech is still on its way
    assert before_db > 6.0


def test_an_even_voice_is_not_pumped() -> None:
    gain = GainControl()
    controlled(voice(5, -38.0, 10), gain)
    steady = voice(20, -38.0, 11)
    seen = [gain.gain_db]
    for at in range(0, len(steady), HOP_SAMPLES):
        controlled(steady[at : at + HOP_SAMPLES], gain)
        seen.append(gain.gain_db)
    assert max(seen) - min(seen) < 3.0


def test_silence_stays_silence() -> None:
    assert not controlled(np.zeros(5 * RATE_HZ, np.int16)).any()


@given(st.binary(max_size=4_000), st.lists(st.integers(0, 700), max_size=6))
@examples(100)
def test_any_sound_cut_in_any_way_comes_out_as_long_and_below_the_ceiling(data: bytes, cuts: list[int]) -> None:
    data = data[: len(data) // 2 * 2]
    gain, at, out = GainControl(), 0, b""
    for cut in cuts:
        out += gain.process(data[at : at + 2 * cut])
        at += 2 * cut
    out += gain.process(data[at:])
    assert len(out) == len(data)
    assert not len(out) or int(np.abs(np.frombuffer(out, "<i2").astype(int)).max()) <= CEILING


def test_where_the_limiter_has_nothing_to_do_the_cuts_do_not_matter() -> None:
    sound = voice(6, -40.0, 12)
    whole, cut = controlled(sound), GainControl()
    parts = [controlled(sound[at : at + 1_000], cut) for at in range(0, len(sound), 1_000)]
    assert int(np.abs(np.concatenate(parts).astype(int) - whole).max()) <= 1


@pytest.mark.parametrize("target_dbfs", [-41.0, -11.0, float("nan")])
def test_a_target_out_of_range_is_refused_with_its_value(target_dbfs: float) -> None:
    with pytest.raises(SettingsError, match=str(target_dbfs)):
        GainControl(target_dbfs)
