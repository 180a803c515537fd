"""Who this user is: an id that is made once, kept in the state folder, and bound to the machine that it was made on."""

import contextlib
import errno
import hashlib
import os
from pathlib import Path
from typing import Final

from ravatar_audio.errors import SettingsError
from ravatar_audio.observe.log import line_logger
from ravatar_audio.session.disk import draft_beside, replace, sync_folder
from ravatar_audio.settings import USER_ID, Settings

log: Final = line_logger(__name__)

MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
"""Where Linux keeps the machine's id (machine-id(5)); it must not be shown, so only a hash of it is kept."""
BOARD_SERIAL = Path("/proc/device-tree/serial-number")
"""Serial number of a Raspberry Pi, whose cards are often copied, machine-id and all."""


def machine_mark() -> str | None:
    """Make a hash of this machine's id, for us alone; None where it has none, or one that changes with each start."""
    serial = _line(BOARD_SERIAL)
    for path in MACHINE_IDS:
        made = _line(path)
        # systemd mounts one over the file where it cannot be written; it is another one after each start.
        if made and made != "uninitialized" and not os.path.ismount(path):
            return hashlib.sha256(f"ravatar-audio {made} {serial}".encode()).hexdigest()[:16]
    return None


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip(" \n\0")
    except OSError:
        return ""


def stable_user_id(settings: Settings) -> str:
    """Return the user id of the settings, or the one kept in the state folder, which is made at the first call.

    One that was made on another machine, of whose disk this one's is a copy, is not used: two machines with one user id
    would end each other's sessions. On a disk that is mounted read-only one is made of the machine's own id, the same
    at each start. Raises SettingsError when it can neither be read nor kept, nor made.
    """
    if settings.user_id is not None:
        return settings.user_id
    path = settings.state_path / "user_id"
    try:
        return _kept(path) or _made(path)
    except OSError as error:
        if error.errno == errno.EROFS and (mark := machine_mark()):
            log.warning("no user id can be kept in %r (%s): this machine's own is used", str(path.parent), error)
            return hashlib.sha256(f"{mark} {os.getuid()}".encode()).hexdigest()[:32]
        raise SettingsError(
            f"no user id can be kept in {str(path.parent)!r}: {error}", advice="Set user_id, or state_dir to a folder."
        ) from error


def _kept(path: Path) -> str | None:
    """None for a file that holds no user id of this machine: it may have been damaged, or copied, and is written anew.

    One without a machine's mark is older than the marks: it is taken, and marked.
    """
    try:
        kept, _, mark = path.read_text(encoding="ascii", errors="replace").strip().partition("\n")
    except FileNotFoundError:
        return None
    here = machine_mark()
    if not USER_ID.fullmatch(kept) or (mark and here and mark != here):
        return None
    if here and not mark:
        with contextlib.suppress(OSError):  # where it cannot be written it can still be read
            os.close(replace(path, _text(kept)))
    return kept


def _made(path: Path) -> str:
    made = os.urandom(16).hex()
    draft, file = draft_beside(path, _text(made))
    os.close(file)
    try:
        os.link(draft, path)  # of two programs that start at once, the first one's id stays
    except FileExistsError:
        if (kept := _kept(path)) is not None:
            return kept
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
    return made


def _text(user_id: str) -> bytes:
    return "".join(f"{line}\n" for line in (user_id, machine_mark()) if line).encode()
