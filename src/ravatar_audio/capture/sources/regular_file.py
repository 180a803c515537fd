"""A regular file that is being played: read, never mapped, and watched for whoever writes to it meanwhile."""

import io
import os
import stat
from pathlib import Path

from ravatar_audio.errors import MediaAbortedError, SettingsError

_CHANGED_ADVICE = "Play a copy, or write the new file under another name and rename it."


class RegularFile:
    """A file as PyAV takes one: `read`, `seek`, `tell`, `close`, `name`.

    Opening raises SettingsError for what cannot be opened and for what is no regular file, and never waits for a
    writer. Reading raises MediaAbortedError when the file is not what it was when it was opened.
    """

    def __init__(self, path: Path) -> None:
        self.name: str = str(path)
        try:
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise cannot_be_read(self.name, error.strerror or str(error)) from error
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise cannot_be_read(
                self.name, "it is a folder" if stat.S_ISDIR(found.st_mode) else "it is no regular file"
            )
        self._file = io.FileIO(fd)
        self.size_bytes: int = found.st_size
        self._written_ns = found.st_mtime_ns
        self.changed: MediaAbortedError | None = None
        """What `read` has raised; a decoder in between may have made something else of it."""

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes; b"" at the end."""
        data = self._file.read(size)
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.size_bytes, self._written_ns):
            changed = f"it had {self.size_bytes} bytes and has {now.st_size}" if now.st_size != self.size_bytes else ""
            self.changed = MediaAbortedError(
                f"the sound file {self.name!r} was written to while it was being read{changed and ': ' + changed}",
                advice=_CHANGED_ADVICE,
            )
            raise self.changed
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Do as files do."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Do as files do."""
        return self._file.tell()

    def close(self) -> None:
        """Close it; may be called again."""
        self._file.close()


def cannot_be_read(name: str, why: str, advice: str | None = None) -> SettingsError:
    """Return the one refusal of a sound file."""
    return SettingsError(f"the sound file {name!r} cannot be read: {why}", advice=advice)
