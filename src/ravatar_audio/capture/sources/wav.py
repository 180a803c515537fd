"""WAV: its header, and its samples as the core takes them; the only parser, for files, pipes and recordings. Pure.

Format codes and fields after Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, WAVE)
and "Multiple channel audio data and WAVE files" (the extensible format); RF64 and BW64 after EBU Tech 3306 and
ITU-R BS.2088.
"""

import array
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from ravatar_audio.capture.sources import g711
from ravatar_audio.errors import SettingsError

HEADER_BYTES_MAX: Final = 262_144
"""Longest header, pictures and texts before the sound included."""

RATE_MIN_HZ: Final = 8_000
RATE_MAX_HZ: Final = 192_000
CHANNELS_MAX: Final = 32
"""Most channels, as the core converts."""

_EXTENSIBLE = 0xFFFE
_OTHER_ENCODINGS = {2: "Microsoft ADPCM", 0x11: "IMA ADPCM", 0x31: "GSM 6.10", 0x55: "MP3", 0xFF: "AAC"}
_STREAMED_FROM = 0x7FFF_EFFF
"""Sizes from here on are what programs write that do not know how much will come: sox, arecord, ffmpeg, ..."""
_FORMAT_BYTES = 40
"""Bytes of a format chunk that say something."""


def native_samples(data: bytes, sample_bytes: int) -> bytes:
    """Return whole little-endian samples in this machine's byte order, in which the core takes them."""
    if sys.byteorder == "little" or sample_bytes == 1:
        return data
    swapped = bytearray(len(data))
    for at in range(sample_bytes):
        swapped[at::sample_bytes] = data[sample_bytes - 1 - at :: sample_bytes]
    return bytes(swapped)


def _low_three_bytes(data: bytes) -> bytes:
    """24 bits in the low three of four bytes, as ALSA's S24_LE."""
    packed = bytearray(len(data) // 4 * 3)
    for at in range(3):
        packed[at::3] = data[at::4]
    return native_samples(bytes(packed), 3)


def _single(data: bytes) -> bytes:
    return array.array("f", array.array("d", native_samples(data, 8))).tobytes()


class Encoding(NamedTuple):
    """How a WAV has its samples, and how they become what the core takes."""

    sample_bytes: int
    """In the WAV."""
    format: str
    """The core's."""
    convert: Callable[[bytes], bytes]
    """From whole samples of the WAV to the core's format."""


ENCODINGS: Final = {
    "uint8": Encoding(1, "uint8", lambda data: data),
    "int16": Encoding(2, "int16", lambda data: native_samples(data, 2)),
    "int24": Encoding(3, "int24", lambda data: native_samples(data, 3)),
    "int24 in 4 bytes": Encoding(4, "int24", _low_three_bytes),
    "int32": Encoding(4, "int32", lambda data: native_samples(data, 4)),
    "float32": Encoding(4, "float32", lambda data: native_samples(data, 4)),
    "float64": Encoding(8, "float32", _single),
    "A-law": Encoding(1, "int16", lambda data: g711.decoded(data, g711.A_LAW)),
    "mu-law": Encoding(1, "int16", lambda data: g711.decoded(data, g711.MU_LAW)),
}
"""Encodings by name. What is narrower than its bytes (12 bits in 2 bytes, 20 in 3) is at their upper end, as in WAV."""

_WHOLE = {1: "uint8", 2: "int16", 3: "int24", 4: "int32"}


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What a WAV header says about the samples behind it; little-endian, interleaved."""

    rate_hz: int
    channels: int
    encoding: str
    """A key of ENCODINGS."""
    data_offset: int
    data_bytes: int | None
    """None: unknown, up to the end, as programs write that stream a WAV."""

    @property
    def format(self) -> str:
        """The core's format that the samples become."""
        return ENCODINGS[self.encoding].format

    @property
    def stride_bytes(self) -> int:
        """Bytes of one sample of all channels, in the WAV."""
        return ENCODINGS[self.encoding].sample_bytes * self.channels


class UnsupportedWavError(SettingsError):
    """It is a WAV, of an encoding that is not converted here."""


def parse_wav_header(data: bytes, total_bytes: int | None = None, *, is_all: bool = False) -> WavHeader | None:
    """Read the header at the beginning of `data`, or None when its end is not in `data` yet.

    `total_bytes`: length of the whole file, where it is known; `is_all`: no more than `data` will come. Raises
    SettingsError for what is no WAV, UnsupportedWavError for encodings that ENCODINGS does not have.
    """
    if len(data) < 12:
        return None
    if data[:4] not in (b"RIFF", b"RF64", b"BW64") or data[8:12] != b"WAVE":
        raise SettingsError("it does not begin like a WAV file (RIFF....WAVE)")
    riff_end = 8 + struct.unpack_from("<I", data, 4)[0]
    offset, fields, long_bytes = 12, None, None
    while offset + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, offset)
        offset += 8
        if kind == b"data":
            if fields is None:
                raise SettingsError("the WAV file has no format chunk before its data")
            if size == 0xFFFF_FFFF and data[:4] != b"RIFF":
                size = long_bytes or 0
            if size == 0 and offset < riff_end < _STREAMED_FROM:  # nothing, or nobody knew
                if len(data) < offset + 8 and not is_all:
                    return None
                return WavHeader(*fields, offset, 0 if _is_chunk(data, offset, riff_end) else None)
            is_there = total_bytes is not None and offset + size <= total_bytes
            is_known = 0 < size < _STREAMED_FROM or is_there or size > 0xFFFF_FFFF
            return WavHeader(*fields, offset, size if size and is_known else None)
        here = data[offset : offset + min(size, _FORMAT_BYTES)]
        if kind in (b"fmt ", b"ds64") and len(here) < min(size, _FORMAT_BYTES):
            return None
        if kind == b"fmt ":
            fields = _parse_format(here)
        elif kind == b"ds64" and len(here) >= 16:
            (long_bytes,) = struct.unpack_from("<Q", here, 8)
        offset += size
        if size % 2 and offset + 4 > len(data):
            return None
        if size % 2 and data[offset : offset + 4] not in (b"fmt ", b"data"):  # some programs leave the padding out
            offset += 1
    return None


def _is_chunk(data: bytes, offset: int, riff_end: int) -> bool:
    """Whether another chunk, and not sound, is at a place."""
    kind, size = struct.unpack_from("<4sI", data[offset : offset + 8].ljust(8, b"\xff"))
    return all(0x20 <= byte < 0x7F for byte in kind) and offset + 8 + size <= riff_end


def check_layout(rate_hz: int, channels: int) -> None:
    """Raise SettingsError for what the core does not convert."""
    if channels == 0 or rate_hz == 0:
        raise SettingsError(f"its header says {channels} channels at {rate_hz} Hz, which is no sound")
    if not RATE_MIN_HZ <= rate_hz <= RATE_MAX_HZ or channels > CHANNELS_MAX:
        raise SettingsError(
            f"its sound is {channels} channels at {rate_hz} Hz; up to {CHANNELS_MAX} at {RATE_MIN_HZ:,} to "
            f"{RATE_MAX_HZ:,} Hz can be converted",
            advice="Convert it to a WAV file of 16,000 Hz: ffmpeg -i FILE -ac 1 -ar 16000 said.wav",
        )


def _parse_format(chunk: bytes) -> tuple[int, int, str]:
    if len(chunk) < 16:
        raise SettingsError(f"the WAV file's format chunk has {len(chunk)} bytes, which is too short")
    code, channels, rate_hz, _, stride_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    if code == _EXTENSIBLE and len(chunk) >= 26:
        (code,) = struct.unpack_from("<H", chunk, 24)
    check_layout(rate_hz, channels)
    encoding = _encoding(code, bits, stride_bytes / channels)
    if encoding is None:
        name = f" ({_OTHER_ENCODINGS[code]})" if code in _OTHER_ENCODINGS else ""
        raise UnsupportedWavError(
            f"the WAV file's encoding {code}{name} with {bits} bits in {stride_bytes} bytes per step is not supported",
            advice="Convert it to PCM of 16 bits.",
        )
    return rate_hz, channels, encoding


def _encoding(code: int, bits: int, sample_bytes: float) -> str | None:
    match code, bits, sample_bytes:
        case (1, 24, 4):  # PCM is 1, IEEE float 3, A-law 6, mu-law 7
            return "int24 in 4 bytes"
        case (1, _, 1 | 2 | 3 | 4) if 8 * (sample_bytes - 1) < bits <= 8 * sample_bytes:
            return _WHOLE[int(sample_bytes)]
        case (3, 32, 4):
            return "float32"
        case (3, 64, 8):
            return "float64"
        case (6, 8, 1):
            return "A-law"
        case (7, 8, 1):
            return "mu-law"
    return None


class SampleCutter:
    """Cuts bytes, as they come, into whole samples of the core's format, up to the end of the sound.

    For a WAV after `header`; None: raw samples of `stride_bytes` over all channels, as the core takes them.
    """

    def __init__(self, header: WavHeader | None, stride_bytes: int = 0) -> None:
        self._header, self._stride_bytes = header, header.stride_bytes if header else stride_bytes
        self._rest = b""
        self.left_bytes = header.data_bytes if header else None
        """Still to come by what the header says; None: nobody knows."""

    @property
    def is_complete(self) -> bool:
        """All that the header promised has come."""
        return self.left_bytes == 0

    def cut(self, data: bytes) -> bytes:
        """Return the whole samples that `data` completes."""
        if self.left_bytes is not None:  # what follows the sound in a WAV is no sound
            data = data[: self.left_bytes]
            self.left_bytes -= len(data)
        data = self._rest + data
        whole = len(data) // self._stride_bytes * self._stride_bytes
        block, self._rest = data[:whole], data[whole:]
        return ENCODINGS[self._header.encoding].convert(block) if self._header else block

    def complaint(self, layout: str) -> str:
        """Return what is wrong with the end of the sound; "" when nothing is. `layout` is what it was taken for."""
        said = f", within a sample: {len(self._rest)} bytes over; is it really {layout}?" if self._rest else ""
        return said + (f", {self.left_bytes} bytes short of what its header says" if self.left_bytes else "")
