"""Each gate at every phase of the frame grid: a turn's first and last sample get out, and nothing else does."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from ravatar_audio.frames import FRAME_SAMPLES
from ravatar_audio.turns import Gate, Reason, TurnEventKind, TurnMode, TurnRules
from tests.conftest import HANG_LIMIT_S, IS_EMULATED, starts_a_process
from tests.unit.turns_world import ThresholdDetector, Turn, play, sound_at, turns_of

PHASES = range(0, FRAME_SAMPLES, 61 if IS_EMULATED else 1)
PRE_ROLL, TAIL = 4_800, 3_200


def check(gate: Gate, turns: list[Turn], start: int, end: int, sound: NDArray[np.int16]) -> None:
    [turn] = turns
    assert (turn.start, turn.end) == (start, end)
    assert np.array_equal(turn.sound, sound[start:end])
    lengths = [frame.length_samples for frame in turn.frames]
    assert lengths == [FRAME_SAMPLES] * ((end - start) // FRAME_SAMPLES) + [(end - start) % FRAME_SAMPLES]
    counted = gate.statistics()
    assert counted.given_samples == end - start
    assert counted.received_samples == counted.given_samples + counted.gated_samples + counted.pending_samples


@pytest.mark.row("mode push-to-talk")
def test_push_to_talk_at_every_phase() -> None:
    sound = sound_at(0, 5 * FRAME_SAMPLES)
    for phase in PHASES:
        press, release = PRE_ROLL + phase, PRE_ROLL + phase + 4_000
        gate = Gate(TurnMode.PTT)
        outcomes = play(gate, sound, [(press, Gate.press), (release, Gate.release)])
        check(gate, turns_of(outcomes), press - PRE_ROLL, release + TAIL, sound)


@pytest.mark.row("mode voice activity")
def test_voice_activity_at_every_phase() -> None:
    """The detector's own step is its resolution: the turn begins at the step that has the first sound."""
    rules = TurnRules(hangover_ms=160)
    for phase in PHASES:
        begin, end = 5_120 + phase, 5_120 + phase + 3_000
        # Told apart outside of the speech as well, but below the detector's level.
        sound = sound_at(0, 4 * FRAME_SAMPLES) // 2 + 1
        sound[begin:end] += 16_384
        gate = Gate(TurnMode.VAD, rules, detector=ThresholdDetector(level=16_386))
        first, last = begin // 256 * 256, -(-end // 256) * 256
        check(gate, turns_of(play(gate, sound)), first - PRE_ROLL, last + 2_560, sound)


def test_open_microphone_at_every_phase() -> None:
    total = 6 * FRAME_SAMPLES
    sound = sound_at(0, total)
    for phase in PHASES:
        gate = Gate(TurnMode.OPEN)
        turns = turns_of(play(gate, sound, [(phase + 1, Gate.mute), (phase + 5_000, Gate.unmute)]) + gate.finish())
        assert [(turn.start, turn.end) for turn in turns] == [(0, phase + 1), (phase + 5_000, total)]
        for turn in turns:
            assert np.array_equal(turn.sound, sound[turn.start : turn.end])
            assert all(frame.length_samples == FRAME_SAMPLES for frame in turn.frames[:-1])
        assert gate.statistics().gated_samples == 4_999


@pytest.mark.parametrize("mode", [TurnMode.PTT, TurnMode.VAD])
def test_the_frame_that_ends_a_turn_ends_with_it(mode: TurnMode) -> None:
    """`flush_at` is what makes the end early: the sample before the turn's end is the newest when the end is known."""
    for phase in range(0, FRAME_SAMPLES, 61):
        sound = sound_at(0, 12 * FRAME_SAMPLES) // 2 + 1
        begin, end = 2 * FRAME_SAMPLES + phase, 3 * FRAME_SAMPLES + phase
        sound[begin:end] += 16_384
        gate = Gate(mode, detector=ThresholdDetector(level=16_386))
        controls = [(begin, Gate.press), (end, Gate.release)] if mode is TurnMode.PTT else []
        [turn] = turns_of(play(gate, sound, controls))
        ended_s = turn.frames[-1].finished_s
        at_most = 0 if mode is TurnMode.PTT else 255
        assert turn.end is not None
        late = round((ended_s - 0.001 - 1_000.0) * 16_000) - turn.end
        assert 0 <= late <= at_most
        # In step after the first frames: a frame of the turn is given out when its last sample has come.
        for frame in turn.frames[2:-1]:
            assert round((frame.finished_s - frame.captured_s - 0.001) * 16_000) == 1


def test_a_tap_sends_nothing_and_says_so() -> None:
    for held in (1, 100, 3_199):
        gate = Gate(TurnMode.PTT)
        outcomes = play(gate, sound_at(0, 40_000), [(9_000, Gate.press), (9_000 + held, Gate.release)])
        [event] = outcomes
        assert not hasattr(event, "pcm")
        assert (event.kind, event.reason, event.turn) == (TurnEventKind.CANCELLED, Reason.TAP, None)
    gate = Gate(TurnMode.PTT)
    outcomes = play(gate, sound_at(0, 40_000), [(9_000, Gate.press), (12_200, Gate.release)])
    assert [(turn.start, turn.end) for turn in turns_of(outcomes)] == [(4_200, 15_400)]


@starts_a_process
def test_the_room_needs_neither_trio_nor_the_core() -> None:
    code = "import sys, ravatar_audio.turns.gate; print({'trio', 'ravatar_audio._core'} & set(sys.modules))"
    # The package's own __init__ re-exports the core, so the room is loaded beside it.
    code = f"import sys, types; m = types.ModuleType('ravatar_audio'); import importlib.util as u; \
m.__path__ = list(u.find_spec('ravatar_audio').submodule_search_locations); sys.modules['ravatar_audio'] = m; {code}"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANG_LIMIT_S
    )
    assert result.stdout.strip() == "set()"
