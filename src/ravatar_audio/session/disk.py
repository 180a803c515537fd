"""Files that are whole or not there, whatever happens to the power: written beside their place, then moved into it."""

import contextlib
import fcntl
import os
import secrets
from pathlib import Path


def draft_beside(path: Path, data: bytes) -> tuple[Path, int]:
    """Write a new file in the folder of `path`, which is made where it is missing: for this user alone, on the disk.

    Returns its name, ".NAME.XXXXXXXX", and its descriptor, which has it locked (flock). Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(file, data)
        os.fsync(file)
    except BaseException:
        os.close(file)
        draft.unlink(missing_ok=True)
        raise
    return draft, file


def replace(path: Path, data: bytes) -> int:
    """Put a file in the place of `path`, whatever is there; returns its descriptor, which has it locked.

    Raises OSError; then what was there before still is.
    """
    draft, file = draft_beside(path, data)
    try:
        draft.replace(path)
    except BaseException:
        os.close(file)
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return file


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk, if its file system can: or a power cut may take a new file away."""
    with contextlib.suppress(OSError):
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def is_at(path: Path, file: int) -> bool:
    """Return whether the open file is still the one at `path`: it may have been moved or removed meanwhile."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False
