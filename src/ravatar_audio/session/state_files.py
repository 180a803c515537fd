"""What must outlive the program: live sessions that could not be ended, and what was found of the echo."""

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from ravatar_audio.errors import SettingsError
from ravatar_audio.session.disk import is_at, replace
from ravatar_audio.session.machine import machine_mark
from ravatar_audio.settings import Settings

FORGOTTEN_AFTER_S: Final = 86_400.0
"""Age from which a session that could not be ended has ended by itself: the platform's tokens live no longer."""


class SavedLicense:
    """A LicenseId in a file of its own, for the case that this program dies before it has ended the session.

    The file is made before the session is asked for, without a LicenseId still: if it stays so, an answer was lost. It
    is locked while the session is in use; one that can be locked belongs to nobody any more. Where there is no folder
    that can be written to, nothing is kept: a session is not refused for that. Calls may wait for the disk.
    """

    def __init__(self, settings: Settings, path: Path | None, file: int | None = None) -> None:
        self._settings, self._path, self._file = settings, path, file
        self.license_id: str | None = None

    @classmethod
    def begin(cls, settings: Settings) -> Self:
        """Note that a session is about to be asked for."""
        folder = _folder(settings)
        kept = cls(settings, None if folder is None else folder / f"{secrets.token_hex(16)}.json")
        kept._write()
        return kept

    def note(self, license_id: str) -> None:
        """Note that the platform has given this LicenseId."""
        self.license_id = license_id
        self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        fields = {"api_url": self._settings.api_url, "LicenseId": self.license_id, "machine": machine_mark()}
        with contextlib.suppress(OSError):
            file = replace(self._path, json.dumps(fields).encode())
            self.leave()
            self._file = file

    @classmethod
    def orphans(cls, settings: Settings) -> Iterator[Self]:
        """Yield those of this platform that an earlier program has left behind, each locked until it is left or
        forgotten.

        Removes what cannot be read, what comes from another machine (of whose disk this one's is a copy), and what is
        older than a day.
        """
        folder = _folder(settings)
        if folder is None:
            return
        for draft in folder.glob(".*.json.*"):
            with contextlib.suppress(OSError):
                if time.time() - draft.stat().st_mtime > FORGOTTEN_AFTER_S:
                    draft.unlink()
        for path in sorted(folder.glob("*.json")):
            try:
                kept = cls(settings, path, os.open(path, os.O_RDWR | os.O_CLOEXEC))
            except OSError:
                continue
            try:
                is_ours = kept._take_over()
            except OSError:
                kept.leave()
            except (ValueError, KeyError, TypeError, RecursionError):
                kept.forget()
            else:
                if is_ours:
                    yield kept
                else:
                    kept.leave()

    def _take_over(self) -> bool:
        """Lock and read the file. Whether it is of this platform; raises OSError for one that is in use."""
        assert self._path is not None
        assert self._file is not None
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_at(self._path, self._file):
            raise FileNotFoundError
        fields = json.loads(os.read(self._file, 65_536))
        if not isinstance(fields, dict) or fields.get("machine") not in (None, machine_mark()):
            raise ValueError("it is no file of this machine's")
        if time.time() - os.fstat(self._file).st_mtime > FORGOTTEN_AFTER_S:
            raise ValueError("it is too old")
        license_id = fields["LicenseId"]
        self.license_id = None if license_id is None else str(license_id)
        return bool(fields["api_url"] == self._settings.api_url)

    def forget(self) -> None:
        """Remove the file: the session has ended."""
        if self._file is not None and self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self.leave()

    def leave(self) -> None:
        """Keep the file, for whoever starts next."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def echo_memory_path(settings: Settings) -> Path | None:
    """Return where it is kept what echo cancellation has found; None without a folder."""
    try:
        return settings.state_path / "echo.json"
    except SettingsError:
        return None


def _folder(settings: Settings) -> Path | None:
    try:
        return settings.state_path / "unended"
    except SettingsError:
        return None
