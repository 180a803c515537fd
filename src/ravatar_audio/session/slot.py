"""The live session on the platform: a slot is taken, and given back on every way out; earlier programs' as well."""

from typing import Final

import trio

from ravatar_audio.api.http import Platform
from ravatar_audio.api.results import LiveStart
from ravatar_audio.errors import BadRequestError, BusyError, ProtocolError, RavatarError
from ravatar_audio.session.state_files import SavedLicense
from ravatar_audio.settings import Settings

END_LIMIT_S: Final = 6.0
"""Longest time for giving a slot back, tries included: some round trips of 600 ms. What is left then, the next start
gives back."""

GRACE_S: Final = 10.0
"""Longest time for which a request for a slot that is under way may go on when it is cancelled, so that the slot can
be given back: a start takes 5 s, and a round trip 600 ms."""


class Slot:
    """One live session at a time, and its LicenseId in the state folder for as long as it is not ended."""

    def __init__(self, settings: Settings, slot_wait_s: float) -> None:
        self._settings = settings
        self._slot_wait_s = slot_wait_s
        self._saved: SavedLicense | None = None
        self._orphans_left = trio.Event()
        """What earlier programs left behind was ended, or could not be."""
        self._orphans_ended = 0
        self._place = settings.api_url, settings.state_dir
        """Where what is not ended is kept."""
        self.unended: int = 0
        """Live sessions that could not be ended."""
        self.start: LiveStart | None = None
        """Of the live session, while there is one."""

    async def take(self, platform: Platform, avatar_id: str) -> None:
        """Begin a live session. Raises what asking for it raises; BusyError when no earlier program's end helps."""
        try:
            await self._ask(platform, avatar_id)
        except BusyError:
            ended = self._orphans_ended if self._orphans_left.is_set() else -1
            await self._orphans_left.wait()
            if ended == self._orphans_ended or not self._orphans_ended:
                raise
            await self._ask(platform, avatar_id)

    async def _ask(self, platform: Platform, avatar_id: str) -> None:
        saved = self._saved = await trio.to_thread.run_sync(SavedLicense.begin, self._settings)
        settings = self._settings

        def note(start: LiveStart) -> None:
            self.start = start

        try:
            await platform.start_live(
                avatar_id,
                width=settings.width,
                height=settings.height,
                slot_wait_s=self._slot_wait_s,
                grace_s=GRACE_S,
                on_start=note,
            )
        finally:
            if self.start is None:
                self.forget()
            else:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(saved.note, self.start.license_id)

    def forget(self) -> None:
        """Forget it: it has ended, or has never begun."""
        if self._saved is not None:
            self._saved.forget()
        self._saved = self.start = None

    async def give_back(self, platform: Platform) -> None:
        """End the live session, if there is one, cancelled or not. If that fails the next start does it."""
        if self._saved is not None:
            has_ended = self._saved.license_id is None
            with trio.move_on_after(END_LIMIT_S, shield=True) as scope:
                has_ended = await _end(platform, self._saved) or has_ended
            if scope.cancelled_caught:
                platform.log.warning(
                    "the live session could not be ended in %g s: the next start tries again", END_LIMIT_S
                )
            if not has_ended:
                self.unended += 1
                if platform.shared is not None:
                    platform.shared.note_unended(self._place)
            self._saved.leave()
        self._saved = self.start = None

    async def end_orphans(self, platform: Platform) -> None:
        """End what earlier programs could not end, together, once each; of many in one process one does it for all."""
        if platform.shared is not None and not platform.shared.takes_sweep(self._place):
            self._orphans_left.set()
            return
        try:
            orphans = list(SavedLicense.orphans(self._settings))
            async with trio.open_nursery() as nursery:
                for orphan in orphans:
                    nursery.start_soon(self._end_orphan, platform, orphan)
        finally:
            self._orphans_left.set()

    async def _end_orphan(self, platform: Platform, orphan: SavedLicense) -> None:
        try:
            if orphan.license_id is None:
                platform.log.warning(
                    "an earlier program was ended while the platform started its live session; "
                    "if it has begun, it holds a slot until the platform ends it by itself"
                )
                orphan.forget()
                return
            with trio.move_on_after(END_LIMIT_S):
                self._orphans_ended += await _end(platform, orphan)
        finally:
            orphan.leave()


async def _end(platform: Platform, saved: SavedLicense) -> bool:
    """Whether it has ended; then its file is removed."""
    if saved.license_id is None:
        return False
    try:
        await platform.end_live(saved.license_id)
    except (BadRequestError, ProtocolError) as error:
        platform.log.debug("the live session had ended before: %s", error)
    except RavatarError as error:
        platform.log.warning("the live session could not be ended: %s; the next start tries again", error)
        return False
    saved.forget()
    return True
