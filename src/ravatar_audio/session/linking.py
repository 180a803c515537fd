"""The link of a session, kept up for as long as it lasts: what must be there before it, and what comes by it."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import trio

from ravatar_audio.api.backoff import Backoff
from ravatar_audio.api.heartbeat import PongHabit
from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import Link, LinkLimits, open_link
from ravatar_audio.api.link_end import Cause, LinkDown, Verdict
from ravatar_audio.api.messages import Envelope, Reply, ServerMessage, StreamFault, parse_server_message
from ravatar_audio.api.results import Avatar, Connection, Language
from ravatar_audio.errors import NetworkError, PlatformError, RavatarError, SessionExpiredError
from ravatar_audio.groups import single_error
from ravatar_audio.observe.observer import Observer
from ravatar_audio.session.event_queue import EventQueue
from ravatar_audio.session.events import (
    ConversationRenewed,
    LinkLost,
    LinkUp,
    LiveEvent,
    SendingAccepted,
    SendingRefused,
)
from ravatar_audio.session.outbox import MakeText, Outbox
from ravatar_audio.session.refusals import Doubt, Refusals, is_refusal
from ravatar_audio.session.retries import Retries
from ravatar_audio.session.state import SessionState
from ravatar_audio.settings import Settings

_QUIET_S = 0.5
"""No further refusal for so long, or for two round trips if these take longer: all that was sent has been answered."""


class LinkKeeper(ABC):
    """Base of Conversation: the only owner of the link."""

    _deepest_doubt: ClassVar[Doubt] = Doubt.CONVERSATION
    """The most that can be renewed in this mode."""
    _refusals_limit: ClassVar[int] = 2
    """So many refusals on one connection, without a reply between them, are acted upon."""

    def __init__(self, settings: Settings, reconnect_limit_s: float | None, limits: LinkLimits | None) -> None:
        self.settings = settings
        self._reconnect_limit_s = math.inf if reconnect_limit_s is None else reconnect_limit_s
        self._limits = limits or LinkLimits.from_settings(settings)
        self._pong_habit = PongHabit()
        self._outbox = Outbox(settings.outbox_ms / 1000)
        self._observer = Observer()
        self._events = EventQueue()
        self._refusals = Refusals(self._refusals_limit)
        self._changed = trio.lowlevel.ParkingLot()
        self.state: SessionState = SessionState.NEW
        """Where the session is in its life; read it at any time."""
        self._is_held = False
        """Nothing more is sent by this link."""
        self._fault: StreamFault | None = None
        self._link: Link | None = None
        self._connects = self._received = self._skipped = 0

        self.platform: Platform
        self.connection: Connection
        """What the platform offers, from entering on; as `avatar` and `language`, which were chosen."""
        self.avatar: Avatar
        self.language: Language

    @property
    def _is_begun(self) -> bool:
        """A link has been up."""
        return self._connects > 0

    def _license_id(self) -> str | None:
        """Of the live session, in Live Mode."""
        return None

    def _envelope(self) -> Envelope:
        return Envelope(
            avatar_id=self.avatar.id,
            user_id=self.platform.user_id,
            language=self.language.code,
            source=self.settings.client_name,
            session=self.connection.session,
            license_id=self._license_id(),
        )

    async def _keep_linked(self) -> None:
        """The only owner of the link: what a mode needs before it, token, connection; and again."""
        retries = Retries(self._reconnect_limit_s, trio.current_time())
        while True:
            token, began_s = "", None
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
                    watchdog=self.platform.watchdog,
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
            now_s = trio.current_time()
            lasted_s = None if began_s is None else now_s - began_s
            if (fault := self._fault) is not None:
                self._fault = None
                self._after_fault(fault)
            delay_s = retries.pause_s(
                down, now_s, lasted_s=lasted_s, is_begun=self._is_begun, is_again=self._note_doubt(down)
            )
            if down.verdict is Verdict.REFRESH:
                self.platform.tokens.invalidate(token)
            self._note_lost(down, lasted_s or 0.0, delay_s)
            await trio.sleep(delay_s)

    async def _prepare_link(self) -> str:
        """What a mode needs before a link, and the token for it."""
        try:
            await self._before_link()
            token = await self.platform.tokens.get()
        except (NetworkError, PlatformError) as error:
            if not self._is_begun or isinstance(error, SessionExpiredError):
                raise
            # It has worked before: whatever answers now, or does not, is not there for good.
            retry_after_s = error.details.get("retry_after_s")
            raise LinkDown(
                Cause.PLATFORM,
                error.message,
                retry_after_s=retry_after_s if isinstance(retry_after_s, float) else 0.0,
                is_own_word=error.details.get("error") is not None,
            ) from error
        self._note_token()
        return token

    async def _before_link(self) -> None:
        """Before each try to connect: what the platform may have forgotten is begun anew."""
        if self._refusals.doubt:
            await self._renew_conversation()
            self._refusals.note_renewed()

    async def _renew_conversation(self) -> None:
        connection = await self.platform.connection()
        if connection.session != self.connection.session:
            self.connection = connection
            self.platform.log.warning("the platform has given a new conversation")
            self._emit(ConversationRenewed())
        elif self._refusals.is_refused:  # so it is not the conversation that it has forgotten
            self._refusals.note_doubt(self._deepest_doubt)

    def _note_doubt(self, down: LinkDown) -> bool:
        """What the platform may have forgotten, as the end of a link shows. True when all was new and is refused."""
        refusals, deepest = self._refusals, self._deepest_doubt
        if down.cause is Cause.NOT_ACCEPTED:
            is_again = refusals.renewed >= deepest
            refusals.note_doubt(deepest if refusals.renewed else Doubt.CONVERSATION)
            return is_again
        if down.verdict is Verdict.REFRESH and self._is_begun:
            refusals.note_doubt(Doubt.CONVERSATION)
        return False

    def _after_fault(self, fault: StreamFault) -> None:
        """The recommended handling of a stream error: a time-out is only a connection to be made again."""
        if (error := fault.error()) is not None:
            raise error.replaced(message=self.platform.log.redact(error.message))

    async def _renew_token(self) -> None:
        """For as long as the session lasts: the link does without, but the streaming URL and every call need one."""
        backoff = Backoff(first_s=5.0, base_s=10.0, cap_s=300.0)
        while True:
            await self.platform.tokens.wait_due()
            try:
                await self.platform.tokens.get()
            except RavatarError as error:
                delay_s = backoff.next_delay_s()
                self.platform.log.warning("the token cannot be renewed: %s; next try in %.0f s", error, delay_s)
                await trio.sleep(delay_s)
            else:
                backoff.failures = 0
                self._note_token()

    def _note_token(self) -> None:  # noqa: B027 - a mode may have nothing to do here
        """The token may be another one now."""

    async def _use(self, link: Link) -> None:
        """Everything that goes on over one connection; raises LinkDown at its end."""
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, link)
                nursery.start_soon(self._receive, link)
                nursery.start_soon(self._leave_when_refused, link)
                nursery.start_soon(link.watch)

    @abstractmethod
    async def _send(self, link: Link) -> None:
        """Send what waits in the outbox, for ever."""

    async def _send_made(self, link: Link, make: MakeText) -> None:
        await self._while_held()
        text = make(self._envelope())
        await link.send_text(text)
        self._note_written(None)
        self.platform.log.debug("sent a message of %d characters", len(text))

    async def _while_held(self) -> None:
        if self._is_held:
            await trio.sleep_forever()  # until this connection is left; then what waits goes by the next

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
            self._emit(message, len(data))
            self._note_answer(message)
            if isinstance(message, StreamFault):
                self._fault = message
                if message.kind == "expired":
                    in_flight = self._outbox.in_flight
                    in_flight.settle()
                    self._refusals.note_expired(trio.current_time(), link.wire.round_trip_s, in_flight.frames)
                raise LinkDown(Cause.STREAM_ERROR, message.text or message.kind)

    def _note_answer(self, message: ServerMessage) -> None:
        """Whether what was sent is accepted or refused, as far as the message shows."""
        if is_refusal(message):
            if self._refusals.note_refused():
                why = self.platform.log.redact(_words(message))
                self.platform.log.warning("the platform refuses what is sent: %s", why)
                self._emit(SendingRefused(why))
            self._changed.unpark_all()
        elif isinstance(message, Reply) and self._refusals.note_accepted():
            self._note_accepted()

    def _note_written(self, samples: int | None, gap_samples: int = 0) -> None:
        """A message was written; of a frame its samples, and how many it declares as missing before it."""
        if self._refusals.note_sent(samples, gap_samples, trio.current_time()):
            self._note_accepted()

    def _note_accepted(self) -> None:
        messages = self._refusals.messages
        self.platform.log.warning("the platform accepts again what is sent; it has refused %d messages", messages)
        self._emit(SendingAccepted(messages))

    async def _leave_when_refused(self, link: Link) -> None:
        """Leave the connection after a few refusals; what waits goes by the next one, when the session is renewed."""
        refusals = self._refusals
        while not refusals.is_due:
            await self._changed.park()
        self._is_held = True
        # What is under way is answered first, as far as that takes no longer than answers do: so it is counted.
        quiet_s = max(_QUIET_S, 2 * link.handshake_s)
        seen = -1
        while refusals.messages > seen and not refusals.is_all_answered:
            seen = refusals.messages
            with trio.move_on_after(quiet_s):
                while refusals.messages == seen:
                    await self._changed.park()
        refusals.note_end()
        raise LinkDown(Cause.NOT_ACCEPTED, f"{refusals.messages} messages so far", is_own_word=True)

    def _emit(self, event: LiveEvent, characters: int = 0) -> None:
        self._observer.happened(event)
        self._events.put(event, characters)
        self._changed.unpark_all()

    def _note_up(self, link: Link) -> None:
        self._link = link
        self._is_held = False
        self._refusals.begin_connection()
        self._connects += 1
        self._move_to(SessionState.CONNECTED)
        self.platform.log.debug("link %d is up after %.1f ms", self._connects, link.handshake_s * 1000)
        self._emit(LinkUp(self._connects, link.handshake_s))

    def _move_to(self, state: SessionState) -> None:
        """What is over stays so, and a failure is more than an end."""
        if not self.state.is_over or state is SessionState.FAILED:
            self.state = state

    def _note_lost(self, down: LinkDown, lasted_s: float, delay_s: float) -> None:
        if self._is_begun:
            self._move_to(SessionState.RECONNECTING)
        self.platform.log.warning("the link is down after %.1f s: %s; next try in %.2f s", lasted_s, down, delay_s)
        self._emit(LinkLost(str(down), lasted_s, delay_s, down.close_code, down.status))


def _words(message: ServerMessage) -> str:
    """What a refusal says, for people."""
    error = message.fields.get("error")
    words = [word for word in (error, message.text) if isinstance(word, str) and word]
    return ": ".join(dict.fromkeys(words))[:200] or "an error without words"
