"""The gate in front of a source: the chain's own cuts, events in their place, on a clock that the test moves on."""

from collections.abc import Callable

import numpy as np
import pytest
import trio

from ravatar_audio.capture import Source
from ravatar_audio.errors import MediaAbortedError
from ravatar_audio.frames import Frame
from ravatar_audio.native import Chain
from ravatar_audio.session.turn_source import TurnSource
from ravatar_audio.turns import Gate, Outcome, TurnEvent
from tests.unit.turns_world import kinds, sound_at, time_of, turns_of

BLOCK_SAMPLES = 160


class ScriptedSource(Source):
    """Blocks of 10 ms through a real chain; calls `script[position]` before the block that has the position."""

    name = backend = format = "int16"
    rate_hz, channels = 16_000, 1

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.script: dict[int, Callable[[], None]] = {}
        self.sound = sound_at(0, samples)
        self.pushed_samples = 0
        self.is_closed = False

    async def _open(self) -> None:
        self._chain = Chain(rate_hz=16_000)

    async def _next(self) -> Frame | None:
        assert self._chain
        while (frame := self._chain.take()) is None and self.pushed_samples < len(self.sound):
            end = min(self.pushed_samples + BLOCK_SAMPLES, len(self.sound))
            for position in sorted(position for position in self.script if position < end):
                self.script.pop(position)()
            # Sample p is at the microphone at time_of(p), so a block's end is its last sample's time.
            self._chain.push(self.sound[self.pushed_samples : end].tobytes(), time_of(end))
            self.pushed_samples = end
            if end == len(self.sound):
                self._chain.finish()
        return frame

    async def stop(self) -> None:
        self.pushed_samples = len(self.sound)

    async def aclose(self) -> None:
        self.is_closed = True
        self._close_chain()


async def heard(turns: TurnSource, outcomes: list[Outcome]) -> None:
    async for frame in turns:
        outcomes.append(frame)  # noqa: PERF401 - events come in between


async def test_what_a_turn_had_when_its_source_failed_is_given_out_before_the_error() -> None:
    def unplug() -> None:
        raise MediaAbortedError("the microphone went away")

    source = ScriptedSource(60_000)
    source.script = {10_000: unplug}
    outcomes: list[Outcome] = []
    async with TurnSource(source, Gate("open"), on_event=outcomes.append) as turns:
        with pytest.raises(MediaAbortedError):
            await heard(turns, outcomes)
        assert await turns.next_outcome() is None, "the error is told once"
    assert kinds(outcomes) == ["started", "ended"]
    frames = [item for item in outcomes if isinstance(item, Frame)]
    assert len(frames) == source.statistics().delivered_frames > 0
    assert isinstance(outcomes[-1], TurnEvent), "the turn has ended behind its last frame"


async def test_a_press_sends_the_turn_and_its_end_with_the_block_that_has_it() -> None:
    source = ScriptedSource(60_000)
    ended_at: list[int] = []
    outcomes: list[Outcome] = []

    def note(event: TurnEvent) -> None:
        outcomes.append(event)
        if event.kind == "ended":
            ended_at.append(source.pushed_samples)

    turns = TurnSource(source, Gate("ptt"), on_event=note)
    source.script = {
        10_007: lambda: turns.press(time_of(10_007)),
        20_011: lambda: turns.release(time_of(20_011)),
        30_000: lambda: turns.press(time_of(30_000)),
        31_000: lambda: turns.release(time_of(31_000)),
        40_000: lambda: turns.set_mode("open", time_of(40_000)),
        50_000: lambda: turns.mute(time_of(50_000)),
    }
    with trio.fail_after(10):
        async with turns:
            await heard(turns, outcomes)
    assert source.is_closed
    assert kinds(outcomes) == ["started", "ended", "cancelled", "mode_changed", "started", "ended", "muted"]
    first, second = turns_of(outcomes)
    for turn, start, end in ((first, 5_207, 23_211), (second, 40_000, 50_000)):
        assert abs(turn.start - start) <= 1, "capture times are exact to a sample"
        assert turn.end is not None
        assert abs(turn.end - end) <= 1
        assert np.array_equal(turn.sound, source.sound[turn.start : turn.end])
        assert all(frame.length_samples == 4_096 for frame in turn.frames[:-1])
    assert first.end is not None
    assert 0 <= ended_at[0] - first.end < 2 * BLOCK_SAMPLES


async def test_controls_default_to_now_and_a_late_one_needs_no_more_than_a_block() -> None:
    source = ScriptedSource(30_000)
    gate = Gate("ptt")
    turns = TurnSource(source, gate)
    assert turns.is_real_time
    outcomes: list[Outcome] = []
    with trio.fail_after(10):
        async with turns:
            source.script = {9_000: lambda: turns.press(time_of(9_000))}
            outcomes.append(await anext(turns))
            before = source.pushed_samples
            turns.release(time_of(before - 8_000))
            assert not gate.is_open
            await heard(turns, outcomes)
            turns.press()
            turns.release()
            assert gate.statistics().turns == 1
    assert sum(isinstance(outcome, Frame) for outcome in outcomes) >= 1
