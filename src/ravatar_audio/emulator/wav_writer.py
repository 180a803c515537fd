"""A WAV file that is valid at every moment: 16 kHz, mono, int16. And what else is known about the stream in it."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ravatar_audio.frames import RATE_HZ
from ravatar_audio.observe.log import line_logger

_log = line_logger(__name__)

_HEADER_BYTES = 44
_MOST_BYTES = 0xFFFF_FFFF - _HEADER_BYTES


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a recording behind which the sound may not follow on from what is before it."""

    position_samples: int
    why: Literal["connection", "declared"]
    """Another connection carries the stream, or the client said that it dropped samples."""
    connection: int
    """Number of the connection that carries the stream from here on."""
    lost_samples: int = 0
    """As declared by the client; 0 where it did not say."""


class WavWriter:
    """Writes what it is given, and keeps the header right after each write: a killed process leaves a valid file.

    Where it cannot be written (the disk is full; WAV ends at 4 GiB, 37 h) sound is counted on, and `error` says why.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples: int = 0
        self.error: str | None = None
        self.marks: list[Mark] = []
        self._file: int | None = None
        self._written_bytes = 0
        with self._telling():
            self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            self._write_header(self._file)

    def write(self, pcm: bytes) -> None:
        """Append int16 little-endian samples."""
        self.samples += len(pcm) // 2
        if self._file is None or self.error is not None:
            return
        with self._telling():
            if self._written_bytes + len(pcm) > _MOST_BYTES:
                raise OSError("a WAV file cannot be longer")
            _write_at(self._file, _HEADER_BYTES + self._written_bytes, pcm)
            self._written_bytes += len(pcm)
            self._write_header(self._file)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = error.strerror or str(error)
            _log.error("%s: %s", self.path.name, self.error)

    def mark(self, why: Literal["connection", "declared"], connection: int, lost_samples: int = 0) -> None:
        """Note that the next sample may not follow on from the last."""
        self.marks.append(Mark(self.samples, why, connection, lost_samples))

    def close(self) -> None:
        """Close it; may be called again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write_header(self, file: int) -> None:
        size = self._written_bytes
        riff = struct.pack("<4sI4s", b"RIFF", _HEADER_BYTES - 8 + size, b"WAVE")
        kind = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
        _write_at(file, 0, riff + kind + struct.pack("<4sI", b"data", size))


def _write_at(file: int, position_bytes: int, data: bytes) -> None:
    while data:
        written = os.pwrite(file, data, position_bytes)
        position_bytes += written
        data = data[written:]


def new_path(folder: Path, stem: str, number: int, suffix: str) -> Path:
    """Return the first free name in a folder, from a number on: stem-1.suffix, stem-2.suffix, ..."""
    while (path := folder / f"{stem}-{number}{suffix}").exists():
        number += 1
    return path
