"""Sound files in any common format, as recordings of 16 kHz mono."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ravatar_audio.capture.chatter import chatter_to_log
from ravatar_audio.capture.wav import parse_wav_header
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import RATE_HZ
from ravatar_audio.turns import Recording

log = logging.getLogger(__name__)

Samples = NDArray[np.float32]
"""(samples, channels), full scale 1."""

_BLOCK_SAMPLES = 65_536
_HEADER_BYTES = 65_536


def read_recording(path: str | os.PathLike[str], *, limit_s: float = 120.0) -> Recording:
    """A sound file as a recording: mixed to mono and resampled by soxr; PCM of 16 bit, 16 kHz and mono stays as it is.

    WAV needs nothing; FLAC, Ogg, MP3 and others need the extra "files", and M4A, WebM and video files the extra "webm".
    It takes its time: call it in a thread. Raises SettingsError for a file that cannot be read, has no sound, or is
    longer than `limit_s` seconds (0.1 to 3,600).
    """
    recording = Recording(limit_s)
    blocks, rate_hz = _open(Path(path))
    for mono in _resampled((block.mean(axis=1, dtype=np.float32) for block in blocks), rate_hz):
        recording.add_pcm(np.clip(np.rint(mono * 32_768), -32_768, 32_767).astype("<i2").tobytes())
        if recording.cut_samples:
            raise SettingsError(f"the sound file {str(path)!r} is longer than {limit_s:g} s")
    if not recording.samples:
        raise SettingsError(f"the sound file {str(path)!r} has no sound in it")
    return recording


def _resampled(blocks: Iterator[Samples], rate_hz: int) -> Iterator[Samples]:
    if rate_hz == RATE_HZ:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _open(path: Path) -> tuple[Iterator[Samples], int]:
    """The file's sound and its rate, by the first reader that can."""
    refusals: dict[str, str] = {}
    missing: list[str] = []
    for reader in (_open_wav, _open_soundfile, _open_av):
        try:
            with chatter_to_log():
                return reader(path)
        except OSError as error:
            if not path.is_file():
                raise SettingsError(
                    f"the sound file {str(path)!r} cannot be read: {error.strerror or error}"
                ) from error
            refusals[reader.__name__] = str(error)
        except ImportError as error:
            missing.append(str(error.name))
        except SettingsError as error:
            refusals[reader.__name__] = error.message
    for name, refusal in refusals.items():
        log.debug("%s: %s", name, refusal)
    raise SettingsError(
        f"the sound file {str(path)!r} cannot be read: {_why(path, refusals, missing)}",
        advice="Convert it to a WAV file of 16 bits"
        + (", or install what reads it: pip install 'ravatar-audio[files,webm]'." if missing else "."),
        refusals=refusals,
    )


def _why(path: Path, refusals: Mapping[str, str], missing: Sequence[str]) -> str:
    """One reason of those that each reader has."""
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        return "it is empty"
    if head == b"RIFF":
        return refusals["_open_wav"]
    if missing:
        return f"it is no WAV file, and what reads others is not installed ({', '.join(missing)})"
    return refusals["_open_av"] if "no sound" in refusals["_open_av"] else "it is in no format that is known"


def _open_wav(path: Path) -> tuple[Iterator[Samples], int]:
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    header = parse_wav_header(head)
    if header is None:
        raise SettingsError("it ends within its header")
    size = {"uint8": 1, "int16": 2, "int24": 3, "int32": 4, "float32": 4}[header.format] * header.channels

    def blocks() -> Iterator[Samples]:
        with path.open("rb") as file:
            file.seek(header.data_offset)
            left = path.stat().st_size - header.data_offset
            left = min(left, header.data_bytes or left)
            while data := file.read(min(left, _BLOCK_SAMPLES * size) // size * size):
                left -= len(data)
                yield _decoded(data[: len(data) // size * size], header.format).reshape(-1, header.channels)

    return blocks(), header.rate_hz


def _decoded(data: bytes, format: str) -> Samples:
    match format:
        case "uint8":
            return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
        case "int24":
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            return np.asarray(wide.view("<i4").ravel() / 2**31, np.float32)
        case "float32":
            return np.asarray(np.nan_to_num(np.frombuffer(data, "<f4")))
        case _:
            kind = {"int16": "<i2", "int32": "<i4"}[format]
            return (np.frombuffer(data, kind) / -float(np.iinfo(kind).min)).astype(np.float32)


def _open_soundfile(path: Path) -> tuple[Iterator[Samples], int]:
    import soundfile

    try:
        file = soundfile.SoundFile(path)
    except soundfile.SoundFileError as error:
        raise SettingsError(str(error)) from error

    def blocks() -> Iterator[Samples]:
        with file:
            try:
                yield from file.blocks(_BLOCK_SAMPLES, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise SettingsError(f"the sound file {str(path)!r} is damaged: {error}") from error

    return blocks(), int(file.samplerate)


def _open_av(path: Path) -> tuple[Iterator[Samples], int]:
    import av

    try:
        container: Any = av.open(str(path))
    except av.FFmpegError as error:
        raise SettingsError(str(error)) from error
    if not container.streams.audio:
        container.close()
        raise SettingsError("there is no sound in it")
    stream = container.streams.audio[0]
    rate_hz = int(stream.codec_context.sample_rate)
    if rate_hz <= 0:  # it looked like sound, by a byte or two
        container.close()
        raise SettingsError("there is no sound in it")
    # It mixes to mono; soxr resamples.
    mixer = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)

    def blocks() -> Iterator[Samples]:
        with container:
            try:
                for frame in container.decode(stream):
                    for mono in mixer.resample(frame):
                        yield np.asarray(mono.to_ndarray(), np.float32).reshape(-1, 1)
            except av.FFmpegError as error:
                raise SettingsError(f"the sound file {str(path)!r} is damaged: {error.strerror or error}") from error

    return blocks(), rate_hz
