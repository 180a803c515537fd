"""The energy detector: its level, its noise floor, its hysteresis, and that it does not care how sound is cut."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ravatar_audio.energy import EnergyDetector
from ravatar_audio.errors import SettingsError
from ravatar_audio.turns import Detector, Gate
from tests.conftest import examples

HOP = 256
SECOND = 62.5  # hops


def noise(seconds: float, rms_dbfs: float, seed: int = 0) -> NDArray[np.int16]:
    rms = 32_768 * 10 ** (rms_dbfs / 20)
    samples = np.random.default_rng(seed).normal(0, rms, round(seconds * 16_000))
    return np.clip(samples.round(), -32_768, 32_767).astype(np.int16)


def decide(detector: EnergyDetector, *sounds: NDArray[np.int16]) -> list[list[bool]]:
    return [detector.feed(sound.astype("<i2").tobytes()) for sound in sounds]


@pytest.mark.parametrize(("level", "expected"), [(655, False), (656, True)])
def test_the_platforms_level_to_the_step(level: int, expected: bool) -> None:
    """0.02 of full scale is an RMS of 655.36."""
    detector = EnergyDetector(margin_db=0.0)
    assert decide(detector, np.full(HOP * 3, level, np.int16)) == [[expected] * 3]


def test_speech_stays_speech_until_it_has_fallen_by_the_hysteresis() -> None:
    detector = EnergyDetector(-40.0, margin_db=0.0, hysteresis_db=6.0)
    levels = [round(32_768 * 10 ** (dbfs / 20)) for dbfs in (-40.5, -39.5, -40.5, -45.5, -46.5, -45.5, -39.5)]
    sound = np.repeat(np.array(levels, np.int16), HOP)
    assert decide(detector, sound) == [[False, True, True, True, False, False, True]]


def test_steady_noise_of_any_level_is_no_speech_once_it_is_known() -> None:
    for rms_dbfs in (-60.0, -40.0, -20.0, -10.0):
        detector = EnergyDetector()
        _, later = decide(detector, noise(3.0, rms_dbfs), noise(10.0, rms_dbfs, 1))
        assert sum(later) <= len(later) * 0.001, rms_dbfs
        assert detector.floor_dbfs == pytest.approx(rms_dbfs, abs=1.5)


def test_noise_that_begins_is_taken_for_speech_for_two_and_a_half_seconds_at_most() -> None:
    [_, loud] = decide(EnergyDetector(), noise(3.0, -60.0), noise(6.0, -25.0, 1))
    assert loud[0]
    assert not any(loud[math.ceil(2.6 * SECOND) :])


def test_a_voice_over_noise_is_heard_and_pauses_keep_the_floor_down() -> None:
    """Bursts of 300 ms, 12 dB over the noise, for ten seconds."""
    detector = EnergyDetector()
    sound = noise(13.0, -35.0).astype(np.float64)
    wanted = np.zeros(len(sound) // HOP, bool)
    for begin in range(3 * 16_000 // HOP, len(wanted) - 19, 31):
        wanted[begin : begin + 19] = True
    sound[: len(wanted) * HOP][np.repeat(wanted, HOP)] *= 4
    [heard] = decide(detector, sound.round().astype(np.int16))
    assert np.mean(np.array(heard)[3 * 63 :] == wanted[3 * 63 :]) > 0.99
    assert detector.floor_dbfs == pytest.approx(-35.0, abs=1.5)


def test_silence_is_no_speech_and_has_no_floor() -> None:
    detector = EnergyDetector(-90.0, 40.0, 20.0)
    assert detector.floor_dbfs == -200.0
    assert decide(detector, np.zeros(HOP * 300, np.int16)) == [[False] * 300]
    assert detector.floor_dbfs == -200.0


@examples(50)
@given(cuts=st.lists(st.integers(0, 5_000), max_size=20), seed=st.integers(0, 99))
def test_decisions_do_not_depend_on_how_the_sound_is_cut(cuts: list[int], seed: int) -> None:
    sound = np.concatenate([noise(0.3, rms, seed + int(-rms)) for rms in (-60, -30, -50, -20, -33, -36)])
    whole = EnergyDetector()
    [expected] = decide(whole, sound)
    pieces = EnergyDetector()
    got = [decision for part in np.split(sound, np.cumsum(cuts)) for decision in decide(pieces, part)[0]]
    assert got == expected
    assert len(got) == len(sound) // HOP
    assert pieces.floor_dbfs == whole.floor_dbfs


def test_full_scale_does_not_overflow() -> None:
    detector = EnergyDetector(0.0, margin_db=0.0)
    assert decide(detector, np.full(HOP, -32_768, np.int16)) == [[True]]


def test_a_skip_forgets_the_open_hop() -> None:
    detector = EnergyDetector(margin_db=0.0)
    loud, quiet = np.full(200, 20_000, np.int16), np.zeros(HOP, np.int16)
    assert decide(detector, loud) == [[]]
    detector.skip()
    assert decide(detector, quiet) == [[False]]


@pytest.mark.parametrize("values", [(-91, 6, 3), (1, 6, 3), (math.nan, 6, 3), (-34, -1, 3), (-34, 6, 21)])
def test_values_out_of_range_are_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(SettingsError, match="level_dbfs"):
        EnergyDetector(*values)


def test_a_gate_takes_it() -> None:
    detector: Detector = EnergyDetector()
    Gate("vad", detector=detector)
