"""The reference's place: delays and clocks told by the sounds, few corrections, fewer moves, and nothing lost."""

from typing import Any

import numpy as np
import pytest

from ravatar_audio.frames import HOP_SAMPLES, RATE_HZ
from ravatar_audio.processing import LinearCanceller, PlacedReference, PlacingStatistics
from ravatar_audio.processing.delays import SPAN_SAMPLES, ClockLine, Reading, delay_of
from tests.unit.test_echo_canceller import Pcm, echo_of, gone_db, pcm, speech_like

FRAME = 16 * HOP_SAMPLES


def resampled(sound: np.ndarray[Any, Any], step: float, length: int) -> np.ndarray[Any, Any]:
    """The sound at 0, step, 2 step, ... by a long windowed sinc."""
    at = step * np.arange(length)
    whole = np.floor(at).astype(int)
    padded = np.concatenate([np.zeros(40), sound, np.zeros(80)])
    result = np.zeros(length)
    for offset in range(-31, 33):
        apart = at - whole - offset
        result += padded[whole + offset + 40] * np.sinc(apart) * np.cos(np.pi * apart / 65) ** 2
    return result


class Play:
    """A made-up avatar in a room, heard on a clock that is `ppm` fast, through a placed reference by frames."""

    def __init__(self, *, seconds: float, ppm: float = 0.0, delay: int = 700, begin: int = -480, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        far = speech_like(seconds + 1, rng)
        echo = echo_of(far, np.random.default_rng(seed + 1), delay)
        self.length = int(seconds * RATE_HZ) // FRAME * FRAME
        self.echo = resampled(echo, 1 / (1 + ppm * 1e-6), self.length)
        self.microphone = pcm(self.echo + rng.normal(size=self.length) * 3)
        self.reference = pcm(far)
        self.placed = PlacedReference(LinearCanceller(), begin)
        self.states: list[PlacingStatistics] = []

    def run(self, drop: range = range(0)) -> Pcm:
        """All of it; frames in `drop` come without any reference."""
        parts = []
        for number, at in enumerate(range(0, self.length, FRAME)):
            cut = slice(at, at + FRAME)
            if number not in drop:
                self.placed.push(self.reference[cut].tobytes(), at)
            parts.append(self.placed.process(self.microphone[cut].tobytes()))
            assert len(parts[-1]) == 2 * FRAME
            self.states.append(self.placed.statistics())
        return np.frombuffer(b"".join(parts), "<i2")

    def gone_db(self, out: Pcm, begin_s: float, end_s: float) -> float:
        heard = self.echo[int(begin_s * RATE_HZ) : int(end_s * RATE_HZ)]
        return gone_db(heard, out[int(begin_s * RATE_HZ) + HOP_SAMPLES : int(end_s * RATE_HZ) + HOP_SAMPLES])


@pytest.mark.parametrize("delay", [-700, 0, 3, 480, 2_000, 7_900])
@pytest.mark.parametrize("fraction", [0.0, 0.37])
def test_a_delay_is_read_to_a_tenth_of_a_sample(delay: int, fraction: float) -> None:
    rng = np.random.default_rng(2)
    far = speech_like(6, rng)
    begin = 2 * RATE_HZ
    at = np.arange(SPAN_SAMPLES) + begin - delay - fraction
    whole = np.floor(at).astype(int)
    echo = sum(
        far[whole + offset] * np.sinc(at - whole - offset) * np.cos(np.pi * (at - whole - offset) / 65) ** 2
        for offset in range(-31, 33)
    )
    reference = far[begin : begin + SPAN_SAMPLES].astype(np.float32)
    heard = (echo + rng.normal(size=SPAN_SAMPLES) * 20).astype(np.float32)
    found = delay_of(heard, reference)
    assert found is not None
    assert abs(found - delay - fraction) < 0.1


def test_no_delay_is_read_of_silence_or_of_somebody_else() -> None:
    rng = np.random.default_rng(3)
    far, near = (speech_like(4, rng)[:SPAN_SAMPLES].astype(np.float32) for _ in range(2))
    silence = np.zeros(SPAN_SAMPLES, np.float32)
    assert delay_of(near, silence) is None
    assert delay_of(silence, far) is None
    assert delay_of(near, far) is None


def test_a_line_finds_the_clock_and_does_not_mind_strays() -> None:
    rng, line = np.random.default_rng(4), ClockLine()
    readings = []
    for number in range(60):
        microphone = number * RATE_HZ / 2
        off = 500 - 200e-6 * microphone + rng.normal() * 0.05 + (3_000 if number % 7 == 5 else 0)
        readings.append(line.add(microphone, microphone + off))
    assert readings.count(Reading.STRAY) == 8
    assert Reading.CHANGED not in readings
    assert abs(line.ppm + 200) < 0.5
    assert line.error_ppm < 1.0


def test_a_line_begins_anew_when_three_agree_on_another_path() -> None:
    line = ClockLine()
    for number in range(20):
        line.add(number * 8_000.0, number * 8_000.0 + 100)
    found = [line.add(number * 8_000.0, number * 8_000.0 + 580) for number in range(20, 24)]
    assert found == [Reading.STRAY, Reading.STRAY, Reading.CHANGED, Reading.FITS]
    assert line.off_at(24 * 8_000.0) == pytest.approx(580)


@pytest.mark.parametrize("ppm", [-300.0, -50.0, 50.0, 300.0])
def test_clocks_that_drift_apart_are_found_and_the_echo_goes(ppm: float) -> None:
    play = Play(seconds=30, ppm=ppm)
    out = play.run()
    by_15_s, at_end = play.states[round(15 / 0.256)], play.states[-1]
    assert abs(by_15_s.reference_ppm + ppm) < 2.0
    assert abs(at_end.reference_ppm + ppm) < 0.5
    assert at_end.moves == 0
    assert at_end.lost_samples == 0
    assert at_end.corrections <= 8
    assert play.gone_db(out, 15, 29) > 30.0


def test_clocks_that_agree_are_let_alone() -> None:
    play = Play(seconds=20)
    play.run()
    assert play.states[-1].reference_ppm == 0.0
    assert play.states[-1].corrections == play.states[-1].moves == play.states[-1].path_changes == 0
    assert play.states[-1].delay_s == pytest.approx((700 - 480) / RATE_HZ, abs=1e-4)


@pytest.mark.parametrize("delay", [4_200, 7_000])
def test_an_echo_out_of_the_filters_reach_is_brought_into_it_by_one_move(delay: int) -> None:
    play = Play(seconds=12, delay=delay, begin=0)
    out = play.run()
    assert play.states[-1].moves == 1
    assert play.states[-1].delay_s == pytest.approx(0.010, abs=1e-3)
    assert play.gone_db(out, 8, 11) > 30.0


def test_a_reference_that_stops_and_comes_is_counted_and_finds_its_place_again() -> None:
    play = Play(seconds=14)
    out = play.run(drop=range(20, 30))
    assert len(out) == play.length
    assert play.states[19].lost_samples == 0
    assert 9 * FRAME <= play.states[-1].lost_samples <= 10 * FRAME
    assert play.states[-1].moves == play.states[-1].corrections == 0
    assert play.gone_db(out, 9.5, 13.5) > 30.0


def test_a_pause_longer_than_what_is_kept_and_sound_that_came_before() -> None:
    rng = np.random.default_rng(6)
    reference = pcm(speech_like(2, rng))[:FRAME]
    placed = PlacedReference(LinearCanceller(suppress=False), 0)
    placed.push(reference.tobytes())
    placed.push(reference.tobytes(), 100)  # all but the last 100 have been there
    placed.push(reference.tobytes(), 60 * RATE_HZ)
    silent = bytes(2 * FRAME)
    for _ in range(60 * RATE_HZ // FRAME):
        placed.process(silent)
    assert placed.statistics().lost_samples < 51 * RATE_HZ
    before = placed.statistics().lost_samples
    placed.process(silent)
    assert placed.statistics().lost_samples == before


def test_a_silent_reference_leaves_the_microphone_bit_for_bit() -> None:
    rng = np.random.default_rng(5)
    microphone = pcm(speech_like(3, rng))[: 10 * FRAME]
    placed, parts = PlacedReference(LinearCanceller(), 0, ppm=37.0), []
    for at in range(0, len(microphone), FRAME):
        placed.push(bytes(2 * FRAME))
        parts.append(placed.process(microphone[at : at + FRAME].tobytes()))
    out = np.frombuffer(b"".join(parts), "<i2")
    assert np.array_equal(out[HOP_SAMPLES:], microphone[:-HOP_SAMPLES])
