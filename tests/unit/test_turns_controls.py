"""Controls of a gate: from any thread, as many as somebody makes, and what a turn tells of sound that is missing."""

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from ravatar_audio.frames import FRAME_SAMPLES, Frame
from ravatar_audio.turns import Gate, Outcome, TurnEventKind, TurnMode, TurnRules
from ravatar_audio.turns.queue import QUEUED_MAX
from tests.unit.turns_world import ThresholdDetector, make_frame, sound_at, time_of, turns_of

CONTROLS: dict[str, Callable[[Gate, float], list[Outcome]]] = {
    "press": Gate.press,
    "release": Gate.release,
    "mute": Gate.mute,
    "unmute": Gate.unmute,
    "cancel": Gate.cancel,
    "avatar_speaks": Gate.avatar_speaks,
    "avatar_ends": Gate.avatar_ends,
    "set_mode": lambda gate, at_s: gate.set_mode(TurnMode.OPEN if gate.mode is TurnMode.PTT else TurnMode.PTT, at_s),
}


@pytest.fixture
def _hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_hasty_threads")
@pytest.mark.parametrize("mode", [TurnMode.PTT, TurnMode.OPEN])
@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_from_another_thread_never_corrupts_the_gate(name: str, mode: TurnMode) -> None:
    gate = Gate(mode, TurnRules(pre_roll_ms=100, shortest_press_ms=0))
    now, is_over, errors = time_of(0), False, list[BaseException]()

    def control() -> None:
        turn = 0
        try:
            while not is_over:
                CONTROLS["press" if turn % 2 and name == "release" else name](gate, now)
                if turn % 3 == 0:
                    assert (gate.flush_at or 1) > 0
                    assert gate.statistics().received_samples >= 0
                turn += 1
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=control)
    thread.start()
    try:
        for number in range(150):
            frame = make_frame(sound_at(number * 512, 512), number * 512, seq=number)
            now = frame.captured_s
            gate.feed(frame)
    finally:
        is_over = True
        thread.join()
    gate.finish()
    assert not errors, errors
    counts = gate.statistics()
    assert counts.pending_samples == 0
    assert counts.received_samples == counts.given_samples + counts.gated_samples


@pytest.mark.parametrize("has_begun", [False, True])
def test_controls_without_sound_do_not_gather_and_the_last_of_them_count(has_begun: bool) -> None:
    """A microphone that is missing, and somebody who presses the button for hours."""
    gate = Gate(TurnMode.PTT, TurnRules(pre_roll_ms=0, shortest_press_ms=0), detector=ThresholdDetector())
    if has_begun:
        gate.feed(make_frame(sound_at(0, 1_600), 0))
    begin = 1_600 if has_begun else 0
    at_s = time_of(begin)
    for _ in range(1_000):
        gate.press(at_s)
        gate.release(at_s)
        gate.mute(at_s)
        gate.avatar_speaks(at_s)
        gate.set_mode(TurnMode.OPEN, at_s)
        gate.cancel(at_s)
        assert len(list(gate._queue)) <= QUEUED_MAX
    assert (gate.is_muted, str(gate.mode)) == (True, "open")
    gate.avatar_ends(at_s)
    outcomes = [*gate.set_mode(TurnMode.PTT, at_s), *gate.unmute(at_s), *gate.press(at_s)]
    outcomes += gate.feed(make_frame(sound_at(begin, FRAME_SAMPLES), begin, seq=1))
    outcomes += gate.feed(make_frame(sound_at(begin + 4_096, FRAME_SAMPLES), begin + 4_096, seq=2))
    outcomes += gate.finish()
    assert (gate.is_muted, str(gate.mode)) == (False, "ptt")
    heard = [outcome.position_samples for outcome in outcomes if isinstance(outcome, Frame)]
    assert heard == [begin, begin + FRAME_SAMPLES], "the button is held, and is heard"
    counts = gate.statistics()
    assert counts.received_samples == counts.given_samples + counts.gated_samples


@pytest.mark.parametrize("begin", [0, 1_000, 4_095])
def test_what_the_device_lost_inside_a_turns_first_frame_is_told(begin: int) -> None:
    """Nobody knows where in a frame it was: a turn that has a part of the frame tells it, once."""
    gate = Gate(TurnMode.PTT, TurnRules(pre_roll_ms=0, shortest_press_ms=0, tail_ms=0))
    outcomes = gate.feed(make_frame(sound_at(0, 1_600), 0))
    outcomes += gate.press(time_of(1_600 + begin))
    outcomes += gate.feed(make_frame(sound_at(1_600, FRAME_SAMPLES), 1_600, seq=1, device_lost=480))
    outcomes += gate.feed(make_frame(sound_at(5_696, FRAME_SAMPLES), 5_696, seq=2))
    outcomes += gate.feed(make_frame(sound_at(9_792, FRAME_SAMPLES), 9_792, seq=3))
    outcomes += gate.finish()
    [turn] = turns_of(outcomes)
    assert [frame.device_lost_samples for frame in turn.frames] == [480] + [0] * (len(turn.frames) - 1)
    assert turn.frames[0].discontinuity


def test_what_two_turns_share_of_a_frame_is_told_once() -> None:
    gate = Gate(TurnMode.PTT, TurnRules(pre_roll_ms=0, shortest_press_ms=0, tail_ms=0))
    outcomes: list[Outcome] = gate.feed(make_frame(sound_at(0, 1_600), 0))
    for control, position in ((gate.press, 1_700), (gate.release, 2_500), (gate.press, 3_000), (gate.release, 4_000)):
        outcomes += control(time_of(position))
    outcomes += gate.feed(make_frame(sound_at(1_600, FRAME_SAMPLES), 1_600, seq=1, device_lost=480))
    outcomes += gate.finish()
    assert [outcome.kind for outcome in outcomes if not isinstance(outcome, Frame)].count(TurnEventKind.STARTED) == 2
    assert [outcome.device_lost_samples for outcome in outcomes if isinstance(outcome, Frame)] == [480, 0]


def test_a_frame_shows_itself_shortly() -> None:
    text = repr(make_frame(sound_at(0, FRAME_SAMPLES), 8_192, seq=2, device_lost=7))
    assert len(text) < 120
    for part in ("Frame 2", "8192", "4096 samples", "lost 0 + 7"):
        assert part in text
