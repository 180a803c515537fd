"""The header of a WAV file or stream. Pure.

Format codes and fields after Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, WAVE)
and "Multiple channel audio data and WAVE files" (the extensible format).
"""

import struct
import sys
from dataclasses import dataclass

from ravatar_audio.errors import SettingsError

_PCM, _IEEE_FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_FORMATS = {
    (_PCM, 8): "uint8",
    (_PCM, 16): "int16",
    (_PCM, 24): "int24",
    (_PCM, 32): "int32",
    (_IEEE_FLOAT, 32): "float32",
}


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What a WAV header says about the samples behind it; little-endian, interleaved."""

    rate_hz: int
    channels: int
    format: str
    data_offset: int
    data_bytes: int | None
    """None: unknown, up to the end, as programs write that stream a WAV."""


def native_samples(data: bytes, sample_bytes: int) -> bytes:
    """Whole samples of a WAV in this machine's byte order, in which the core takes them."""
    if sys.byteorder == "little" or sample_bytes == 1:
        return data
    swapped = bytearray(len(data))
    for at in range(sample_bytes):
        swapped[at::sample_bytes] = data[sample_bytes - 1 - at :: sample_bytes]
    return bytes(swapped)


class UnsupportedWavError(SettingsError):
    """It is a WAV, of an encoding that the core does not convert."""


def parse_wav_header(data: bytes) -> WavHeader | None:
    """The header at the beginning of `data`, or None when its end is not in `data` yet.

    Raises SettingsError for what is no WAV, UnsupportedWavError for encodings other than PCM of 8, 16, 24 or 32 bits
    and float of 32.
    """
    if len(data) < 12:
        return None
    if data[:4] not in (b"RIFF", b"RF64") or data[8:12] != b"WAVE":
        raise SettingsError("it does not begin like a WAV file (RIFF....WAVE)")
    offset, fields = 12, None
    while offset + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, offset)
        offset += 8
        if kind == b"data":
            if fields is None:
                raise SettingsError("the WAV file has no format chunk before its data")
            is_open_ended = size in (0, 0xFFFFFFFF) or size >= 0x7FFFF000
            return WavHeader(*fields, data_offset=offset, data_bytes=None if is_open_ended else size)
        if kind == b"fmt ":
            if offset + size > len(data):
                return None
            fields = _parse_format(data[offset : offset + size])
        offset += size + size % 2
    return None


def _parse_format(chunk: bytes) -> tuple[int, int, str]:
    if len(chunk) < 16:
        raise SettingsError(f"the WAV file's format chunk has {len(chunk)} bytes, which is too short")
    encoding, channels, rate_hz, _, stride_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    if encoding == _EXTENSIBLE and len(chunk) >= 26:
        (encoding,) = struct.unpack_from("<H", chunk, 24)
    if channels == 0 or rate_hz == 0:
        raise SettingsError(f"the WAV file's header says {channels} channels at {rate_hz} Hz, which is no sound")
    format = _FORMATS.get((encoding, bits))
    if format is None or stride_bytes != channels * bits // 8:
        raise UnsupportedWavError(
            f"the WAV file's encoding {encoding} with {bits} bits in {stride_bytes} bytes per step is not supported",
            advice="Convert it to PCM of 16 bits.",
        )
    return rate_hz, channels, format
