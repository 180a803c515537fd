"""What a gate does with each control, event by event."""

import numpy as np
import pytest

from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, Frame
from ravatar_audio.turns import Gate, Outcome, Reason, TurnEvent, TurnEventKind, TurnMode, TurnRules
from ravatar_audio.turns.speech_edges import SpeechEdges
from tests.unit.turns_world import Control, ThresholdDetector, kinds, make_frame, play, sound_at, time_of, turns_of

QUIET, LOUD, VERY_LOUD = 100, 5_000, 20_000


def levels(*parts: tuple[int, int]) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    """Sound of constant levels: (samples, level)."""
    return np.concatenate([np.full(samples, level) for samples, level in parts]).astype("<i2")


def voice_gate(rules: TurnRules | None = None, mode: TurnMode = TurnMode.VAD) -> Gate:
    return Gate(mode, rules, detector=ThresholdDetector(256, LOUD), barge_in=ThresholdDetector(256, VERY_LOUD))


def spans(outcomes: list[Outcome]) -> list[tuple[int, int | None]]:
    return [(turn.start, turn.end) for turn in turns_of(outcomes)]


def events(outcomes: list[Outcome]) -> list[TurnEvent]:
    return [outcome for outcome in outcomes if isinstance(outcome, TurnEvent)]


def test_a_new_press_in_the_tail_goes_on_with_the_turn() -> None:
    script: list[Control] = [(10_000, Gate.press), (20_000, Gate.release), (23_199, Gate.press), (23_300, Gate.release)]
    outcomes = play(Gate(TurnMode.PTT), sound_at(0, 40_000), script)
    assert kinds(outcomes) == ["started", "extended", "ended"]
    assert spans(outcomes) == [(5_200, 26_500)]
    script[2:] = [(23_200, Gate.press), (30_000, Gate.release)]
    outcomes = play(Gate(TurnMode.PTT), sound_at(0, 40_000), script)
    assert spans(outcomes) == [(5_200, 23_200), (23_200, 33_200)], "the pre-roll does not reach into the turn before"


@pytest.mark.row("mode voice activity's cap")
def test_speech_that_never_ends_is_capped_and_goes_on_in_the_next_turn_without_a_gap() -> None:
    sound = levels((8_192, QUIET), (600_000, LOUD), (60_000, QUIET))
    outcomes = play(voice_gate(), sound)
    cap = 15 * 16_000
    start, end = 8_192 - 4_800, 608_256 + 14_400
    assert spans(outcomes) == [(start, start + cap), (start + cap, start + 2 * cap), (start + 2 * cap, end)]
    assert [turn.how and (turn.how.kind, turn.how.reason) for turn in turns_of(outcomes)] == [
        (TurnEventKind.CAPPED, Reason.CAP),
        (TurnEventKind.CAPPED, Reason.CAP),
        (TurnEventKind.ENDED, Reason.SILENCE),
    ]


def test_a_button_that_is_stuck_is_capped_once() -> None:
    gate = Gate(TurnMode.PTT, TurnRules(press_cap_ms=1_000))
    outcomes = play(gate, sound_at(0, 200_000), [(10_000, Gate.press), (100_000, Gate.release), (110_000, Gate.press)])
    assert spans(outcomes) == [(5_200, 21_200), (105_200, 121_200)]


def test_a_pause_shorter_than_the_hangover_does_not_end_the_turn() -> None:
    sound = levels((8_192, QUIET), (4_096, LOUD), (14_336, QUIET), (4_096, LOUD), (20_000, QUIET))
    outcomes = play(voice_gate(), sound)
    assert kinds(outcomes) == ["started", "extended", "ended"]
    assert spans(outcomes) == [(3_392, 30_720 + 14_400)]


def test_a_click_is_no_speech() -> None:
    sound = levels((8_192, QUIET), (256, LOUD), (20_000, QUIET))
    assert play(voice_gate(), sound) == []
    outcomes = play(voice_gate(TurnRules(onset_ms=0)), sound)
    assert kinds(outcomes) == ["started", "ended"]


def test_mute_ends_the_turn_at_once_and_lets_nothing_out_until_unmute() -> None:
    sound = sound_at(0, 60_000)
    gate = Gate(TurnMode.PTT)
    script: list[Control] = [
        (10_000, Gate.press),
        (20_001, Gate.mute),
        (25_000, Gate.release),
        (26_000, Gate.press),
        (30_003, Gate.unmute),
        (40_000, Gate.release),
    ]
    outcomes = play(gate, sound, script)
    assert kinds(outcomes) == ["started", "ended", "muted", "unmuted", "started", "ended"]
    assert spans(outcomes) == [(5_200, 20_001), (30_003, 43_200)]
    assert not gate.is_muted


def test_mute_is_seen_at_once_even_before_there_is_sound() -> None:
    gate = Gate(TurnMode.OPEN)
    assert gate.mute(time_of(0)) == []
    assert gate.is_muted
    assert play(gate, sound_at(0, 10_000)) == [TurnEvent(TurnEventKind.MUTED, 0)]
    assert gate.statistics().gated_samples == gate.statistics().received_samples - gate.statistics().pending_samples
    gate.set_mode(TurnMode.PTT, time_of(11_000))
    assert gate.mode is TurnMode.PTT


def test_changing_the_mode_ends_the_turn_and_takes_nothing_from_before() -> None:
    script: list[Control] = [
        (10_001, lambda gate, at_s: gate.set_mode("ptt", at_s)),
        (12_000, Gate.press),
        (20_000, lambda gate, at_s: gate.set_mode("vad", at_s)),
        (40_000, lambda gate, at_s: gate.set_mode("open", at_s)),
    ]
    sound = levels((22_016, QUIET), (2_048, LOUD), (36_000, QUIET))
    gate = voice_gate(mode=TurnMode.OPEN)
    outcomes = play(gate, sound, script) + gate.finish()
    assert spans(outcomes) == [(0, 10_001), (10_001, 20_000), (20_000, 38_464), (40_000, len(sound))]
    changes = [event for event in events(outcomes) if event.kind is TurnEventKind.MODE_CHANGED]
    assert [(event.position_samples, event.reason) for event in changes] == [
        (10_001, TurnMode.PTT),
        (20_000, TurnMode.VAD),
        (40_000, TurnMode.OPEN),
    ]


@pytest.mark.row("mode cancelled recording")
def test_a_turn_that_is_called_off_sends_no_more_and_a_new_press_begins_another() -> None:
    script: list[Control] = [
        (10_000, Gate.press),
        (30_000, Gate.cancel),
        (40_000, Gate.release),
        (50_000, Gate.press),
        (60_000, Gate.release),
    ]
    outcomes = play(Gate(TurnMode.PTT), sound_at(0, 80_000), script)
    assert kinds(outcomes) == ["started", "cancelled", "started", "ended"]
    first, second = turns_of(outcomes)
    assert len(first.sound) <= 30_000 - 5_200
    assert (second.start, second.end) == (45_200, 63_200)
    gate = Gate(TurnMode.OPEN)
    assert spans(play(gate, sound_at(0, 30_000), [(10_000, Gate.cancel)])) == [(0, 10_000), (10_000, None)]


def test_while_the_avatar_speaks_the_microphone_is_gated_and_its_echo_too() -> None:
    script: list[Control] = [(20_000, Gate.avatar_speaks), (40_000, Gate.avatar_ends)]
    gate = voice_gate(mode=TurnMode.OPEN)
    sound = levels((20_000, QUIET), (22_000, LOUD), (20_000, QUIET))
    outcomes = play(gate, sound, script) + gate.finish()
    assert kinds(outcomes) == ["started", "ended", "gated", "ungated", "started", "ended"]
    assert spans(outcomes) == [(0, 20_000), (44_800, len(sound))]
    assert events(outcomes)[1].reason is Reason.AVATAR


@pytest.mark.parametrize("mode", [TurnMode.OPEN, TurnMode.VAD])
def test_a_voice_above_the_level_barges_in_with_its_first_word(mode: TurnMode) -> None:
    sound = levels((20_000, QUIET), (10_208, LOUD), (4_096, VERY_LOUD), (40_000, QUIET))
    gate = voice_gate(mode=mode)
    outcomes = play(gate, sound, [(16_000, Gate.avatar_speaks), (60_000, Gate.avatar_ends)]) + gate.finish()
    barge_in = 30_208 // 256 * 256
    assert TurnEventKind.BARGED_IN.value in kinds(outcomes)
    last = turns_of(outcomes)[-1]
    assert last.start == barge_in - 4_800
    assert not gate.is_gated


def test_the_button_is_heard_over_the_avatar() -> None:
    script: list[Control] = [(10_000, Gate.avatar_speaks), (20_000, Gate.press), (30_000, Gate.release)]
    assert spans(play(Gate(TurnMode.PTT), sound_at(0, 50_000), script)) == [(15_200, 33_200)]


def test_a_gap_ends_a_frame_and_is_told_with_the_next() -> None:
    gate = Gate(TurnMode.OPEN)
    outcomes = gate.feed(make_frame(sound_at(0, 4_096), 0))
    gate.mute(time_of(4_096))
    gate.unmute(time_of(5_000))
    outcomes += gate.feed(make_frame(sound_at(4_096, 4_096), 4_096))
    outcomes += gate.feed(make_frame(sound_at(16_384, 4_096), 16_384, ring_lost=8_192))
    outcomes += gate.feed(make_frame(sound_at(20_480, 4_096), 20_480, device_lost=77))
    with pytest.raises(ValueError, match="interrupt"):
        gate.feed(make_frame(sound_at(0, 4_096), 0))
    outcomes += gate.finish()
    frames = [outcome for outcome in outcomes if isinstance(outcome, Frame)]
    assert [(f.position_samples, f.length_samples, f.ring_lost_samples, f.device_lost_samples) for f in frames] == [
        (0, 4_096, 0, 0),
        (5_000, 3_192, 0, 0),
        (16_384, 4_096, 8_192, 0),
        (20_480, 4_096, 0, 77),
    ]
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert gate.statistics().lost_samples == 8_192 + 77


def test_an_interrupted_capture_ends_the_turn_and_the_next_goes_on_in_the_numbering() -> None:
    gate = Gate(TurnMode.PTT)
    outcomes = play(gate, sound_at(0, 20_000), [(10_000, Gate.press)])
    outcomes += gate.interrupt()
    assert gate.flush_at is None
    outcomes += gate.feed(make_frame(sound_at(0, 4_096), 0))  # the button is still held
    outcomes += gate.feed(make_frame(sound_at(4_096, 4_096), 4_096))
    assert spans(outcomes) == [(5_200, 20_000), (20_000, None)]
    assert gate.flush_at == 120 * 16_000, "the cap, in the capture's own positions"


def test_a_button_let_go_while_nothing_is_captured_ends_the_turn_with_the_first_sound_after() -> None:
    """The callback stalled for 5 s and nobody counted what was lost: the tail must not be taken 3 s later."""
    gate = Gate(TurnMode.PTT)
    outcomes = play(gate, sound_at(0, 20_480), [(10_000, Gate.press)])
    outcomes += gate.release(time_of(20_480) + 3.0)
    late = make_frame(sound_at(20_480, 4_096), 20_480)
    late = late._replace(captured_s=late.captured_s + 5.0)
    outcomes += gate.feed(late)
    assert spans(outcomes) == [(5_200, 20_480 + 3_200)]


def test_a_release_told_late_does_not_take_back_what_has_gone() -> None:
    gate = Gate(TurnMode.PTT)
    outcomes = play(gate, sound_at(0, 40_960), [(10_000, Gate.press)])
    given = gate.statistics().given_samples
    outcomes += gate.release(time_of(15_000))
    [turn] = turns_of(outcomes)
    assert turn.end == 5_200 + given
    assert not gate.is_open


def test_frames_that_are_cut_anew_have_their_own_levels_and_times() -> None:
    rng = np.random.default_rng(3)
    sound = rng.integers(-9_000, 9_000, 5 * FRAME_SAMPLES).astype(np.int16)
    sound[6_000:6_100] = 0
    outcomes = play(Gate(TurnMode.PTT), sound, [(5_000, Gate.press), (11_000, Gate.release)], cuts=[777, 5_555, 9_000])
    frames = [outcome for outcome in outcomes if isinstance(outcome, Frame)]
    assert len(frames) == 4
    for frame in frames:
        expected = make_frame(sound[frame.position_samples :][: frame.length_samples], frame.position_samples)
        assert frame.captured_s == pytest.approx(expected.captured_s, abs=1e-6)
        assert frame.peak == expected.peak
        assert [hop[:3] for hop in frame.hops] == [hop[:3] for hop in expected.hops]
        assert frame.rms_dbfs == expected.rms_dbfs
        assert frame.flushed == (frame.length_samples < FRAME_SAMPLES)


def test_frames_in_step_with_the_turn_are_passed_on_as_they_are() -> None:
    gate = Gate(TurnMode.OPEN)
    frame = make_frame(sound_at(0, 4_096), 0)
    assert gate.feed(frame)[1] is frame


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"pre_roll_ms": -1}, "pre_roll_ms is -1"),
        ({"tail_ms": 5_001}, "tail_ms is 5001"),
        ({"hangover_ms": None}, "hangover_ms is None"),
        ({"max_turn_ms": 1_000, "pre_roll_ms": 1_000}, "max_turn_ms is 1000"),
        ({"onset_ms": True}, "onset_ms is True"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(wrong: dict[str, int], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        TurnRules(**wrong)


def test_modes_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingsError, match="telepathy"):
        Gate("telepathy")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="detector"):
        Gate(TurnMode.VAD)
    with pytest.raises(SettingsError, match="detector"):
        Gate(TurnMode.PTT).set_mode("vad", 0.0)


def test_nothing_behind_a_mute_gets_out_while_the_detector_has_not_decided_yet() -> None:
    """A whole frame of the turn has come, but a part of it is behind the mute, and speech is decided in long steps."""
    gate = Gate(TurnMode.VAD, TurnRules(pre_roll_ms=0, onset_ms=0), detector=ThresholdDetector(3_000, LOUD))
    sound = levels((50_000, LOUD))
    outcomes = gate.feed(make_frame(sound[:4_000], 0))
    outcomes += gate.mute(time_of(4_050))
    outcomes += gate.feed(make_frame(sound[:1_000], 4_000))
    outcomes += gate.feed(make_frame(sound[:4_096], 5_000))
    [turn] = turns_of(outcomes)
    assert (turn.start, turn.end, len(turn.sound)) == (0, 4_050, 4_050)


def test_the_detector_begins_a_new_step_behind_a_gap() -> None:
    edges = SpeechEdges(ThresholdDetector(256, LOUD))
    loud, quiet = levels((200, LOUD)).tobytes(), levels((256, QUIET)).tobytes()
    assert edges.hear(1_000, loud) == []
    assert edges.decided == 1_000
    assert edges.hear(5_000, quiet) == []
    assert edges.decided == 5_256
    assert edges.hear(5_256, loud + loud) == [(5_256, True)]
    assert edges.next_decision(5_513) == 5_768
