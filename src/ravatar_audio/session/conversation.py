"""What both modes share: one link that is kept up for as long as a conversation lasts, and what comes over it."""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self

import trio

from ravatar_audio.api.backoff import Backoff
from ravatar_audio.api.closing import Cause, LinkDown, Verdict
from ravatar_audio.api.groups import alone, beside
from ravatar_audio.api.heartbeat import PongHabit
from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import Link, LinkLimits, open_link
from ravatar_audio.api.messages import Envelope, StreamFault, parse_server_message
from ravatar_audio.api.results import Avatar, Connection, Language
from ravatar_audio.errors import BusyError, NetworkError, ProtocolError, ServerError, SettingsError
from ravatar_audio.session.checking import check_text, check_voice
from ravatar_audio.session.choosing import choose_language
from ravatar_audio.session.events import LinkLost, LinkUp, LiveEvent
from ravatar_audio.session.outbox import MakeText, Outbox
from ravatar_audio.session.state import stable_user_id
from ravatar_audio.settings import Settings
from ravatar_audio.turns import Recording
from ravatar_audio.worlds import check_world

FIRST_TRIES = 4
"""Of opening the WebSocket when the session begins; afterwards `reconnect_limit_s` counts."""

ASKED_WAIT_MAX_S = 60.0
"""Of what a server may ask for by Retry-After: a wrong date must not silence a session for weeks."""

_QUEUED_EVENTS = 1_000
_QUEUED_CHARACTERS = 32 * 1024 * 1024  # of the messages as they came; a reply may hold megabytes of sound

_OPENER_S = 1.0
"""How long a source may wait for the session to begin before it is taken from: sources hold 2 s."""


class Events:
    """An iterator that may be left at any time and taken up again; no event is lost by that."""

    def __init__(self, next_event: Callable[[], Awaitable[LiveEvent]]) -> None:
        self._next_event = next_event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LiveEvent:
        return await self._next_event()


class Conversation(ABC):
    """Base of LiveSession and ChatSession: an async context manager that keeps one link up. See there."""

    def __init__(
        self,
        settings: Settings,
        *,
        platform: Platform | None,
        reconnect_limit_s: float | None,
        limits: LinkLimits | None,
    ) -> None:
        self.settings = settings
        self._given_platform = platform
        self._reconnect_limit_s = math.inf if reconnect_limit_s is None else reconnect_limit_s
        self._pong_habit = PongHabit()
        self._limits = limits or LinkLimits.from_settings(settings)
        self._stack = AsyncExitStack()
        self._outbox = Outbox(settings.outbox_ms / 1000)
        self._events: deque[tuple[LiveEvent, int]] = deque()
        """Each with the length of the message that it came in."""
        self._queued_characters = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._is_entered = self._is_begun = self._is_over = False
        self._failure: Exception | None = None
        self._is_failure_raised = False
        self._fault: StreamFault | None = None
        self._link: Link | None = None
        self._connects = self._received = self._skipped = self._events_dropped = 0

        self.platform: Platform
        self.connection: Connection
        """What the platform offers, from entering on; as `avatar` and `language`, which were chosen."""
        self.avatar: Avatar
        self.language: Language

    async def __aenter__(self) -> Self:
        check_world("trio", type(self).__name__)
        if self._is_entered:
            raise RuntimeError(f"a {type(self).__name__} is entered once; make a new one")
        self._is_entered = True
        await self._stack.enter_async_context(self._lifetime())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    def events(self) -> "Events":
        """The server's messages and what happens to the link, until the session is over.

        At most 1,000 wait for whoever iterates, and 32 MiB; then the oldest are dropped and counted.
        """
        return Events(self._next_event)

    async def _next_event(self) -> LiveEvent:
        await trio.lowlevel.checkpoint()
        self._check_entered()
        while not self._events:
            if self._is_over:
                self._raise_failure()
                raise StopAsyncIteration
            await self._changed.park()
        return self._take_event()

    async def send_text(self, text: str) -> None:
        """Say something in writing; returns when the socket has it, and waits for a link where there is none.

        Cancelled before, it is not sent.

        Raises SettingsError for what the platform would refuse: no text, an empty one, one of more than 65,536
        characters, and half a character (a lone surrogate). Raises trio.ClosedResourceError after the session's end.
        """
        check_text(text)
        await self._put(lambda envelope: envelope.text_message(text))

    async def send_voice(
        self, recording: Recording | bytes, *, push_to_talk: bool | None = None, format: str = "wav"
    ) -> None:
        """Send a whole utterance: a Recording, as "wav" or (extra "webm") "webm", or a file's bytes, 16 kHz mono.

        `push_to_talk`: whether the user held a button for it; default: what the recording says. Returns when the socket
        has it, and waits for a link where there is none. Cancelled before, it is not sent, also when a part of it has
        been written: the connection is made again then. The recording stays as it is: when this raises, it can be sent
        again. Raises SettingsError for more than 8 MiB, for a recording without sound, and for bytes that are neither
        WAV nor WebM; trio.ClosedResourceError after the session's end.
        """
        self._check_entered()
        if isinstance(recording, Recording):
            if not recording.samples:
                raise SettingsError("the recording is empty", advice="Record something before it is sent.")
            push_to_talk = recording.is_push_to_talk if push_to_talk is None else push_to_talk
            data = await trio.to_thread.run_sync(recording.encoded, format)
        else:
            data = recording
        check_voice(data)
        await self._put(lambda envelope: envelope.voice_message(data, push_to_talk=bool(push_to_talk)))

    # What a mode adds.

    @abstractmethod
    def _choose_avatar(self) -> Avatar:
        """From what the platform offers; raises SettingsError."""

    async def _before_link(self) -> None:  # noqa: B027 - a mode may have nothing to do here
        """Before each try to connect."""

    async def _run_beside(self) -> None:  # noqa: B027 - a mode may have nothing to do here
        """In a task of its own, from the first link on, or sooner where that takes its time."""

    async def _on_exit(self) -> None:  # noqa: B027 - a mode may have nothing to do here
        """When everything else has ended, cancelled or not."""

    def _license_id(self) -> str | None:
        """Of the live session, in Live Mode."""
        return None

    def _after_fault(self, fault: StreamFault) -> None:
        """The recommended handling of a stream error: a time-out is only a connection to be made again."""
        if (error := fault.error()) is not None:
            raise error.replaced(message=self.platform.log.redact(error.message))

    async def _send(self, link: Link) -> None:
        """Send what waits in the outbox, for ever."""
        self._outbox.begin_link(link.wire, tear=link.wire.tear)
        try:
            while True:
                await self._outbox.send_next(partial(self._send_made, link), self._send_no_frame)
        finally:
            self._outbox.end_link()

    async def _send_made(self, link: Link, make: MakeText) -> None:
        text = make(self._envelope())
        await link.send_text(text)
        self.platform.log.debug("sent a message of %d characters", len(text))

    async def _send_no_frame(self, parcel: object) -> None:
        raise AssertionError(f"{type(self).__name__} has no frames")

    # The life of a conversation, from the outside in.

    @asynccontextmanager
    async def _lifetime(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(self._note_over)
            if self._given_platform is not None:
                self.platform = self._given_platform
            else:
                self.platform = Platform(self.settings, stable_user_id(self.settings))
                await stack.enter_async_context(self.platform)
            self.connection = await self.platform.connection()
            self.avatar = self._choose_avatar()
            self.language = choose_language(self.connection, self.settings.language)
            stack.push_async_callback(self._on_exit)
            async with beside() as nursery:
                nursery.start_soon(self._supervise)
                with trio.move_on_after(_OPENER_S):
                    await self._wait_begun()
                self._raise_failure()
                nursery.start_soon(self._run_beside)
                await self._wait_begun()
                self._raise_failure()
                yield
            self._note_over()
            if not self._is_failure_raised:
                self._raise_failure()

    async def _wait_begun(self) -> None:
        while not (self._is_begun or self._is_over):
            await self._changed.park()

    async def _supervise(self) -> None:
        try:
            await self._keep_linked()
        except Exception as error:
            self._fail(error)

    async def _keep_linked(self) -> None:
        """The only owner of the link: what a mode needs before it, token, connection; and again."""
        backoff = Backoff()
        is_fresh = False  # the token was renewed because of a refusal, and nothing has shown since that it is good
        tries = 0
        up_s = trio.current_time()  # when a link that had lasted ended; flapping ones do not count
        while True:
            token = ""
            began_s = math.inf
            try:
                token = await self._prepare_link()
                async with open_link(
                    self.settings.websocket_url,
                    token,
                    self.platform.ssl_context,
                    self._limits,
                    lookups=self.platform.lookups,
                    habit=self._pong_habit,
                    proxy=self.platform.proxy_for(self.settings.websocket_url),
                    cookies=self.platform.cookies_for_websocket(),
                ) as link:
                    began_s = trio.current_time()
                    self._note_up(link)
                    try:
                        await self._use(link)
                    finally:
                        self._link = None
            except LinkDown as error:
                down = error
                down.why = self.platform.log.redact(down.why)  # a server may repeat what it should not
            tries += 1
            now_s = trio.current_time()
            lasted_s = max(0.0, now_s - began_s)
            if lasted_s >= backoff.stable_s:
                up_s = now_s
            backoff.note_success(lasted_s)
            if (fault := self._fault) is not None:
                self._fault = None
                self._after_fault(fault)
            verdict = down.verdict
            # A link that came up and ended for another reason shows that the fresh token was good.
            is_proved = lasted_s >= backoff.stable_s or (began_s < math.inf and verdict is not Verdict.REFRESH)
            is_fresh = is_fresh and not is_proved
            if self._is_begun and down.is_about_address:
                verdict = Verdict.RETRY
            if verdict is Verdict.FINAL or (verdict is Verdict.REFRESH and is_fresh):
                raise down.error() from down
            if not self._is_begun and tries >= FIRST_TRIES:
                raise down.error() from down
            if verdict is Verdict.REFRESH:
                is_fresh = True
                self.platform.tokens.invalidate(token)
            delay_s = backoff.next_delay_s(min(down.retry_after_s, ASKED_WAIT_MAX_S))
            if now_s + delay_s - up_s > self._reconnect_limit_s:
                raise down.error() from down
            self._note_lost(down, lasted_s, delay_s)
            await trio.sleep(delay_s)

    async def _prepare_link(self) -> str:
        """What a mode needs before a link, and the token for it."""
        try:
            await self._before_link()
            return await self.platform.tokens.get()
        except (NetworkError, ServerError, BusyError, ProtocolError) as error:
            if not self._is_begun:
                raise
            # It has worked before: whatever answers now, or does not, is not there for good.
            retry_after_s = error.details.get("retry_after_s")
            raise LinkDown(
                Cause.PLATFORM, error.message, retry_after_s=retry_after_s if isinstance(retry_after_s, float) else 0.0
            ) from error

    async def _use(self, link: Link) -> None:
        """Everything that goes on over one connection; raises LinkDown at its end."""
        with alone():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, link)
                nursery.start_soon(self._receive, link)
                nursery.start_soon(link.watch)

    async def _receive(self, link: Link) -> None:
        log = self.platform.log
        while True:
            data = await link.receive()
            self._received += 1
            try:
                message = parse_server_message(data)
            except ValueError as error:
                self._skipped += 1
                log.debug("a message of %d characters is skipped: %s", len(data), error)
                continue
            log.debug("received %s, %d characters: %s", type(message).__name__, len(data), (message.text or "")[:200])
            self._tell(message, len(data))
            if isinstance(message, StreamFault):
                self._fault = message
                raise LinkDown(Cause.STREAM_ERROR, message.text or message.kind)

    # Bookkeeping.

    def _envelope(self) -> Envelope:
        return Envelope(
            avatar_id=self.avatar.id,
            user_id=self.platform.user_id,
            language=self.language.code,
            source=self.settings.client_name,
            session=self.connection.session,
            license_id=self._license_id(),
        )

    async def _put(self, make: MakeText) -> None:
        self._check_usable()
        await self._guard(self._outbox.put_text(make))

    async def _guard(self, waiting: Any) -> None:
        try:
            await waiting
        except Exception as error:
            self._is_failure_raised = self._is_failure_raised or error is self._failure
            raise

    def _tell(self, event: LiveEvent, characters: int = 0) -> None:
        self._events.append((event, characters))
        self._queued_characters += characters
        while len(self._events) > _QUEUED_EVENTS or (
            self._queued_characters > _QUEUED_CHARACTERS and len(self._events) > 1
        ):
            self._take_event()
            self._events_dropped += 1
        self._changed.unpark_all()

    def _take_event(self) -> LiveEvent:
        event, characters = self._events.popleft()
        self._queued_characters -= characters
        return event

    def _note_up(self, link: Link) -> None:
        self._link = link
        self._connects += 1
        self._is_begun = True
        self.platform.log.debug("link %d is up after %.1f ms", self._connects, link.handshake_s * 1000)
        self._tell(LinkUp(self._connects, link.handshake_s))

    def _note_lost(self, down: LinkDown, lasted_s: float, delay_s: float) -> None:
        self.platform.log.warning("the link is down after %.1f s: %s; next try in %.2f s", lasted_s, down, delay_s)
        self._tell(LinkLost(str(down), lasted_s, delay_s, down.close_code, down.status))

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        self._note_over()

    def _note_over(self) -> None:
        """Nothing more comes or goes: whoever waits hears of it."""
        self._is_over = True
        self._outbox.fail(self._failure or trio.ClosedResourceError("the session is over"))
        self._changed.unpark_all()

    def _check_entered(self) -> None:
        if not self._is_entered:
            raise RuntimeError(f"the {type(self).__name__} has not begun; enter it with 'async with'")

    def _check_usable(self) -> None:
        self._check_entered()
        self._raise_failure()
        if self._is_over:
            raise trio.ClosedResourceError("the session is over")

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._is_failure_raised = True
            raise self._failure
