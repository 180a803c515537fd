"""Any sequence of controls, frames, gaps and flushes: positions monotonic, turns disjoint, conservation exact."""

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from ravatar_audio.turns import Gate, Outcome, TurnEventKind, TurnMode, TurnRules
from tests.conftest import examples
from tests.unit.turns_world import Control, ThresholdDetector, make_frame, play, sound_at, time_of, turns_of

SHORT = TurnRules(
    pre_roll_ms=100,
    tail_ms=50,
    hangover_ms=100,
    shortest_press_ms=60,
    onset_ms=32,
    max_turn_ms=1_000,
    press_cap_ms=1_200,
)
LEVEL = 16_386


def speech(total: int, spans: list[tuple[int, int]]) -> NDArray[np.int16]:
    """Sound that tells its position, loud in the spans (start, length)."""
    sound = sound_at(0, total) // 2 + 1
    for start, length in spans:
        part = sound[start : start + length]
        part[part < LEVEL - 1] += LEVEL - 1
    return sound


def gate_for(mode: TurnMode, rules: TurnRules = SHORT) -> Gate:
    return Gate(mode, rules, detector=ThresholdDetector(256, LEVEL), barge_in=ThresholdDetector(512, LEVEL + 8_000))


def set_mode(mode: TurnMode) -> Callable[[Gate, float], list[Outcome]]:
    return lambda gate, at_s: gate.set_mode(mode, at_s)


CONTROLS = [
    Gate.press,
    Gate.release,
    Gate.mute,
    Gate.unmute,
    Gate.cancel,
    Gate.avatar_speaks,
    Gate.avatar_ends,
    *map(set_mode, TurnMode),
]


@st.composite
def scripts(draw: st.DrawFn) -> list[Control]:
    """Controls at ascending positions; press and release more often than the others."""
    steps = draw(st.lists(st.tuples(st.integers(0, 9_000), st.sampled_from(CONTROLS + CONTROLS[:2] * 4)), max_size=12))
    position, script = 0, []
    for gap, control in steps:
        position += gap
        script.append((position, control))
    return script


@examples(150)
@given(
    mode=st.sampled_from(TurnMode),
    script=scripts(),
    spans=st.lists(st.tuples(st.integers(0, 50_000), st.integers(1, 12_000)), max_size=5),
    cuts=st.lists(st.integers(1, 60_000), max_size=40),
)
def test_turns_do_not_depend_on_how_the_capture_cuts_its_frames(
    mode: TurnMode, script: list[Control], spans: list[tuple[int, int]], cuts: list[int]
) -> None:
    sound = speech(60_000, spans)
    results = []
    for chosen in (None, [], cuts):
        gate = gate_for(mode)
        turns = turns_of(play(gate, sound, script, cuts=chosen) + gate.finish())
        for turn in turns:
            assert turn.end is not None
            if turn.how is not None and turn.how.kind is not TurnEventKind.CANCELLED:
                assert np.array_equal(turn.sound, sound[turn.start : turn.end])
            else:
                assert np.array_equal(turn.sound, sound[turn.start : turn.start + len(turn.sound)])
        results.append([(turn.start, turn.end, turn.how and turn.how.kind) for turn in turns])
        statistics = gate.statistics()
        assert statistics.received_samples == len(sound) == statistics.given_samples + statistics.gated_samples
    assert results[0] == results[1] == results[2]


class AnythingGoes(RuleBasedStateMachine):
    """Frames of any length, with losses, and controls that are early, on time or late, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = gate_for(TurnMode.PTT)
        self.position = self.seq = 0
        self.offset = 0
        """Of the gate's numbering over the capture's, after captures that broke off."""
        self.clock_s = 0.0
        """Time that passed while nothing was captured."""
        self.outcomes: list[Outcome] = []
        self.sound: dict[int, int] = {}
        self.lost = 0
        self.is_loud = False

    def now_s(self) -> float:
        return time_of(self.position) + self.clock_s

    @rule(
        length=st.integers(1, 4_096),
        ring_lost=st.sampled_from([0, 0, 0, 0, 1, 4_096, 50_000]),
        device_lost=st.sampled_from([0, 0, 0, 7, 20_000]),
    )
    def feed(self, length: int, ring_lost: int, device_lost: int) -> None:
        self.position += ring_lost
        start = self.position
        pcm = sound_at(start + self.offset, length) // 2 + 1
        if self.is_loud:
            pcm += 16_384 - 1
        frame = make_frame(pcm, start, seq=self.seq, ring_lost=ring_lost, device_lost=device_lost)
        self.clock_s += device_lost / 16_000
        frame = frame._replace(captured_s=frame.captured_s + self.clock_s)
        self.outcomes += self.gate.feed(frame)
        self.sound |= dict(zip(range(start + self.offset, start + self.offset + length), pcm.tolist(), strict=True))
        self.lost += ring_lost + device_lost
        self.position += length
        self.seq += 1

    @rule(control=st.sampled_from(CONTROLS + CONTROLS[:2] * 4), early=st.integers(-6_000, 6_000))
    def tell(self, control: Callable[[Gate, float], list[Outcome]], early: int) -> None:
        self.outcomes += control(self.gate, self.now_s() + early / 16_000)

    @rule(loud=st.booleans())
    def speak(self, loud: bool) -> None:
        self.is_loud = loud

    @rule(stalled_s=st.floats(0.01, 30.0))
    def stall(self, stalled_s: float) -> None:
        """The callback stops coming, and nobody counts what is lost."""
        self.clock_s += stalled_s

    @rule(again_at=st.sampled_from([0, 1_000, 10**9]))
    def interrupt(self, again_at: int) -> None:
        self.outcomes += self.gate.interrupt()
        if self.seq:
            self.offset += self.position - again_at
            self.clock_s += (self.position - again_at) / 16_000
            self.position = again_at

    @rule()
    def finish(self) -> None:
        self.outcomes += self.gate.finish()
        assert self.gate.statistics().pending_samples == 0
        if self.seq:
            self.interrupt(0)

    @invariant()
    def every_sample_is_somewhere(self) -> None:
        counted = self.gate.statistics()
        assert counted.received_samples == len(self.sound)
        assert counted.received_samples == counted.given_samples + counted.gated_samples + counted.pending_samples
        assert counted.lost_samples == self.lost
        assert 0 <= counted.pending_samples <= 4_096 * 8 or not self.gate.is_open
        flush_at = self.gate.flush_at
        assert flush_at is None or flush_at > self.position

    def teardown(self) -> None:
        self.outcomes += self.gate.finish()
        given: set[int] = set()
        for turn in turns_of(self.outcomes):
            assert turn.end is not None
            for frame in turn.frames:
                positions = range(frame.position_samples, frame.position_samples + frame.length_samples)
                assert turn.start <= positions.start
                assert positions.stop <= turn.end
                assert given.isdisjoint(positions)
                given |= set(positions)
                pcm = np.frombuffer(frame.pcm, "<i2")[: frame.length_samples].tolist()
                assert pcm == [self.sound[position] for position in positions]
            if turn.how is not None and turn.how.kind is not TurnEventKind.CANCELLED:
                received = {position for position in range(turn.start, turn.end) if position in self.sound}
                assert received <= given, "a turn has a hole"
        assert len(given) == self.gate.statistics().given_samples


AnythingGoes.TestCase.settings = settings(examples(80), stateful_step_count=40)
TestAnythingGoes = AnythingGoes.TestCase
