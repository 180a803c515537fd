"""What a made-up device hears: endless sound, a function of the device's position. Pure."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ravatar_audio.capture.devices.device import layout_text
from ravatar_audio.capture.sources import signals
from ravatar_audio.capture.sources.wav import native_samples, parse_wav_header
from ravatar_audio.errors import SettingsError
from ravatar_audio.native import SAMPLE_BYTES, format_code

_LOOP_S = 20
_BLOCK_MAX_S = 0.2
"""Longest read; blocks are half of it at most."""


class Sound:
    """Sound in the device's rate, channels and format, repeated for ever."""

    def __init__(self, samples: bytes, rate_hz: int, channels: int, format: str) -> None:
        self.rate_hz: int = rate_hz
        self.channels: int = channels
        self.format: str = format
        self.stride_bytes: int = SAMPLE_BYTES[format] * channels
        self._length = len(samples) // self.stride_bytes
        if not self._length:
            raise SettingsError("there is no sound in it")
        beyond = int(_BLOCK_MAX_S * rate_hz)
        times = 1 + -(-beyond // self._length)  # so that no read has to be put together
        self._view = memoryview(samples[: self._length * self.stride_bytes] * times)

    def read(self, position: int, samples: int) -> memoryview:
        """Return `samples` per channel from a position on, interleaved."""
        at = position % self._length * self.stride_bytes
        return self._view[at : at + samples * self.stride_bytes]


class Ramp(Sound):
    """Each sample says its position: n modulo 32,768 on channel 0, n / 32,768 on channel 1, n (c + 1) on channel c."""

    def __init__(self, rate_hz: int, channels: int, format: str) -> None:
        if format != "int16":
            raise SettingsError(f"the ramp is int16, not {format}")
        super().__init__(bytes(2 * channels), rate_hz, channels, format)

    def read(self, position: int, samples: int) -> memoryview:
        at = np.arange(position, position + samples, dtype=np.int64)
        columns = [at if c == 0 else at >> 15 if c == 1 else at * (c + 1) for c in range(self.channels)]
        return memoryview((np.stack(columns, axis=1) & 0x7FFF).astype(np.int16).tobytes())


OneSound = str | Path | NDArray[np.int16] | NDArray[np.float32]


def make_sound(what: OneSound | Sequence[OneSound], rate_hz: int, channels: int, format: str) -> Sound:
    """Make a device's sound; see FakeDevice.

    A file has its own rate, channels and format, an array its channels and format.
    """
    if isinstance(what, (list, tuple)):
        return _side_by_side([make_sound(one, rate_hz, 1, format) for one in what], rate_hz, format)
    assert isinstance(what, (str, Path, np.ndarray))
    if isinstance(what, np.ndarray):
        array: NDArray[Any] = what.reshape(len(what), -1)
        return Sound(array.tobytes(), rate_hz, array.shape[1], "int16" if array.dtype == np.int16 else "float32")
    if isinstance(what, Path):
        data = what.read_bytes()
        header = parse_wav_header(data)
        if header is None:
            raise SettingsError(f"the sound file {str(what)!r} is no WAV file of PCM")
        end = header.data_offset + header.data_bytes if header.data_bytes else len(data)
        sample_bytes = SAMPLE_BYTES[header.format]
        stored = data[header.data_offset : end]
        samples = native_samples(stored[: len(stored) - len(stored) % sample_bytes], sample_bytes)
        return Sound(samples, header.rate_hz, header.channels, header.format)
    format_code(format)
    if what == "ramp":
        return Ramp(rate_hz, channels, format)
    if what == "silence":
        zero = b"\x80" if format == "uint8" else b"\0"
        return Sound(zero * SAMPLE_BYTES[format] * channels, rate_hz, channels, format)
    wanted = rate_hz if what == "tone" else _LOOP_S * rate_hz
    sound = signals.generate(what, rate_hz)
    mono = np.empty(0, np.float32)
    while len(mono) < wanted:
        mono = np.concatenate([mono, next(sound)])
    return Sound(_encoded(np.repeat(mono[:wanted, None], channels, axis=1), format), rate_hz, channels, format)


def _side_by_side(sounds: list[Sound], rate_hz: int, format: str) -> Sound:
    """A channel of each."""
    layouts = {(sound.rate_hz, sound.channels, sound.format) for sound in sounds}
    if layouts != {(rate_hz, 1, format)}:
        given = "; ".join(layout_text(*layout) for layout in sorted(layouts))
        raise SettingsError(f"each channel's sound must be {layout_text(rate_hz, 1, format)}, not {given or 'none'}")
    samples, size = _LOOP_S * rate_hz, SAMPLE_BYTES[format]
    beyond = round(_BLOCK_MAX_S * rate_hz)
    columns = []
    for sound in sounds:
        parts = [bytes(sound.read(at, min(beyond, samples - at))) for at in range(0, samples, beyond)]
        columns.append(np.frombuffer(b"".join(parts), np.uint8).reshape(samples, size))
    return Sound(np.stack(columns, axis=1).tobytes(), rate_hz, len(sounds), format)


def _encoded(samples: NDArray[np.float32], format: str) -> bytes:
    if format == "float32":
        return bytes(samples.tobytes())
    bits = {"uint8": 8, "int16": 16, "int24": 24, "int32": 32}[format]
    values = np.round(samples.astype(np.float64) * (2 ** (bits - 1) - 1)).astype(np.int64)
    if format == "uint8":
        return bytes((values + 128).astype(np.uint8).tobytes())
    if format == "int24":
        in_four = values.astype(np.int32).view(np.uint8).reshape(*samples.shape, 4)
        return bytes(in_four[..., _INT24_BYTES].tobytes())
    return bytes(values.astype(np.int16 if bits == 16 else np.int32).tobytes())


_INT24_BYTES = slice(0, 3) if sys.byteorder == "little" else slice(1, 4)
