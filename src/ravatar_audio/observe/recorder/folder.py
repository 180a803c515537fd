"""Recordings of one folder, within limits of size and age: the oldest go first, never one that is being written."""

import contextlib
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from ravatar_audio.errors import SettingsError

try:
    import fcntl
except ImportError:  # Windows: there a file that is open cannot be deleted
    fcntl = None  # type: ignore[assignment]

NAME: Final = re.compile(r"ravatar-\d{8}T\d{6}Z-\d+-\d+\.mcap")
_PARTS: Final = 10
"""A file takes a tenth of the folder's limit, so that the oldest tenth goes when there is no room."""


class RecordingFolder:
    """Makes files, and deletes the oldest. Raises SettingsError for a folder that cannot be made or written to."""

    def __init__(self, path: str, *, limit_bytes: int, keep_s: float) -> None:
        self._path = Path(path)
        self._limit_bytes, self._keep_s = limit_bytes, keep_s
        self._number = 0
        self.file_bytes: int = limit_bytes // _PARTS
        """A file is ended when it is as large as this."""
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self._path / f".ravatar-{os.getpid()}"
            os.close(os.open(probe, os.O_CREAT | os.O_WRONLY, 0o600))
            probe.unlink()
        except OSError as error:
            raise SettingsError(
                f"recordings cannot be written to {path!r}: {error.strerror or error}",
                advice="Name a folder that this user may write to (record, --record).",
            ) from error

    def open_next(self) -> IO[bytes]:
        """A new file, only for this user, that survives a power cut; older ones make room for it. Raises OSError."""
        self.make_room()
        self._number += 1
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = self._path / f"ravatar-{stamp}-{os.getpid()}-{self._number}.mcap"
        file = open(path, "xb", opener=_open_private)  # noqa: SIM115 - it is the recorder's to close
        if fcntl is not None:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(OSError, AttributeError):  # systems on which a folder cannot be opened
            handle = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        return file

    def make_room(self) -> None:
        """Delete what is too old, and the oldest until one more file fits."""
        found = []
        for path in self._path.iterdir():
            with contextlib.suppress(OSError):
                if NAME.fullmatch(path.name):
                    state = path.stat()
                    found.append((state.st_mtime, state.st_size, path))
        total_bytes = sum(size for _, size, _ in found)
        for changed_s, size, path in sorted(found):
            is_old = time.time() > changed_s + self._keep_s
            if (is_old or total_bytes > self._limit_bytes - self.file_bytes) and _delete(path):
                total_bytes -= size


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _delete(path: Path) -> bool:
    try:
        if fcntl is not None:
            with path.open("rb") as file:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:  # another program writes it, or it has gone
        return False
    return True
