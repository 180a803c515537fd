"""What must outlive the program: the user id, and live sessions that could not be ended."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from ravatar_audio.errors import SettingsError
from ravatar_audio.settings import USER_ID, Settings


def stable_user_id(settings: Settings) -> str:
    """The user id of the settings, or the one kept in the state folder, which is made at the first call.

    Raises SettingsError when it can neither be read nor kept.
    """
    if settings.user_id is not None:
        return settings.user_id
    path = settings.state_path / "user_id"
    try:
        with contextlib.suppress(FileNotFoundError):
            if (kept := _read_user_id(path)) is not None:
                return kept
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = os.urandom(16).hex()
        draft = path.with_name(f"user_id.{os.getpid()}")
        draft.write_text(made + "\n", encoding="ascii")
        try:
            os.link(draft, path)  # of two programs that start at once, the first one's id stays
        except FileExistsError:
            if (kept := _read_user_id(path)) is not None:
                return kept
            draft.replace(path)
            return made
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(
            f"no user id can be kept in {str(path.parent)!r}: {error}", advice="Set user_id, or state_dir to a folder."
        ) from error
    return made


def _read_user_id(path: Path) -> str | None:
    """None for a file that holds no user id: it may have been damaged, and is written anew then."""
    kept = path.read_text(encoding="ascii", errors="replace").strip()
    return kept if USER_ID.fullmatch(kept) else None


class KeptLicense:
    """A LicenseId in a file of its own, for the case that this program dies before it has ended the session.

    The file is locked while the session is in use; a file that can be locked belongs to nobody any more. Where there is
    no folder that can be written to, nothing is kept: a session is not refused for that.
    """

    def __init__(self, file: int | None, path: Path, license_id: str) -> None:
        self._file = file
        self._path = path
        self.license_id = license_id

    @classmethod
    def keep(cls, settings: Settings, license_id: str) -> Self:
        """Write it down, readable for this user alone."""
        name = hashlib.sha256(f"{settings.api_url} {license_id}".encode()).hexdigest()[:32]
        path = _folder(settings) / f"{name}.json"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            return cls(None, path, license_id)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(file, json.dumps({"api_url": settings.api_url, "LicenseId": license_id}).encode())
        except OSError:
            os.close(file)
            return cls(None, path, license_id)
        return cls(file, path, license_id)

    @classmethod
    def orphans(cls, settings: Settings) -> Iterator[Self]:
        """Those of this platform that an earlier program has left behind, each locked while it is looked at."""
        for path in sorted(_folder(settings).glob("*.json")):
            try:
                file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                kept = json.loads(os.read(file, 65_536))
                if kept["api_url"] == settings.api_url:
                    yield cls(os.dup(file), path, str(kept["LicenseId"]))
            except (OSError, ValueError, KeyError, TypeError):
                continue
            finally:
                os.close(file)

    def forget(self) -> None:
        """The session has ended: remove the file."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Keep the file, for whoever starts next."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _folder(settings: Settings) -> Path:
    return settings.state_path / "unended"
