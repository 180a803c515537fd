"""A second consumer beside the first: every sample, in blocks of its own length, counted, and in nobody's way."""

import asyncio

import numpy as np
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import ravatar_audio.asyncio as for_asyncio
import ravatar_audio.blocking as for_threads
from ravatar_audio import Gate, PushSource, SettingsError, SoundBlock, SyntheticSource, Tee, TurnSource
from ravatar_audio.frames import Frame
from ravatar_audio.testing import FakeMicrophone

from ..frames import make_frame

RATE_HZ = 16_000


def joined(blocks: list[SoundBlock]) -> bytes:
    return b"".join(block.pcm for block in blocks)


def pcm_of(frames: list[Frame]) -> bytes:
    return b"".join(frame.pcm[: 2 * frame.length_samples] for frame in frames)


def check(tee: Tee) -> None:
    counts = tee.statistics()
    assert counts.heard_samples == counts.taken_samples + counts.dropped_samples + counts.pending_samples


@pytest.mark.parametrize("block_s", [0.010, 0.016, 0.032, 0.080, 0.256])
async def test_both_hear_every_sample_and_each_block_has_the_chosen_length(block_s: float) -> None:
    source = SyntheticSource(duration_s=1.5, pace="full")
    tee = source.tee(block_s)
    async with source:
        frames = [frame async for frame in source]
        blocks = [block async for block in tee]
    assert joined(blocks) == pcm_of(frames)
    assert {block.length_samples for block in blocks[:-1]} == {round(block_s * RATE_HZ)}
    assert [block.position_samples for block in blocks] == [
        round(block_s * RATE_HZ) * number for number in range(len(blocks))
    ]
    assert not any(block.lost_samples for block in blocks)
    assert np.array_equal(blocks[0].samples, np.frombuffer(blocks[0].pcm, "<i2"))
    assert tee.statistics().taken_samples == 24_000
    check(tee)


async def test_who_is_too_slow_loses_its_own_sound_and_the_first_consumer_none() -> None:
    source = SyntheticSource(duration_s=4, pace="full")
    slow, quick = source.tee(0.010, ring_s=0.256), source.tee(0.020)
    heard = 0
    async with source:
        async for frame in source:
            heard += frame.length_samples
            check(slow)
            while quick.statistics().pending_samples >= 320:
                await anext(quick)
        blocks = [block async for block in slow]
    assert heard == source.statistics().delivered_samples == 4 * RATE_HZ
    counts = slow.statistics()
    assert counts.dropped_samples > 0
    assert counts.heard_samples == 4 * RATE_HZ
    assert sum(block.length_samples + block.lost_samples for block in blocks) == 4 * RATE_HZ
    assert blocks[0].lost_samples == counts.dropped_samples
    assert quick.statistics().dropped_samples == 0


@given(
    lengths=st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 4_096)), max_size=12),
    block_samples=st.integers(160, 4_096),
)
def test_gaps_and_short_frames_keep_every_position(lengths: list[tuple[int, int]], block_samples: int) -> None:
    """(Lost before a frame, its length)."""
    ring = Tee(block_samples / RATE_HZ, 600.0)
    position, total = 0, 0
    for seq, (gap, length) in enumerate(lengths):
        position += gap if seq else 0
        ring.hear(make_frame(seq)._replace(position_samples=position, length_samples=length, captured_s=position / 1e4))
        position += length
        total += length
        check(ring)
    ring.close()

    async def take() -> list[SoundBlock]:
        return [block async for block in ring]

    blocks = trio.run(take)
    assert sum(block.length_samples for block in blocks) == total == ring.statistics().taken_samples
    expected = 0
    for block in blocks:
        expected += block.lost_samples
        assert block.position_samples == expected
        assert 0 < block.length_samples <= block_samples
        expected += block.length_samples
    assert expected == position
    assert sum(block.lost_samples for block in blocks) == ring.statistics().lost_samples


async def test_it_waits_for_sound_ends_by_close_and_with_the_source() -> None:
    source = PushSource(rate_hz=RATE_HZ)
    first, second = source.tee(0.010), source.tee(0.010)
    taken: list[SoundBlock] = []

    async def take() -> None:
        taken.extend([block async for block in first])

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            async with source:
                source.push_nowait(np.ones(4_096, np.int16))
                await anext(source)
                second.close()
                assert len([block async for block in second]) == 26
                with pytest.raises(StopAsyncIteration):
                    await anext(second)
    assert sum(block.length_samples for block in taken) == 4_096


@pytest.mark.parametrize("block_s", [0.010, 0.020, 0.100])
async def test_behind_a_gate_a_block_comes_soon_and_the_turns_frames_stay_whole(
    autojump_clock: trio.testing.MockClock, block_s: float
) -> None:
    microphone = FakeMicrophone("noise", duration_s=5)
    tee = microphone.tee(block_s)
    late_s: list[float] = []

    async def take() -> None:
        late_s.extend([microphone._now_s() - block.captured_s async for block in tee])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        async with TurnSource(microphone, Gate("open")) as turns:
            frames = [frame async for frame in turns]
    assert [frame.length_samples for frame in frames[:-1]] == [4_096] * (len(frames) - 1)
    assert sum(frame.length_samples for frame in frames) == tee.statistics().taken_samples > 79_000
    # A device block of 10 ms, and the resampler's delay; the first comes with the first frame, the last with the end.
    assert sorted(late_s)[int(0.9 * len(late_s))] < 0.030


async def test_beside_a_consumer_of_the_frames_themselves_none_is_cut(autojump_clock: trio.testing.MockClock) -> None:
    microphone = FakeMicrophone("noise", duration_s=2)
    microphone.tee(0.010)
    async with microphone:
        lengths = [frame.length_samples async for frame in microphone]
    assert lengths[:-1] == [4_096] * (len(lengths) - 1)


@pytest.mark.parametrize(
    ("block_s", "ring_s"), [(0.009, 2.0), (0.257, 2.0), (float("nan"), 2.0), (0.01, 0.1), (0.01, 601)]
)
def test_lengths_out_of_range_are_refused(block_s: float, ring_s: float) -> None:
    with pytest.raises(SettingsError, match="_s is"):
        SyntheticSource().tee(block_s, ring_s=ring_s)


def test_the_other_worlds_have_it_too() -> None:
    async def in_asyncio() -> int:
        async with for_asyncio.SyntheticSource(duration_s=1, pace="full") as source:
            tee = source.tee(0.020)
            frames = [frame async for frame in source]
            blocks = [block async for block in tee]
        assert joined(blocks) == pcm_of(frames)
        return tee.statistics().taken_samples

    assert asyncio.run(in_asyncio()) == RATE_HZ
    with for_threads.SyntheticSource(duration_s=1, pace="full") as source:
        tee = source.tee(0.020)
        frames = list(source)
        assert joined(list(tee)) == pcm_of(frames)
        tee.close()
    assert tee.statistics().taken_samples == RATE_HZ
