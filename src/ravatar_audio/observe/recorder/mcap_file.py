"""MCAP files (mcap.dev), and nothing else of the package knows them: written chunk by chunk, read to where they end."""

import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, cast

from ravatar_audio._version import __version__
from ravatar_audio.errors import SettingsError
from ravatar_audio.observe.recorder.entries import Entry, schema_of

try:
    from mcap.exceptions import InvalidMagic, McapError
    from mcap.records import Channel, Message
    from mcap.stream_reader import StreamReader
    from mcap.writer import CompressionType, Writer
except ImportError as _error:
    raise SettingsError(
        f"recordings need the package mcap, and {_error.name} is not installed",
        advice="Install the extra: pip install 'ravatar-audio[record]'; or leave the setting record.",
    ) from _error

_CHUNK_BYTES: Final = 64 * 1024 * 1024
"""Chunks end when they are flushed, not before."""
_RECORD_LIMIT_BYTES: Final = 256 * 1024 * 1024


class RecordingWriter:
    """Writes one file. What was added is in the file after `flush`, and readable, whatever becomes of the program."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer = Writer(file, chunk_size=_CHUNK_BYTES, compression=CompressionType.ZSTD)
        self._writer.start("", f"ravatar-audio/{__version__}")
        self._channels: dict[str, int] = {}
        self._sequence = 0

    def add(self, topic: str, log_ns: int, publish_ns: int, values: Mapping[str, Any]) -> None:
        """One entry: noted at `log_ns`, about something at `publish_ns`."""
        if topic not in self._channels:
            name, schema = schema_of(topic)
            schema_id = self._writer.register_schema(name, "jsonschema", schema)
            self._channels[topic] = self._writer.register_channel(topic, "json", schema_id)
        data = json.dumps(values, separators=(",", ":")).encode()
        self._writer.add_message(self._channels[topic], max(0, log_ns), data, max(0, publish_ns), self._sequence)
        self._sequence += 1

    def flush(self) -> int:
        """End the chunk; returns the file's size in bytes."""
        self._writer.flush()  # type: ignore[no-untyped-call]
        return self._file.tell()

    def finish(self) -> None:
        """The index, by which readers jump; a file without it is read from its beginning."""
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._file.flush()


class _Bounded:
    """Reads no further than the file reaches, however long a broken record says that it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left_bytes = os.fstat(file.fileno()).st_size

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left_bytes))
        self._left_bytes -= len(data)
        return data


class RecordingReader:
    """The entries of one file, in the order in which they were written: `for entry in reader`.

    Raises SettingsError for a file that cannot be read or is no MCAP. Behind the last whole chunk of a file that was
    cut short it just ends; `is_whole` says afterwards whether that was so.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_whole: bool = False

    def __iter__(self) -> Iterator[Entry]:
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise SettingsError(f"the recording {str(self.path)!r} cannot be read: {error.strerror}") from error
        with file:
            yield from self._entries(file)

    def _entries(self, file: IO[bytes]) -> Iterator[Entry]:
        topics: dict[int, str] = {}
        whole = cast(IO[bytes], _Bounded(file))
        records = iter(StreamReader(whole, validate_crcs=True, record_size_limit=_RECORD_LIMIT_BYTES).records)
        is_begun = False
        while True:
            try:
                record = next(records)
                is_begun = True
                if isinstance(record, Channel):
                    topics[record.id] = record.topic
                if not isinstance(record, Message):
                    continue
                entry = Entry(topics[record.channel_id], record.log_time, json.loads(record.data))
            except StopIteration:
                self.is_whole = True
                return
            except (InvalidMagic, McapError, ValueError, KeyError, struct.error, OSError, EOFError) as error:
                if not is_begun:
                    raise SettingsError(
                        f"{str(self.path)!r} is no recording: it is not an MCAP file ({type(error).__name__})",
                        advice="Name a file that 'live --record DIR' has written.",
                    ) from error
                return
            except Exception as error:  # what the decompressor raises of half a chunk
                if type(error).__module__.partition(".")[0] not in ("zstandard", "zstd", "lz4"):
                    raise
                return
            yield entry
