"""Files, pipes and synthetic sound: every sample arrives, at the right time, the same for the same seed."""

import io
import struct
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.capture import FileSource, PipeSource, Source, SyntheticSource, open_source
from ravatar_audio.capture.sources.signals import KINDS, generate
from ravatar_audio.capture.sources.wav import UnsupportedWavError, native_samples, parse_wav_header
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, Frame
from ravatar_audio.settings import Settings
from tests.conftest import IS_EMULATED


async def frames_of(source: Source) -> list[Frame]:
    async with source:
        return [frame async for frame in source]


def joined(frames: list[Frame]) -> bytes:
    return b"".join(frame.pcm[: 2 * frame.length_samples] for frame in frames)


def assert_conserved(source: Source) -> None:
    counts = source.statistics()
    assert counts.captured_samples == counts.delivered_samples + counts.ring_dropped_samples + counts.pending_samples


def noise(samples: int, channels: int = 1) -> bytes:
    values = np.random.default_rng(5).integers(-32_768, 32_768, samples * channels)
    return values.astype("<i2").tobytes()


def wav(data: bytes, rate_hz: int = 16_000, channels: int = 1, sample_bytes: int = 2) -> bytes:
    """A WAV of little-endian samples, as its writers make it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, sample_bytes, rate_hz, 0, "NONE", ""))
        writer.writeframes(native_samples(data, sample_bytes))  # the library swaps them on a big-endian machine
    return file.getvalue()


def header(encoding: int, bits: int, *, channels: int = 1, rate_hz: int = 16_000, extra: bytes = b"") -> bytes:
    stride = channels * bits // 8
    fields = struct.pack("<HHIIHH", encoding, channels, rate_hz, rate_hz * stride, stride, bits) + extra
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", len(fields)) + fields


async def test_a_wav_file_at_16_khz_arrives_bit_for_bit(tmp_path: Path) -> None:
    data = noise(3 * FRAME_SAMPLES + 100)
    (tmp_path / "a.wav").write_bytes(wav(data))
    source = FileSource(tmp_path / "a.wav", pace="full")
    frames = await frames_of(source)
    assert joined(frames) == data
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert [frame.flushed for frame in frames] == [False, False, False, True]
    assert_conserved(source)


@pytest.mark.parametrize("format", ["uint8", "int16", "int24", "int32", "float32"])
async def test_every_wav_encoding_gives_the_same_sound(tmp_path: Path, format: str) -> None:
    coarse = np.random.default_rng(6).integers(-128, 128, 10_000)
    write: dict[str, Callable[[], bytes]] = {
        "uint8": lambda: (coarse + 128).astype("u1").tobytes(),
        "int16": lambda: (coarse << 8).astype("<i2").tobytes(),
        "int24": lambda: (coarse << 16).astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes(),
        "int32": lambda: (coarse << 24).astype("<i4").tobytes(),
        "float32": lambda: (coarse / 128).astype("<f4").tobytes(),
    }
    data = write[format]()
    head = header(3 if format == "float32" else 1, 8 * len(data) // len(coarse))
    (tmp_path / "a.wav").write_bytes(head + b"data" + struct.pack("<I", len(data)) + data)
    got = joined(await frames_of(FileSource(tmp_path / "a.wav", pace="full")))
    assert got == (coarse << 8).astype("<i2").tobytes()


async def test_a_stereo_file_at_another_rate_has_its_length_and_its_channel(tmp_path: Path) -> None:
    left = np.round(8_000 * np.sin(2 * np.pi * 440 / 44_100 * np.arange(44_100))).astype("<i2")
    stereo = np.stack([left, np.zeros_like(left)], axis=1)
    (tmp_path / "a.wav").write_bytes(wav(stereo.astype("<i2").tobytes(), 44_100, 2))
    source = FileSource(tmp_path / "a.wav", pace="full", channels_heard=[0])
    frames = await frames_of(source)
    assert sum(frame.length_samples for frame in frames) == 16_000
    assert abs(frames[1].rms_dbfs - 20 * np.log10(8_000 / 32_768 / np.sqrt(2))) < 0.05
    assert (
        max(frame.peak for frame in await frames_of(FileSource(tmp_path / "a.wav", pace="full", channels_heard=[1])))
        == 0
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "has no sound in it"),
        (b"RIFF", "header"),
        (b"OggS" + bytes(60), "no WAV file, and what reads others is not installed"),
        (header(0x31, 8) + b"data\x04\x00\x00\x00abcd", r"encoding 49 \(GSM 6.10\)"),
        (header(1, 16, channels=0) + b"data\x04\x00\x00\x00abcd", "0 channels"),
        (header(1, 16, rate_hz=0) + b"data\x04\x00\x00\x00abcd", "0 Hz"),
    ],
)
async def test_what_is_no_readable_sound_file_is_refused_with_the_reason(
    tmp_path: Path, content: bytes | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)  # as where it is not installed
    if content is not None:
        (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        await frames_of(FileSource(tmp_path / "a.wav"))


async def test_a_file_that_is_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    data = noise(5_000)
    (tmp_path / "a.wav").write_bytes(wav(data)[:-2_001])
    assert joined(await frames_of(FileSource(tmp_path / "a.wav", pace="full"))) == data[:-2_002]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_clear_refusal(data: bytes) -> None:
    for text in (data, b"RIFF\0\0\0\0WAVE" + data, header(1, 16) + data):
        try:
            found = parse_wav_header(text)
        except SettingsError:
            continue
        assert found is None or found.data_offset <= len(text)


def test_an_extensible_header_is_read_and_an_unknown_encoding_named() -> None:
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    extensible = header(0xFFFE, 24, channels=4, extra=struct.pack("<HHI", 22, 24, 0) + guid)
    found = parse_wav_header(extensible + b"data\0\0\0\0")
    assert found is not None
    assert (found.format, found.channels, found.data_bytes) == ("int24", 4, None)
    with pytest.raises(UnsupportedWavError, match="16 bits"):
        parse_wav_header(header(3, 16) + b"data\0\0\0\0")


@pytest.mark.parametrize("kind", KINDS)
def test_synthetic_sound_depends_on_its_seed_only_and_does_not_clip(kind: str) -> None:
    def second(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        pieces, got = generate(kind, 16_000, seed), np.empty(0, np.float32)
        while len(got) < 48_000:
            got = np.concatenate([got, next(pieces)])
        return got[:48_000]

    assert np.array_equal(second(1), second(1))
    assert np.array_equal(second(1), second(2)) == (kind in ("tone", "sweep"))
    assert 0.05 < np.max(np.abs(second(1))) < 1


async def test_endless_sources_end_when_they_are_stopped() -> None:
    source = SyntheticSource("tone", pace="full")
    frames = []
    async with source:
        async for frame in source:
            frames.append(frame)
            if len(frames) == 3:
                await source.stop()
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    assert frames[-1].flushed
    assert_conserved(source)
    assert source.statistics().pending_samples == 0


async def test_real_time_pace_does_not_drift_from_its_schedule(autojump_clock: trio.testing.MockClock) -> None:
    duration_s = 10 if IS_EMULATED else 300
    source = SyntheticSource("tone", rate_hz=8_000, duration_s=duration_s)
    begun_s = trio.current_time()
    async with source:
        async for frame in source:
            due_s = (frame.position_samples + frame.length_samples) / 16_000
            assert due_s <= trio.current_time() - begun_s + 1e-6
            assert trio.current_time() - begun_s - due_s < 0.03
    assert source.statistics().delivered_samples == duration_s * 16_000


async def test_at_real_time_pace_a_slow_program_overruns_the_ring_and_the_count_is_exact(
    autojump_clock: trio.testing.MockClock,
) -> None:
    source = SyntheticSource("noise", ring_s=0.512)
    async with source:
        first = await anext(source)
        await trio.sleep(5.0)
        rest = [await anext(source) for _ in range(4)]
        counts = source.statistics()
    assert counts.ring_dropped_frames > 10
    lost = sum(frame.ring_lost_samples for frame in rest)
    assert lost == counts.ring_dropped_samples
    assert rest[-1].position_samples == first.length_samples + 3 * FRAME_SAMPLES + lost
    assert [frame.discontinuity for frame in rest].count(True) == 1
    assert_conserved(source)


async def test_a_source_that_is_closed_while_somebody_waits_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with SyntheticSource("noise") as source, trio.open_nursery() as nursery:
        nursery.start_soon(frames_of_open, source)
        await trio.sleep(0.1)
        await source.aclose()


async def frames_of_open(source: SyntheticSource) -> None:
    assert [frame async for frame in source] == []


async def test_a_cancelled_wait_loses_no_frame(autojump_clock: trio.testing.MockClock) -> None:
    positions: list[int] = []
    async with SyntheticSource("noise") as source:
        while len(positions) < 20:
            with trio.move_on_after(0.1):
                positions.append((await anext(source)).position_samples)
    assert positions == [FRAME_SAMPLES * n for n in range(20)]


async def test_a_spec_names_its_source(tmp_path: Path) -> None:
    settings = Settings(rate_hz=44_100, channels=2, format="int24", channels_heard="1")
    synthetic = open_source(settings, "synthetic:sweep", pace="full", duration_s=1.0)
    assert isinstance(synthetic, SyntheticSource)
    assert synthetic.rate_hz == 44_100
    pipe = open_source(settings, "-")
    assert isinstance(pipe, PipeSource)
    assert (pipe.rate_hz, pipe.channels, pipe.format) == (44_100, 2, "int24")
    assert isinstance(open_source(settings, str(tmp_path / "a.wav")), FileSource)
    with pytest.raises(SettingsError, match="hum"):
        open_source(settings, "synthetic:hum")


async def test_an_offset_is_taken_out_where_the_settings_say_so(tmp_path: Path) -> None:
    file = tmp_path / "offset.wav"
    file.write_bytes(wav(np.full(20 * FRAME_SAMPLES, 3_000, "<i2").tobytes()))
    for dc_block, left in ((False, 3_000), (True, 0)):
        source = open_source(Settings(dc_block=dc_block), str(file), pace="full")
        last = np.frombuffer((await frames_of(source))[-2].pcm, "<i2")
        assert abs(last.mean() - left) < 2
