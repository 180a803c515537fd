"""Live sessions that a worker has left behind when it died: they hold slots until somebody ends them."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from ravatar_audio.api.http import Platform
from ravatar_audio.api.shared import Shared
from ravatar_audio.errors import BadRequestError, ProtocolError, RavatarError
from ravatar_audio.session.state_files import SavedLicense
from ravatar_audio.settings import Settings

LIMIT_S = 15.0
AT_ONCE = 50
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there


@contextmanager
def licence_folder() -> Iterator[str]:
    """Make a folder for the LicenseIds of a run on this machine; in memory where that can be, as each is synced."""
    where = _MEMORY if _MEMORY.is_dir() else None
    try:
        folder = TemporaryDirectory(prefix="ravatar-load-", dir=where, ignore_cleanup_errors=True)
    except OSError:
        folder = TemporaryDirectory(prefix="ravatar-load-", ignore_cleanup_errors=True)
    with folder as path:
        yield path


async def end_remains(settings: Settings, folder: str) -> tuple[int, int]:
    """End what is left in a run's folder and belongs to no living process; how many were ended, and how many not.

    Each is ended as its own user, whose folder it lies in. Returns after 15 s at the latest; cancelled, at once.
    """
    found = [
        (user, saved)
        for user in await trio.to_thread.run_sync(lambda: sorted(Path(folder).glob("*/unended")))
        for saved in SavedLicense.orphans(replace(settings, state_dir=str(user.parent)))
    ]
    if not found:
        return 0, 0
    ended: list[SavedLicense] = []
    limiter = trio.CapacityLimiter(AT_ONCE)
    shared = Shared(settings)

    async def end(user_id: str, saved: SavedLicense) -> None:
        async with limiter, Platform(settings, user_id, shared=shared) as platform:
            try:
                if saved.license_id is not None:
                    with contextlib.suppress(BadRequestError, ProtocolError):  # it had ended before
                        await platform.end_live(saved.license_id)
                    ended.append(saved)
            except RavatarError:
                return
            saved.forget()

    try:
        with trio.move_on_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                for user, saved in found:
                    nursery.start_soon(end, user.parent.name, saved)
    finally:
        for _, saved in found:
            saved.leave()
    return len(ended), len(found) - len(ended)
