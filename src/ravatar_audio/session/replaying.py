"""A recorded session, sent again: its frames at the times at which they were taken, its links when they were up."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import trio

from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.observe.recorder.timeline import SessionTimeline
from ravatar_audio.session.live import LiveSession
from ravatar_audio.settings import Settings

_KEPT = (
    *("avatar_id", "language", "client_name", "width", "height", "outbox_ms", "renew"),
    *("request_timeout_ms", "connect_timeout_ms", "lookup_timeout_ms", "ping_interval_ms", "pong_timeout_ms"),
    *("stuck_send_ms", "unacknowledged_ms"),
)
"""Settings that decide what becomes of the sound once it was taken."""


def replay_settings(session: SessionTimeline, **given: Any) -> Settings:
    """The recorded session's settings, as far as they matter to a replay; what is given counts more."""
    kept = {name: value for name in _KEPT if (value := session.settings.get(name)) is not None}
    return Settings(**{**kept, "mode": "open", **given})


class RecordedSource:
    """The frames that a session has taken, each as late after `begin` as it was then. In turns, as the gate gave them.

    What device and ring had lost before a frame is told with it, as it was then.
    """

    is_real_time = True

    def __init__(self, session: SessionTimeline) -> None:
        if not session.taken:
            raise SettingsError("nothing was taken in this session, so there is nothing to send again")
        self._session = session
        self.begin_s: float | None = None
        """trio's time of the moment at which the recorded session was entered."""

    async def __aiter__(self) -> AsyncIterator[Frame]:
        assert self.begin_s is not None
        for taken in self._session.taken:
            await trio.sleep_until(self.begin_s + taken.at_s - self._session.begun_s)
            captured_s = time.monotonic() - taken.values["age_s"]
            yield self._session.frame_of(taken, captured_s)


class ReplayedSession(LiveSession):
    """A live session with a RecordedSource whose links are up when the recorded ones were.

    `on_begin` is called with trio's time of what was the recording's first entry.
    """

    def __init__(
        self,
        settings: Settings,
        session: SessionTimeline,
        *,
        on_begin: Callable[[float], None] | None = None,
        **more: Any,
    ) -> None:
        self._recorded = RecordedSource(session)
        super().__init__(settings, self._recorded, reconnect_limit_s=None, **more)
        self._on_begin = on_begin
        ups = [event for event in session.events if event.values["event"] == "LinkUp"]
        self._tries_s = [event.at_s - session.begun_s - event.values["handshake_s"] for event in ups]
        self._zero_s = session.begun_s

    async def __aenter__(self) -> "ReplayedSession":
        self._recorded.begin_s = trio.current_time()
        if self._on_begin is not None:
            self._on_begin(self._recorded.begin_s - self._zero_s)
        await super().__aenter__()
        return self

    async def _prepare_link(self) -> str:
        token = await super()._prepare_link()
        if self._connects < len(self._tries_s) and self._recorded.begin_s is not None:
            await trio.sleep_until(self._recorded.begin_s + self._tries_s[self._connects])
        elif self._tries_s and self._connects:
            await self._wait_source_over()  # the recording has no further link
        return token

    async def _wait_source_over(self) -> None:
        while not self._is_source_over:
            await self._changed.park()
