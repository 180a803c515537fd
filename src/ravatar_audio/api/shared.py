"""What many clients of one process have in common, so that each costs little: see `Shared`."""

import ssl
import time
from collections.abc import Hashable
from types import TracebackType
from typing import Self

from ravatar_audio.api.connecting import NameLookups
from ravatar_audio.api.heartbeat import Watchdog
from ravatar_audio.api.tls import make_ssl_context
from ravatar_audio.groups import background_nursery
from ravatar_audio.settings import Settings

KEEP_NAMES_S = 30.0
"""How long an address that was found is used without asking again: as public name servers let short-lived names be."""

SWEEP_EVERY_S = 60.0
"""How often sessions that other programs have left behind are looked for: a folder is walked so often, not each start.
"""


class Shared:
    """For a process that runs many sessions against one platform, as an async context manager:

        async with Shared(settings) as shared:
            platform = Platform(settings, user_id, shared=shared)

    One TLS context (37 ms of CPU and 0.7 MB a client otherwise); one look-up of a name for all who ask within 30 s; one
    task that watches all links, instead of one for each; and one walk a minute over the sessions that other programs
    have left behind, or at the next start after a session of this process could not be ended. Each client keeps its own
    token, cookies and HTTP connections. Used without `async with`, all but the watching is shared.

    Raises SettingsError for files of TLS that cannot be used.
    """

    def __init__(self, settings: Settings, *, keep_names_s: float = KEEP_NAMES_S) -> None:
        self.ssl_context: ssl.SSLContext = make_ssl_context(settings)
        self.lookups: NameLookups = NameLookups(settings.lookup_timeout_ms / 1000, keep_s=keep_names_s)
        self.watchdog: Watchdog = Watchdog()
        self._swept_s: dict[Hashable, float] = {}
        self._watching = background_nursery()

    async def __aenter__(self) -> Self:
        nursery = await self._watching.__aenter__()
        nursery.start_soon(self.watchdog.run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._watching.__aexit__(kind, error, trace)

    def takes_sweep(self, place: Hashable) -> bool:
        """Return whether whoever asks is to look for what was left behind here; for a minute nobody else is."""
        now_s = time.monotonic()
        if now_s - self._swept_s.get(place, -SWEEP_EVERY_S) < SWEEP_EVERY_S:
            return False
        self._swept_s[place] = now_s
        return True

    def note_unended(self, place: Hashable) -> None:
        """Note that something was left behind at this place just now: the next start looks."""
        self._swept_s.pop(place, None)
