"""Every sound file, by its path and through a pipe: the same sound to the sample, or the same clear refusal."""

import os
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trio
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.capture import FileSource, PipeSource
from ravatar_audio.capture.sources.reader import Reader, open_sound_file
from ravatar_audio.capture.sources.sniff import RAW, begins_as
from ravatar_audio.capture.sources.wav import SampleCutter, WavHeader
from ravatar_audio.errors import MediaAbortedError, SettingsError
from ravatar_audio.session.sound_file import read_recording
from tests.unit.sound_files import SoundFile, encode, wavs
from tests.unit.test_sources import frames_of, joined, noise, wav

ALL_WAVS = list(wavs())


async def by_file(path: Path) -> bytes:
    return joined(await frames_of(FileSource(path, pace="full")))


async def by_recording(path: Path) -> bytes:
    return read_recording(path).wav()[44:]


async def by_pipe(path: Path) -> bytes:
    data = await trio.Path(path).read_bytes()
    read_fd, write_fd = os.pipe()
    writer = threading.Thread(target=pour, args=(write_fd, data))
    writer.start()
    try:
        return joined(await frames_of(PipeSource(read_fd)))
    finally:
        os.close(read_fd)
        writer.join()


def pour(fd: int | Path, data: bytes) -> None:
    with suppress(BrokenPipeError), open(fd, "wb", buffering=0) as pipe:
        while data:
            data = data[pipe.write(data) :]


async def by_fifo(path: Path) -> bytes:
    data = await trio.Path(path).read_bytes()
    fifo = path.with_name("fifo")
    os.mkfifo(fifo)
    writer = threading.Thread(target=pour, args=(fifo, data))
    writer.start()
    try:
        return joined(await frames_of(PipeSource(fifo)))
    finally:
        writer.join()


@pytest.mark.parametrize("way", [by_file, by_pipe, by_recording, by_fifo], ids=lambda way: way.__name__)
@pytest.mark.parametrize("file", ALL_WAVS, ids=lambda file: file.name)
async def test_every_wav_is_heard_or_refused_alike(
    tmp_path: Path, file: SoundFile, way: Callable[[Path], Awaitable[bytes]]
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(file.data)
    with trio.fail_after(20):
        if isinstance(file.heard, bytes):
            assert await way(path) == file.heard
        else:
            with pytest.raises(SettingsError, match=file.heard) as caught:
                await way(path)
            assert "\n" not in caught.value.message


COMPRESSED = {
    "a.flac": ("FLAC", "PCM_16"),
    "a24.flac": ("FLAC", "PCM_24"),
    "a.ogg": ("OGG", "VORBIS"),
    "a.opus": ("OGG", "OPUS"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.aiff": ("AIFF", "PCM_16"),
    "a.caf": ("CAF", "PCM_16"),
    "a.au": ("AU", "PCM_24"),
    "a.w64": ("W64", "PCM_16"),
}


def whole(reader: Reader, step_samples: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    data = b""
    while block := reader.read(step_samples):
        data += block
    reader.close()
    kind, scale = {"int16": ("i2", 2**15), "int32": ("i4", 2**31), "float32": ("f4", 1)}[reader.format]
    return np.frombuffer(data, kind).reshape(-1, reader.channels) / scale


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [100, 1_000, 12_288, 48_000, 100_001])
@pytest.mark.parametrize("name", COMPRESSED)
def test_a_compressed_file_is_decoded_to_the_sample_as_by_another_decoder(
    tmp_path: Path, name: str, samples: int, channels: int
) -> None:
    """libsndfile, of all that both can decode."""
    kind, subtype = COMPRESSED[name]
    for sound in (
        np.random.default_rng(2).uniform(-0.6, 0.6, (samples, channels)),
        np.repeat(0.5 * np.sin(0.06 * np.arange(samples))[:, None], channels, 1),
    ):
        soundfile.write(tmp_path / name, sound, 48_000, format=kind, subtype=subtype)
        expected = soundfile.read(tmp_path / name, always_2d=True)[0]
        for step in (480, 1_000_000):
            got = whole(open_sound_file(tmp_path / name), step)
            assert got.shape == expected.shape
            assert np.max(np.abs(got - expected)) < 1e-5


@pytest.mark.parametrize(
    ("name", "codec"), [("a.m4a", "aac"), ("a.webm", "libopus"), ("a.mka", "flac"), ("b.m4a", "alac")]
)
@pytest.mark.parametrize("seconds", [0.1, 2.0])
def test_what_an_encoder_adds_at_the_begin_is_not_heard(tmp_path: Path, name: str, codec: str, seconds: float) -> None:
    count = round(48_000 * seconds)
    sound = np.random.default_rng(3).normal(0, 0.1, (count, 1)).astype(np.float32)
    sound = np.apply_along_axis(lambda x: np.convolve(x, np.ones(8) / 3, "same"), 0, sound).astype(np.float32)
    encode(tmp_path / name, codec, sound, 48_000)
    got = whole(open_sound_file(tmp_path / name), 480)[:count, 0]
    error = got - sound[: len(got), 0]
    assert len(got) == count
    assert np.mean(error**2) < 0.05 * np.mean(sound**2), "a shift by one sample would be more"


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.m4a", "a.webm", "a.mka"])
def test_stereo_becomes_its_mean_whatever_the_file_is(tmp_path: Path, name: str) -> None:
    wave = 0.9 * np.sin(2 * np.pi * 440 / 48_000 * np.arange(48_000))
    stereo = np.stack([wave, 0.5 * wave], 1).astype(np.float32)
    codecs = {"a.m4a": "aac", "a.webm": "libopus", "a.mka": "flac"}
    if name in codecs:
        encode(tmp_path / name, codecs[name], stereo, 48_000)
    else:
        soundfile.write(tmp_path / name, stereo, 48_000)
    heard = np.frombuffer(read_recording(tmp_path / name).wav()[44:], "<i2")[2_000:-2_000] / 32_768
    assert np.sqrt(np.mean(heard**2)) == pytest.approx(0.675 / np.sqrt(2), rel=0.02)
    assert np.max(np.abs(heard)) < 0.75


def mp3(path: Path, seconds: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Each second another tone, so that a repetition shows."""
    tones = [np.sin(2 * np.pi * (300 + 150 * n) / 48_000 * np.arange(48_000)) for n in range(seconds)]
    sound = 0.5 * np.concatenate(tones)
    soundfile.write(path, sound, 48_000, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT")
    return sound


@pytest.mark.parametrize("cut_bytes", [1, 700, 20_001])
def test_an_mp3_that_is_cut_short_is_heard_up_to_there_and_no_further(tmp_path: Path, cut_bytes: int) -> None:
    mp3(tmp_path / "whole.mp3", 6)
    data = (tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(data[:-cut_bytes])
    before, after = (whole(open_sound_file(tmp_path / f"{name}.mp3"), 480)[:, 0] for name in ("whole", "cut"))
    expected = 6 * 48_000 * (len(data) - cut_bytes) / len(data)
    assert len(before) - len(after) >= 0
    assert abs(len(after) - expected) < 8 * 1_152, "the encoder's own header takes a frame or two"
    assert np.max(np.abs(after[:-1_152] - before[: len(after) - 1_152])) < 1e-5


def test_an_mp3_without_a_xing_header_loses_nothing_of_its_end(tmp_path: Path) -> None:
    sound = mp3(tmp_path / "whole.mp3", 5)
    data = (tmp_path / "whole.mp3").read_bytes()
    xing = max(data.find(b"Xing"), data.find(b"Info"))
    assert 0 < xing < 200, "the first frame is the encoder's header"
    second = data.find(data[:2], xing)
    (tmp_path / "bare.mp3").write_bytes(data[second:])
    got = whole(open_sound_file(tmp_path / "bare.mp3"), 480)[:, 0]
    assert len(sound) <= len(got) <= len(sound) + 3 * 1_152
    last = got[len(sound) - 24_000 :][:20_000]
    spectrum = np.abs(np.fft.rfft(last * np.hanning(len(last))))
    assert spectrum.argmax() * 48_000 / len(last) == pytest.approx(300 + 150 * 4, abs=5)


def test_raw_samples_are_no_sound_file_and_no_playlist_is_followed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(9_000), 16_000)
    for data in (
        noise(50_000),
        b"\xff\xfb" + noise(50_000),
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/a.flac\n#EXT-X-ENDLIST\n".encode(),
        b"ffconcat version 1.0\nfile a.flac\n",
    ):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(SettingsError, match=r"cannot be read: (it is in no format|there is no sound)"):
            open_sound_file(tmp_path / "a")


@given(st.binary(min_size=8, max_size=3_000))
def test_any_bytes_are_told_or_raw(data: bytes) -> None:
    assert begins_as(data, is_all=True) is not None


@given(st.integers(-32_768, 32_767), st.integers(0, 2**32))
def test_raw_sound_is_never_taken_for_a_compressed_file(first: int, seed: int) -> None:
    """Its first sample may be -1025, which is how MP3 begins, or any other."""
    rest = np.random.default_rng(seed).integers(-9_000, 9_000, 5_000).astype("<i2").tobytes()
    for data in (struct.pack("<h", first) + rest, struct.pack("<h", first) * 3_000):
        assert begins_as(data, is_all=True) == RAW
        assert begins_as(data) == RAW


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(0, 300))
def test_samples_are_the_same_however_the_bytes_come(pieces: list[int], data_bytes: int) -> None:
    header = WavHeader(16_000, 2, "int24", 44, data_bytes)
    data = bytes(range(200)) * 2
    cutter, got, at = SampleCutter(header), b"", 0
    for piece in [*pieces, len(data)]:
        got += cutter.cut(data[at : at + piece])
        at += piece
    assert got == SampleCutter(header).cut(data)
    assert len(got) == data_bytes // 6 * 6 if data_bytes <= 400 else 400 // 6 * 6


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
@pytest.mark.parametrize("change", ["cut", "written over", "written over by more"])
async def test_a_file_that_changes_while_it_plays_is_an_error_after_its_sound(
    tmp_path: Path, name: str, change: str
) -> None:
    path = tmp_path / name
    soundfile.write(path, np.random.default_rng(4).uniform(-0.3, 0.3, 400_000), 16_000)
    size = path.stat().st_size
    frames = 0

    async def play() -> None:
        nonlocal frames
        async with FileSource(path, pace="full") as source:
            async for _ in source:
                frames += 1
                if frames == 3 and change == "cut":
                    os.truncate(path, 60)
                elif frames == 3:
                    await trio.Path(path).write_bytes(bytes(size + 9_999 * change.endswith("more")))

    with pytest.raises(MediaAbortedError, match="written to while it was being read") as caught:
        await play()
    assert frames >= 3
    assert "\n" not in caught.value.message


async def test_a_file_that_is_replaced_by_another_name_plays_to_its_end(tmp_path: Path) -> None:
    data = noise(100_000)
    (tmp_path / "a.wav").write_bytes(wav(data))
    (tmp_path / "new.wav").write_bytes(wav(noise(50)))
    async with FileSource(tmp_path / "a.wav", pace="full") as source:
        frames = [await anext(source)]
        os.replace(tmp_path / "new.wav", tmp_path / "a.wav")
        frames += [frame async for frame in source]
    assert joined(frames) == data


@pytest.mark.parametrize("kind", ["fifo", "folder"])
async def test_what_is_no_regular_file_is_refused_as_one_at_once(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with trio.fail_after(5), pytest.raises(SettingsError, match=r"it is (no regular file|a folder)"):
        await by_file(tmp_path / kind)
    with pytest.raises(SettingsError, match=r"it is (no regular file|a folder)"):
        read_recording(tmp_path / kind)
