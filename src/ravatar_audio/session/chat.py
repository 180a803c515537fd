"""Chat Mode: text and recorded voice go up as messages, replies come down as events."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Self

import trio

from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import Link, LinkLimits
from ravatar_audio.api.results import Avatar, ChatItem
from ravatar_audio.api.token_source import FetchToken
from ravatar_audio.capture import Source, open_source
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.groups import background_nursery
from ravatar_audio.observe.log import log_debug
from ravatar_audio.session.conversation import Conversation
from ravatar_audio.session.open_voice import open_voice, report_echo
from ravatar_audio.session.recordings import Recordings
from ravatar_audio.session.selection import choose_avatar
from ravatar_audio.session.statistics import ChatStatistics
from ravatar_audio.session.turn_source import TurnSource
from ravatar_audio.settings import Settings
from ravatar_audio.turns import TurnEvent


class ChatSession(Conversation):
    """A conversation by messages, as an async context manager:

        async with ChatSession(settings) as chat:
            await chat.send_text("Good morning")
            async for event in chat.events():
                if isinstance(event, Reply): ...

    Replies carry text, a file's URL, or sound. Entering raises one error of the RavatarError tree when the platform
    cannot be used; later the link is made again by itself, for as long as `reconnect_limit_s` allows (None: for ever).
    `fetch_token`: an async function that gives a new token, in place of `POST /jwt`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        platform: Platform | None = None,
        fetch_token: FetchToken | None = None,
        reconnect_limit_s: float | None = 120.0,
        limits: LinkLimits | None = None,
    ) -> None:
        super().__init__(
            settings, platform=platform, fetch_token=fetch_token, reconnect_limit_s=reconnect_limit_s, limits=limits
        )
        self._turns: TurnSource | None = None
        self._are_turns_sent = trio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        source: Source | str | None = None,
        *,
        on_turn: Callable[[TurnEvent], None] | None = None,
        on_frame: Callable[[Frame], None] | None = None,
        fetch_token: FetchToken | None = None,
    ) -> AsyncIterator[Self]:
        """Everything as the settings say, in one block; with a source, its turns are sent as recorded messages.

        `source` is one that is not open yet, or what `open_source` makes one of: "mic", a sound file's path, .... It is
        opened behind a gate, `chat.turns`, whose controls are press(), release(), mute() and so on. `on_turn` is called
        with each turn's event, `on_frame` with each frame that is heard; they must return at once. With `debug` the log
        goes to standard error, unless the program has handlers of its own. Raises as Microphone and ChatSession do.
        """
        if settings.debug:
            log_debug()
        async with cls(settings, fetch_token=fetch_token) as chat:
            if source is None:
                yield chat
                return
            opened = open_voice(settings, open_source(settings, source) if isinstance(source, str) else source)
            turns = TurnSource.from_settings(settings, opened, on_event=on_turn, on_frame=on_frame)
            turns.follow(chat.connection)
            async with turns, background_nursery() as nursery:
                chat._turns = turns
                report_echo(turns, chat._emit)
                turns._on_turn_end = chat._note_turn_end
                nursery.start_soon(chat._send_recordings, Recordings(turns))
                yield chat

    @property
    def turns(self) -> TurnSource:
        """The gate of the source that `open` was given. Raises SettingsError where it was given none."""
        if self._turns is None:
            raise _no_source()
        return self._turns

    async def wait_finished(self) -> None:
        """Wait until the source that `open` was given has ended and its last turn was sent.

        Raises SettingsError where it was given none, and the session's error.
        """
        if self._turns is None:
            raise _no_source()
        await self._are_turns_sent.wait()
        self._check_usable()

    async def _send_recordings(self, recordings: Recordings) -> None:
        """Each in a task of its own: the next turn may begin while one is on its way."""
        try:
            async with trio.open_nursery() as nursery:
                async for recording in recordings:
                    nursery.start_soon(self._send_recording, recording, None, "wav")
        finally:
            self._are_turns_sent.set()

    def _choose_avatar(self) -> Avatar:
        return choose_avatar(self.connection, self.settings.avatar_id)

    def statistics(self) -> ChatStatistics:
        """Counters as of now; may be asked at any time, also afterwards."""
        return ChatStatistics(
            connects=self._connects,
            reconnects=max(0, self._connects - 1),
            messages_received=self._received,
            messages_skipped=self._skipped,
            events_dropped=self._events.dropped,
            first_reply=self._reply_time.distribution(),
        )

    def history(self, *, per_page: int = 20) -> AsyncIterator[ChatItem]:
        """What was said before, page after page, in the platform's order; only while the session lasts."""
        self._check_usable()
        return self.platform.chat(per_page=per_page)

    async def _send(self, link: Link) -> None:
        self._outbox.begin_link(link.wire, tear=link.wire.tear)
        try:
            while True:
                await self._outbox.send_next(partial(self._send_made, link), self._send_no_frame)
        finally:
            self._outbox.end_link()

    async def _send_no_frame(self, parcel: object) -> None:
        raise AssertionError(f"{type(self).__name__} has no frames")


def _no_source() -> SettingsError:
    return SettingsError("this session has no source", advice="Give one: ChatSession.open(settings, 'mic').")
