"""Prepared utterances: an absolute schedule on one clock, shared bytes, and nothing lost without being counted."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from ravatar_audio import FRAME_SAMPLES, RATE_HZ, Frame, SyntheticSource
from ravatar_audio.capture.sources.prepared import FRAME_S, PreparedSource, SharedClock, Spoken, Utterance
from ravatar_audio.errors import SettingsError


async def utterance(seconds: float = 0.6, seed: int = 1) -> Utterance:
    return await Utterance.prepare(SyntheticSource("speech", pace="full", duration_s=seconds, seed=seed))


@asynccontextmanager
async def running(clock: SharedClock) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.run)
        yield
        nursery.cancel_scope.cancel()


async def test_an_utterance_is_whole_frames_with_their_levels() -> None:
    said = await utterance(0.6)
    assert len(said.frames) == 3
    assert {frame.length_samples for frame in said.frames} == {FRAME_SAMPLES}
    assert all(len(frame.hops) >= 1 for frame in said.frames)
    assert said.length_s == pytest.approx(0.768)


async def test_nothing_to_say_is_refused() -> None:
    with pytest.raises(SettingsError, match="no sound"):
        await utterance(0.0)
    with pytest.raises(SettingsError, match="at least one"):
        PreparedSource([], clock=SharedClock())


async def test_frames_come_on_an_absolute_schedule_and_say_where_they_stand(
    autojump_clock: trio.testing.MockClock,
) -> None:
    said, clock, places = await utterance(), SharedClock(), list[Spoken]()
    async with running(clock):
        source = PreparedSource([said], clock=clock, pauses_s=[0.5, 0.3], duration_s=3.0, on_frame=places.append)
        async with source:
            begin_s = trio.current_time()
            frames: list[Frame] = []
            async for frame in source:
                frames.append(frame)
                assert trio.current_time() == pytest.approx(begin_s + len(frames) * FRAME_S, abs=2 * clock.TICK_S)
                if len(frames) == 4:
                    await trio.sleep(0.2)  # held up: the next ones come no later for it
    assert len(frames) == round(3.0 / FRAME_S)
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    assert [frame.position_samples for frame in frames] == [FRAME_SAMPLES * seq for seq in range(len(frames))]
    assert "".join("ABC"[place.is_first + 2 * place.is_last] for place in places[:11]) == "BACAABACAAB"[:11]
    speech = [frame.pcm is said.frames[index].pcm for index, frame in enumerate(frames[:3])]
    assert speech == [True, True, True], "bytes are shared, not copied"
    assert max(frame.peak for frame in frames[3:5]) == 1, "silence is a microphone's, not a muted one's"
    gaps = [later.captured_s - earlier.captured_s for earlier, later in itertools.pairwise(frames)]
    assert gaps == pytest.approx([FRAME_S] * len(gaps))


async def test_what_is_not_taken_in_time_is_lost_and_counted(autojump_clock: trio.testing.MockClock) -> None:
    clock = SharedClock()
    async with running(clock), PreparedSource([await utterance()], clock=clock, ring_s=1.0) as source:
        first = await anext(source)
        await trio.sleep(10.0)
        second = await anext(source)
        lost_frames = second.seq - first.seq - 1
        assert lost_frames > 30
        assert second.ring_lost_samples == lost_frames * FRAME_SAMPLES
        assert second.discontinuity
        counts = source.statistics()
        assert counts.ring_dropped_samples == second.ring_lost_samples
        assert counts.pending_samples == 3 * FRAME_SAMPLES, "the ring holds 4 frames"
        total = counts.delivered_samples + counts.ring_dropped_samples + counts.pending_samples
        assert counts.captured_samples == total + counts.discarded_samples
        assert not (await anext(source)).discontinuity


async def test_it_begins_when_told_and_a_session_begins_it_anew(autojump_clock: trio.testing.MockClock) -> None:
    clock = SharedClock()
    async with running(clock), PreparedSource([await utterance()], clock=clock, waits=True) as source:
        with trio.move_on_after(5.0) as scope:
            await anext(source)
        assert scope.cancelled_caught
        source.begin()
        begin_s = trio.current_time()
        await trio.sleep(0.1)
        source.discard()
        assert (await anext(source)).seq == 0
        assert trio.current_time() == pytest.approx(begin_s + 0.1 + FRAME_S, abs=2 * clock.TICK_S)


async def test_a_thousand_sources_are_woken_by_one_task(autojump_clock: trio.testing.MockClock) -> None:
    clock, said = SharedClock(), await utterance()
    taken: list[int] = []

    async def listen(number: int) -> None:
        async with PreparedSource([said], clock=clock, duration_s=2.0, lead_s=number % 3 * FRAME_S) as source:
            taken.append(len([frame async for frame in source]))

    async with running(clock), trio.open_nursery() as nursery:
        for number in range(1_000):
            nursery.start_soon(listen, number)
            if number % 100 == 0:
                await trio.sleep(0.013)
    assert taken == [round(2.0 / FRAME_S)] * 1_000


async def test_one_that_is_cancelled_while_it_waits_hurts_nobody(autojump_clock: trio.testing.MockClock) -> None:
    clock, said = SharedClock(), await utterance()
    async with running(clock), PreparedSource([said], clock=clock) as one, PreparedSource([said], clock=clock) as other:
        with trio.move_on_after(0.1):
            await anext(one)
        assert (await anext(other)).seq == 0
        assert (await anext(one)).seq == 0, "a cancellation loses no frame"


async def test_it_ends_where_it_is_stopped(autojump_clock: trio.testing.MockClock) -> None:
    clock = SharedClock()
    async with running(clock), PreparedSource([await utterance()], clock=clock) as source:
        await anext(source)
        await source.stop()
        assert [frame async for frame in source] == []
    assert source.statistics().delivered_samples == FRAME_SAMPLES
    assert RATE_HZ * FRAME_S == FRAME_SAMPLES
