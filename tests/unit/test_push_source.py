"""A program's own sound: any format, any thread, with back-pressure or drops that are counted."""

import array
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

from ravatar_audio import Converter, Frame, PushSource
from ravatar_audio.choices import SampleFormat
from ravatar_audio.errors import SettingsError

RATES_HZ = (8_000, 16_000, 44_100, 48_000, 96_000)
FORMATS: dict[str, Any] = {"int16": np.int16, "int32": np.int32, "float32": np.float32, "uint8": np.uint8}


def noise(samples: int, channels: int, format: str) -> Any:
    values = np.random.default_rng(5).uniform(-0.5, 0.5, (samples, channels))
    if format == "float32":
        return values.astype(np.float32)
    if format == "uint8":
        return (values * 127 + 128).astype(np.uint8)
    return (values * np.iinfo(FORMATS[format]).max).astype(FORMATS[format])


async def frames_of(source: PushSource) -> list[Frame]:
    return [frame async for frame in source]


def pcm_of(frames: list[Frame]) -> bytes:
    return b"".join(frame.pcm[: 2 * frame.length_samples] for frame in frames)


@pytest.fixture
async def opened() -> AsyncIterator[PushSource]:
    async with PushSource(when_full="wait") as source:
        yield source


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 6])
async def test_what_comes_out_is_what_the_converter_makes(rate_hz: int, format: SampleFormat, channels: int) -> None:
    sound = noise(rate_hz, channels, format)
    with Converter(rate_hz, channels, format) as converter:
        expected = pcm_of(converter.process(sound) + converter.flush())
    async with PushSource(rate_hz=rate_hz, channels=channels, format=format, when_full="wait") as source:
        for begin in range(0, rate_hz, 777):  # blocks of no particular length
            await source.push(sound[begin : begin + 777])
        source.finish()
        frames = await frames_of(source)
    assert pcm_of(frames) == expected
    assert [frame.seq for frame in frames] == list(range(len(frames)))


async def test_bytes_and_arrays_are_the_same_sound() -> None:
    sound = noise(48_000, 2, "int16")
    outcomes = set()
    data = sound.tobytes()
    views = (sound.reshape(-1), array.array("h", data), np.asfortranarray(sound), memoryview(sound))
    for given in (sound, data, bytearray(data), *views):
        async with PushSource(rate_hz=48_000, channels=2) as source:
            source.push_nowait(given)
            source.finish()
            outcomes.add(pcm_of(await frames_of(source)))
    assert len(outcomes) == 1


async def test_a_program_that_does_not_take_its_frames_loses_what_is_counted() -> None:
    async with PushSource(when_full="drop", ring_s=1.0) as source:
        source.push_nowait(bytes(2 * 160_000))
        source.finish()
        frames = await frames_of(source)
        counts = source.statistics()
    assert counts.captured_samples == 160_000
    assert counts.ring_dropped_samples > 0
    assert counts.captured_samples == counts.delivered_samples + counts.ring_dropped_samples + counts.pending_samples
    assert sum(frame.length_samples for frame in frames) == counts.delivered_samples


@pytest.mark.parametrize("rate_hz", RATES_HZ)
async def test_back_pressure_loses_nothing(rate_hz: int, autojump_clock: trio.abc.Clock) -> None:
    async with PushSource(rate_hz=rate_hz, when_full="wait", ring_s=0.5) as source, trio.open_nursery() as nursery:

        async def push() -> None:
            for _ in range(20):
                await source.push(bytes(2 * (rate_hz // 3)))
            await source.stop()

        nursery.start_soon(push)
        total_samples = 0
        async for frame in source:
            total_samples += frame.length_samples
            await trio.sleep(0.3)
        counts = source.statistics()
    assert counts.ring_dropped_samples == 0
    assert total_samples == counts.captured_samples
    assert counts.device_samples == 20 * (rate_hz // 3)


async def test_without_waiting_what_would_have_to_wait_is_refused_as_a_whole(opened: PushSource) -> None:
    block = bytes(2 * 4_096)
    with contextlib.suppress(trio.WouldBlock):
        for _ in range(20):
            opened.push_nowait(block)
    taken_samples = opened.statistics().device_samples
    with pytest.raises(trio.WouldBlock):
        opened.push_nowait(block)
    assert opened.statistics().device_samples == taken_samples
    opened.finish()
    assert sum(frame.length_samples for frame in await frames_of(opened)) == taken_samples


async def test_many_threads_push_whole_blocks() -> None:
    """Each block is of one value: no block is torn by another thread's."""
    async with PushSource(when_full="drop", ring_s=60.0) as source:

        def push(value: int) -> None:
            for _ in range(50):
                source.push_nowait(np.full(160, value, np.int16))

        threads = [threading.Thread(target=push, args=(number * 1_000,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await trio.to_thread.run_sync(thread.join)
        source.finish()
        samples = np.concatenate([frame.samples for frame in await frames_of(source)])
    blocks = samples.reshape(-1, 160)
    assert len(blocks) == 200
    assert (blocks == blocks[:, :1]).all()


async def test_a_thread_wakes_whoever_waits(opened: PushSource) -> None:
    threading.Timer(0.05, lambda: opened.push_nowait(bytes(2 * 4_096))).start()
    with trio.fail_after(5):
        assert (await anext(opened)).length_samples == 4_096


async def test_capture_times_are_kept(opened: PushSource) -> None:
    opened.push_nowait(bytes(2 * 4_000), captured_s=1_000.0)
    opened.push_nowait(bytes(2 * 4_000), captured_s=1_000.25)
    frame = await anext(opened)
    assert frame.captured_s == pytest.approx(1_000.0 + 96 / 16_000, abs=1e-3)


async def test_losses_are_told() -> None:
    async with PushSource(rate_hz=48_000) as source:
        source.push_nowait(bytes(2 * 4_800))
        source.note_loss(48_000)
        source.push_nowait(bytes(2 * 48_000))
        source.finish()
        frames = await frames_of(source)
    assert sum(frame.device_lost_samples for frame in frames) == 16_000


@pytest.mark.parametrize(
    ("options", "sound", "says"),
    [
        ({}, np.zeros(4, np.float32), "float32 was pushed into a source of int16"),
        ({}, np.zeros((4, 2), np.int16), r"shape \(4, 2\)"),
        ({"channels": 2}, np.zeros((2, 3), np.int16), r"shape \(2, 3\)"),
        ({"format": "int24"}, np.zeros(3, np.int32), "int32 was pushed into a source of int24"),
        ({}, b"abc", "3 bytes are no whole number"),
        ({"channels": 2}, b"ab", "2 bytes are no whole number"),
        ({}, "sound", "str cannot be pushed"),
        ({}, [1, 2], "list cannot be pushed"),
        ({}, np.zeros(4, np.dtype(">i2")), ">i2 was pushed"),
    ],
)
async def test_what_is_no_sound_of_the_source_is_refused(options: Any, sound: Any, says: str) -> None:
    async with PushSource(**options) as source:
        with pytest.raises(SettingsError, match=says):
            source.push_nowait(sound)
        with pytest.raises(SettingsError, match=says):
            await source.push(sound)
        assert source.statistics().device_samples == 0


@pytest.mark.parametrize(
    "options", [{"rate_hz": 100}, {"channels": 0}, {"channels": 33}, {"format": "mp3"}, {"when_full": "maybe"}]
)
def test_values_out_of_range_are_refused_when_it_is_made(options: Any) -> None:
    with pytest.raises(SettingsError):
        PushSource(**options)


async def test_before_and_after_its_time() -> None:
    source = PushSource()
    with pytest.raises(RuntimeError, match="open it"):
        source.push_nowait(b"")
    async with source:
        source.push_nowait(b"")
        source.finish()
        source.finish()
        with pytest.raises(trio.ClosedResourceError):
            source.push_nowait(bytes(2))
        assert await frames_of(source) == []
    with pytest.raises(trio.ClosedResourceError):
        await source.push(bytes(2))
    with pytest.raises(RuntimeError, match="once"):
        async with source:
            pass


async def test_closing_ends_whoever_waits() -> None:
    source = PushSource(when_full="wait", ring_s=0.5)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            async with source:

                async def take() -> None:
                    async with trio.open_nursery():
                        async for _ in source:
                            await trio.sleep_forever()

                async def push() -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await source.push(bytes(2 * 160_000))

                nursery.start_soon(push)
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
