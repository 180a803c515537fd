"""A sound file's samples, whatever the file is: WAV by our own parser, everything else by PyAV."""

import os
from pathlib import Path
from typing import Final, Protocol

from ravatar_audio.capture.sources.regular_file import RegularFile, cannot_be_read
from ravatar_audio.capture.sources.sniff import BIG_ENDIAN_WAV, RAW, WAV, begins_as, mpeg_audio_within
from ravatar_audio.capture.sources.wav import HEADER_BYTES_MAX, SampleCutter, WavHeader, parse_wav_header
from ravatar_audio.errors import SettingsError
from ravatar_audio.native import SAMPLE_BYTES
from ravatar_audio.observe.log import line_logger

log: Final = line_logger(__name__)

_HEAD_BYTES = 65_536


class Reader(Protocol):
    """An open sound file: blocking, for one thread at a time."""

    name: str
    rate_hz: int
    channels: int
    format: str
    """The core's."""

    def read(self, samples: int) -> bytes:
        """Return the next `samples` of all channels, fewer at the end, none after it.

        Raises MediaAbortedError when the file has been written to since it was opened.
        """

    def close(self) -> None:
        """Close it; may be called again."""


def open_sound_file(path: str | os.PathLike[str]) -> Reader:
    """Open a sound file, told by what is in it and not by its name.

    Blocks: call it in a thread. Raises SettingsError for a file that cannot be read as sound, or has none in it.
    """
    file = RegularFile(Path(path))
    try:
        return _reader(file)
    except SettingsError as refusal:
        file.close()
        if refusal.message.startswith("the sound file "):
            raise
        raise cannot_be_read(file.name, refusal.message, refusal.advice) from refusal
    except BaseException:
        file.close()
        raise


def _reader(file: RegularFile) -> Reader:
    head = file.read(_HEAD_BYTES)
    if not head:
        raise no_sound(file.name)
    kind = begins_as(head, is_all=True)
    if kind == WAV:
        is_all = False
        while (header := parse_wav_header(head, file.size_bytes, is_all=is_all)) is None:
            if is_all:
                raise SettingsError("it ends within its header")
            more = file.read(_HEAD_BYTES)
            head, is_all = head + more, not more
            if len(head) > HEADER_BYTES_MAX:
                raise SettingsError("its header does not end")
        file.seek(header.data_offset)
        return WavReader(file, header)
    if kind == BIG_ENDIAN_WAV:
        raise SettingsError(f"it is a {kind}, which is not supported", advice="Convert it to a WAV file of 16 bits.")
    file.seek(0)
    from ravatar_audio.capture.sources.compressed import CompressedReader

    return CompressedReader(file, is_mpeg_audio=kind != RAW or mpeg_audio_within(head))


class WavReader:
    """The samples of a WAV."""

    def __init__(self, file: RegularFile, header: WavHeader) -> None:
        self.name: str = file.name
        self.rate_hz: int = header.rate_hz
        self.channels: int = header.channels
        self.format: str = header.format
        self._file, self._stride_bytes = file, header.stride_bytes
        self._cutter = SampleCutter(header)
        # To the end of the file as it was when it was opened: when it is cut short meanwhile, that is an error.
        sound_bytes = file.size_bytes - header.data_offset
        if min(sound_bytes, header.data_bytes if header.data_bytes is not None else sound_bytes) < self._stride_bytes:
            raise no_sound(file.name)

    def read(self, samples: int) -> bytes:
        """Read as Reader says."""
        block, size = b"", samples * self.channels * SAMPLE_BYTES[self.format]
        while len(block) < size and not self._cutter.is_complete:
            wanted = (size - len(block)) // (self.channels * SAMPLE_BYTES[self.format]) * self._stride_bytes
            data = self._file.read(wanted)
            if not data:
                if complaint := self._cutter.complaint(f"{self.rate_hz} Hz, {self.channels} channels"):
                    log.warning("the sound file %r has ended%s", self.name, complaint)
                self._cutter.left_bytes = 0
            block += self._cutter.cut(data)
        return block

    def close(self) -> None:
        """Close it; may be called again."""
        self._file.close()


def no_sound(name: str) -> SettingsError:
    """Return what is said of a file without sound, wherever it is met."""
    return SettingsError(f"the sound file {name!r} has no sound in it", advice="Choose a file that has some.")
