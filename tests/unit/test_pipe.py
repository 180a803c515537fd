"""Sound from another program: nothing is lost or played as noise, and a pipe that stalls, ends or is wrong says so."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

from ravatar_audio.capture import PipeSource
from ravatar_audio.capture.sources.wav import native_samples
from ravatar_audio.errors import MediaAbortedError, RecorderError, SettingsError
from ravatar_audio.frames import FRAME_SAMPLES
from tests.unit.test_sources import assert_conserved, frames_of, joined, noise, wav


async def pour(fd: int, data: bytes, piece: int) -> None:
    for at in range(0, len(data), piece):
        await trio.to_thread.run_sync(os.write, fd, data[at : at + piece])
    os.close(fd)


@pytest.mark.parametrize("as_wav", [False, True])
@pytest.mark.parametrize("piece", [1_001, 65_536])
async def test_a_pipe_loses_nothing_however_it_is_cut(as_wav: bool, piece: int) -> None:
    data = noise(2 * FRAME_SAMPLES + 50, channels=2)
    read_fd, write_fd = os.pipe()
    try:
        # A WAV stream says itself what it is, against what was declared.
        source = PipeSource(read_fd, channels=1 if as_wav else 2, channels_heard=[0])
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pour, write_fd, wav(data, channels=2) if as_wav else native_samples(data, 2), piece)
                frames = await frames_of(source)
    finally:
        os.close(read_fd)
    assert joined(frames) == np.frombuffer(data, "<i2")[::2].tobytes()
    assert_conserved(source)


async def test_a_regular_file_on_standard_input_is_read_too(tmp_path: Path) -> None:
    data = noise(FRAME_SAMPLES)
    (tmp_path / "raw").write_bytes(native_samples(data, 2))  # raw sound is in the machine's byte order
    with (tmp_path / "raw").open("rb") as file:
        assert joined(await frames_of(PipeSource(file.fileno()))) == data


@asynccontextmanager
async def a_pipe(**options: Any) -> AsyncIterator[tuple[PipeSource, int]]:
    """A source, not opened yet, and the end that is written to; the test may close that."""
    read_fd, write_fd = os.pipe()
    try:
        yield PipeSource(read_fd, **options), write_fd
    finally:
        os.close(read_fd)
        with suppress(OSError):
            os.close(write_fd)


def told(source: PipeSource) -> list[str]:
    events, kinds = source.events(), []
    with suppress(trio.WouldBlock, trio.EndOfChannel):
        while True:
            kinds.append(events.receive_nowait().kind)
    return kinds


async def test_a_pipe_that_falls_silent_is_noticed(autojump_clock: trio.testing.MockClock) -> None:
    async with a_pipe(stall_s=0.5, give_up_s=7.0) as (source, write_fd):
        os.write(write_fd, bytes(3_200))
        async with source:
            began_s = trio.current_time()
            assert (await anext(source)).length_samples == 1_600, "what came is given out first"
            with pytest.raises(MediaAbortedError, match=r"nothing has come from .* for 7 s"):
                await anext(source)
            assert trio.current_time() - began_s == pytest.approx(7.0)
            assert told(source) == ["stalled"]
            assert_conserved(source)
            assert source.statistics().captured_samples == 1_600


async def test_a_pipe_that_goes_on_is_told_to_have_recovered(autojump_clock: trio.testing.MockClock) -> None:
    async with a_pipe(stall_s=0.5) as (source, write_fd), trio.open_nursery() as nursery:
        os.write(write_fd, bytes(3_200))

        async def write_later() -> None:
            await trio.sleep(2.0)
            os.write(write_fd, bytes(2 * FRAME_SAMPLES))

        async with source:
            nursery.start_soon(write_later)
            assert (await anext(source)).length_samples == FRAME_SAMPLES
            assert told(source) == ["stalled", "recovered"]
            assert not (await first_of(source, 0.1)), "what is over is over"
            assert told(source) == []


async def test_what_comes_through_a_pipe_is_looked_at_as_a_microphones_sound_is() -> None:
    silence, shout = np.zeros(20_800, "<i2"), np.full(4_800, 32_767, "<i2")
    room = np.tile(np.array([0, 90, 0, -90], "<i2"), 600)
    async with a_pipe(rate_hz=8_000) as (source, write_fd):
        os.write(write_fd, np.concatenate([silence, shout, room]).tobytes())
        os.close(write_fd)
        async with source:
            async for _ in source:
                pass
            assert told(source) == ["digital_silence", "sound", "clipping", "ended"]


async def first_of(source: PipeSource, limit_s: float) -> list[Any]:
    with trio.move_on_after(limit_s):
        return [await anext(source)]
    return []


async def test_a_pipe_that_nothing_ever_comes_from_does_not_open(autojump_clock: trio.testing.MockClock) -> None:
    async with a_pipe(give_up_s=10.0) as (source, _):
        with pytest.raises(MediaAbortedError, match="10 s"):
            await source.__aenter__()
        assert told(source) == [], "the first sound may take its time"


async def test_the_end_of_a_pipe_is_the_end_of_the_sound_unless_it_should_have_none() -> None:
    for is_endless in (False, True):
        async with a_pipe(is_endless=is_endless) as (source, write_fd):
            os.write(write_fd, bytes(2 * 1_600))
            os.close(write_fd)
            async with source:
                assert (await anext(source)).length_samples == 1_600, "what came is given out first"
                ending = pytest.raises(MediaAbortedError if is_endless else StopAsyncIteration)
                with ending as caught:
                    await anext(source)
                if is_endless:
                    assert "ended after 0.100 s" in str(caught.value)
                else:
                    assert told(source) == ["ended"]
                with pytest.raises(StopAsyncIteration):
                    await anext(source)


@pytest.mark.parametrize("content", [b"", wav(b"")], ids=["nothing", "a header alone"])
async def test_a_pipe_that_ends_before_any_sound_is_an_error(content: bytes) -> None:
    """As an empty file is, unless a microphone should be behind it."""
    for is_endless, kind, said in ((False, SettingsError, "has no sound"), (True, RecorderError, "before any sound")):
        async with a_pipe(is_endless=is_endless) as (source, write_fd):
            os.write(write_fd, content)
            os.close(write_fd)
            async with source:
                with pytest.raises(kind, match=said):
                    await anext(source)


async def test_bytes_that_are_no_whole_sample_are_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async with a_pipe(channels=2, format="int24") as (source, write_fd):
        os.write(write_fd, bytes(6 * 800 + 5))
        os.close(write_fd)
        async with source:
            assert [frame.length_samples async for frame in source] == [800]
    assert "5 bytes over; is it really 16000 Hz, 2 channels, int24?" in caplog.text


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        (b"fLaC\0\0\0\x22", "FLAC"),
        (b"OggS\0\x02", "Ogg"),
        (b"ID3\x03", "MP3"),
        (b"\x1a\x45\xdf\xa3\x01", "WebM"),
        (b".snd\0\0\0\x18", "AU"),
        (
            b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x11\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\0\0\0\0",
            "encoding 17",
        ),
    ],
)
async def test_a_pipe_of_something_else_is_refused_and_not_played_as_noise(begin: bytes, kind: str) -> None:
    async with a_pipe() as (source, write_fd):
        os.write(write_fd, begin + bytes(10_000))
        with pytest.raises(SettingsError, match=kind) as caught:
            await source.__aenter__()
        assert "PCM" in caught.value.advice


async def test_what_follows_the_sound_in_a_wav_stream_is_not_played(caplog: pytest.LogCaptureFixture) -> None:
    data = noise(3_000)
    async with a_pipe() as (source, write_fd):
        os.write(write_fd, wav(data) + b"LIST\x04\0\0\0INFO")
        os.close(write_fd)
        assert joined(await frames_of(source)) == data
    async with a_pipe() as (source, write_fd):
        os.write(write_fd, wav(data)[:-1_000])
        os.close(write_fd)
        assert joined(await frames_of(source)) == data[:-1_000]
    assert "1000 bytes short" in caplog.text


async def test_a_descriptor_that_is_not_open_is_refused() -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    os.close(write_fd)
    with pytest.raises((RecorderError, MediaAbortedError), match="cannot be read"):
        await PipeSource(read_fd).__aenter__()


async def test_a_terminal_is_refused() -> None:
    try:
        terminal, other = os.openpty()
    except OSError as error:
        pytest.skip(f"no terminals here: {error}")
    try:
        with pytest.raises(SettingsError, match="terminal") as caught:
            await PipeSource(other).__aenter__()
        assert "arecord" in caught.value.advice
    finally:
        os.close(terminal)
        os.close(other)
