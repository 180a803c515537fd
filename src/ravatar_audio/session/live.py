"""Live Mode: sound goes up as it is captured, events come down, and the slot is given back on every way out."""

import math
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import trio

from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.api.backoff import Backoff
from ravatar_audio.api.closing import Cause, LinkDown, Verdict
from ravatar_audio.api.groups import alone
from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import Link, LinkLimits, open_link
from ravatar_audio.api.messages import Envelope, StreamFault, parse_server_message
from ravatar_audio.api.results import Avatar, Connection, Language, LiveStart, viewer_url
from ravatar_audio.errors import (
    BadRequestError,
    NetworkError,
    ProtocolError,
    RavatarError,
    SettingsError,
)
from ravatar_audio.frames import RATE_HZ, Frame
from ravatar_audio.observe.histogram import Distribution, Histogram
from ravatar_audio.session.events import LinkLost, LinkUp, LiveEvent, SessionRenewed
from ravatar_audio.session.outbox import MakeText, Outbox, Parcel
from ravatar_audio.session.state import KeptLicense, stable_user_id
from ravatar_audio.settings import Settings

FIRST_TRIES = 4
"""Of opening the WebSocket when the session begins; afterwards `reconnect_limit_s` counts."""
END_LIMIT_S = 3.0
"""For giving the slot back on the way out, tries included; after that the next start does it."""

SLOT_GRACE_S = 0.06
"""How long a cancelled request for a slot may go on, so that the slot can be given back."""

_QUEUED_EVENTS = 1_000


@dataclass(frozen=True, slots=True)
class LiveStatistics:
    """Counters of a live session. taken = sent + dropped + pending, in frames and in samples, at every moment.

    Samples are at 16 kHz and count a frame's true length.
    """

    taken_frames: int
    taken_samples: int
    """Taken from the source."""
    sent_frames: int
    sent_samples: int
    """Written to a socket as a whole."""
    dropped_frames: int
    dropped_samples: Mapping[str, int]
    """By cause: "outbox" - waited too long for the network."""
    pending_frames: int
    pending_samples: int
    source_lost_samples: int
    """Lost before they were taken, as frames told: the ring was full, or the device lost them."""
    age_newest: Distribution
    """How old a frame's newest sample was when the message had been written."""
    age_oldest: Distribution
    connects: int
    reconnects: int
    messages_received: int
    messages_skipped: int
    """Not JSON."""
    events_dropped: int
    """Nobody took them from `events()`."""


class LiveEvents:
    """An iterator that may be left at any time and taken up again; no event is lost by that."""

    def __init__(self, next_event: Callable[[], Awaitable[LiveEvent]]) -> None:
        self._next_event = next_event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LiveEvent:
        return await self._next_event()


class LiveSession:
    """A live session with an avatar, as an async context manager:

        async with Microphone() as microphone, LiveSession(settings, microphone) as live:
            async for event in live.events():
                ...

    Entering it fetches a token, takes a slot and opens the WebSocket; it raises one error of the RavatarError tree when
    that cannot be done. From then on frames of `source` are sent until it ends, over as many connections as it takes.
    When the session is over for good, `events()`, `wait_finished()` and `send_text()` raise the error, and so does the
    block's end if nothing else has. Leaving the block sends Close 1000 and gives the slot back, cancelled or not.

    `slot_wait_s`: how long to wait for a free slot (default: not at all). `renew`: when the session expires on the
    server, begin a new one. `reconnect_limit_s`: how long the link may be down before giving up; None: never.
    `lossless`: the source can wait (a file, not a microphone), so nothing is dropped for a slow network; default: what
    the source says (`is_real_time`). `declare_gaps`: a message behind a gap says how many samples are missing.
    `plain`: leave audio messages to the WebSocket library; the same arrives, at several times the cost.
    `on_sent` is called with each frame that was written, and must return at once. `platform`: share one between
    sessions; default: one of its own.
    """

    def __init__(
        self,
        settings: Settings,
        source: AsyncIterable[Frame],
        *,
        platform: Platform | None = None,
        slot_wait_s: float = 0.0,
        renew: bool = False,
        reconnect_limit_s: float | None = 120.0,
        lossless: bool | None = None,
        declare_gaps: bool = True,
        plain: bool = False,
        on_sent: Callable[[Frame], None] | None = None,
        limits: LinkLimits | None = None,
    ) -> None:
        self.settings = settings
        self._source = source
        self._given_platform = platform
        self._slot_wait_s = slot_wait_s
        self._renews = renew
        self._reconnect_limit_s = math.inf if reconnect_limit_s is None else reconnect_limit_s
        self._is_lossless = not getattr(source, "is_real_time", True) if lossless is None else lossless
        self._declares_gaps = declare_gaps
        self._is_plain = plain
        self._on_sent = on_sent
        self._limits = limits or LinkLimits(connect_s=settings.connect_timeout_ms / 1000)

        self._stack = AsyncExitStack()
        self._outbox = Outbox(settings.outbox_ms / 1000)
        self._events: deque[LiveEvent] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._is_begun = self._is_source_over = self._is_over = False
        self._failure: Exception | None = None
        self._is_failure_raised = False
        self._fault: StreamFault | None = None
        self._license: KeptLicense | None = None
        self._start: LiveStart | None = None
        self._age_newest, self._age_oldest = Histogram(), Histogram()
        self._connects = self._received = self._skipped = self._events_dropped = self._source_lost_samples = 0

        self.platform: Platform
        self.connection: Connection
        """What the platform offers, from entering on; as `avatar` and `language`, which were chosen."""
        self.avatar: Avatar
        self.language: Language

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._lifetime())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    @property
    def streaming_url(self) -> str:
        """Where the avatar can be seen, ready for an iframe: with a token, and https where the platform is https.

        It holds a secret. It changes when the session is renewed.
        """
        token = self.platform.tokens.current or ""
        url = self._start.streaming_url if self._start else ""
        return viewer_url(url, token, page_is_https=self.settings.api_url.startswith("https:"))

    def events(self) -> "LiveEvents":
        """The server's messages and what happens to the link, until the session is over.

        At most 1,000 wait for whoever iterates; then the oldest are dropped and counted.
        """
        return LiveEvents(self._next_event)

    async def _next_event(self) -> LiveEvent:
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._is_over:
                self._raise_failure()
                raise StopAsyncIteration
            await self._changed.park()
        return self._events.popleft()

    async def send_text(self, text: str) -> None:
        """Say something in writing; returns when the socket has it, and waits for a link where there is none."""
        await self._put(lambda envelope: envelope.text_message(text))

    async def send_voice(self, recording: bytes, *, push_to_talk: bool = False) -> None:
        """Send a whole utterance, recorded: a WAV or WebM file, 16 kHz mono."""
        await self._put(lambda envelope: envelope.voice_message(recording, push_to_talk=push_to_talk))

    async def wait_finished(self) -> None:
        """Wait until the source has ended and everything has been written to the socket. Raises the session's error."""
        while not self._is_source_over:
            self._raise_failure()
            await self._changed.park()
        await self._guard(self._outbox.wait_empty())

    def statistics(self) -> LiveStatistics:
        """Counters as of now; may be asked at any time, also afterwards."""
        outbox = self._outbox
        return LiveStatistics(
            taken_frames=outbox.taken_frames,
            taken_samples=outbox.taken_samples,
            sent_frames=outbox.sent_frames,
            sent_samples=outbox.sent_samples,
            dropped_frames=outbox.dropped_frames,
            dropped_samples={"outbox": outbox.dropped_samples},
            pending_frames=outbox.pending_frames,
            pending_samples=outbox.pending_samples,
            source_lost_samples=self._source_lost_samples,
            age_newest=self._age_newest.distribution(),
            age_oldest=self._age_oldest.distribution(),
            connects=self._connects,
            reconnects=max(0, self._connects - 1),
            messages_received=self._received,
            messages_skipped=self._skipped,
            events_dropped=self._events_dropped,
        )

    # The life of a session, from the outside in.

    @asynccontextmanager
    async def _lifetime(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if self._given_platform is not None:
                self.platform = self._given_platform
            else:
                self.platform = Platform(self.settings, stable_user_id(self.settings))
                await stack.enter_async_context(self.platform)
            self.connection = await self.platform.connection()
            self.avatar = choose_live_avatar(self.connection, self.settings.avatar_id)
            self.language = choose_language(self.connection, self.settings.language)
            stack.push_async_callback(self._end_live)
            with alone():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._supervise)
                    while not (self._is_begun or self._is_over):
                        await self._changed.park()
                    self._raise_failure()
                    nursery.start_soon(self._drain)
                    yield
                    nursery.cancel_scope.cancel()
            self._is_over = True
            self._changed.unpark_all()
            if not self._is_failure_raised:
                self._raise_failure()

    async def _drain(self) -> None:
        """Source to outbox; never waits for the network, unless the source can wait."""
        try:
            frames = aiter(self._source)
            is_dropping = False
            while True:
                if self._is_lossless:
                    await self._outbox.wait_room()
                try:
                    frame = await anext(frames)
                except StopAsyncIteration:
                    break
                self._source_lost_samples += frame.ring_lost_samples + frame.device_lost_samples
                dropped = self._outbox.put_nowait(frame) > 0
                if dropped != is_dropping:
                    is_dropping = dropped
                    self.platform.log.warning(
                        "the network is too slow: the oldest sound is being dropped" if dropped else "no more drops"
                    )
        except Exception as error:
            self._fail(error)
        else:
            self._is_source_over = True
            self._changed.unpark_all()

    async def _supervise(self) -> None:
        try:
            await self._end_orphans()
            await self._keep_linked()
        except Exception as error:
            self._fail(error)

    async def _keep_linked(self) -> None:
        """The only owner of the link: slot, token, connection; and again."""
        backoff = Backoff()
        is_fresh = False  # the token was renewed because of a refusal, and no link has lasted since
        tries = 0
        up_s = trio.current_time()  # when a link that had lasted ended; flapping ones do not count
        while True:
            if self._start is None:
                await self._take_slot()
            token = ""
            began_s = math.inf
            try:
                token = await self._token()
                async with open_link(
                    self.settings.websocket_url, token, self.platform.ssl_context, self._limits
                ) as link:
                    began_s = trio.current_time()
                    self._note_up(link)
                    await self._use(link)
            except LinkDown as error:
                down = error
            tries += 1
            now_s = trio.current_time()
            lasted_s = max(0.0, now_s - began_s)
            if lasted_s >= backoff.stable_s:
                up_s = now_s
            backoff.note_success(lasted_s)
            is_fresh = is_fresh and lasted_s < backoff.stable_s
            if (fault := self._fault) is not None:
                self._fault = None
                self._after_fault(fault)
            verdict = down.verdict
            if self._is_begun and down.is_about_address:
                verdict = Verdict.RETRY
            if verdict is Verdict.FINAL or (verdict is Verdict.REFRESH and is_fresh):
                raise down.error() from down
            if not self._is_begun and tries >= FIRST_TRIES:
                raise down.error() from down
            if verdict is Verdict.REFRESH:
                is_fresh = True
                self.platform.tokens.invalidate(token)
            delay_s = backoff.next_delay_s(down.retry_after_s)
            if now_s + delay_s - up_s > self._reconnect_limit_s:
                raise down.error() from down
            self._note_lost(down, lasted_s, delay_s)
            await trio.sleep(delay_s)

    async def _token(self) -> str:
        try:
            return await self.platform.tokens.get()
        except NetworkError as error:
            if not self._is_begun:
                raise
            raise LinkDown(Cause.UNREACHABLE, error.message) from error

    def _after_fault(self, fault: StreamFault) -> None:
        """The recommended handling of a stream error; a time-out is only a connection to be made again."""
        error = fault.error()
        if fault.kind == "expired":
            self._forget_license()
            if self._renews:
                return
        if error is not None:
            raise error

    async def _take_slot(self) -> None:
        # A request that is cancelled may have taken a slot all the same: its answer is waited for a moment longer.
        if self._is_begun:  # a renewal: the conversation's id may have gone with the slot
            self.connection = await self.platform.connection()
        scope = trio.CancelScope(shield=True)
        with alone():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ask_for_slot, scope)
                try:
                    while self._start is None:
                        await self._changed.park()
                finally:
                    scope.deadline = trio.current_time() + SLOT_GRACE_S
        if self._is_begun:
            self._tell(SessionRenewed())

    async def _ask_for_slot(self, scope: trio.CancelScope) -> None:
        with scope:
            start = await self.platform.start_live(
                self.avatar.id, width=self.settings.width, height=self.settings.height, slot_wait_s=self._slot_wait_s
            )
            self._license = KeptLicense.keep(self.settings, start.license_id)
            self._start = start
            self._changed.unpark_all()

    async def _use(self, link: Link) -> None:
        """Everything that goes on over one connection; raises LinkDown at its end."""
        with alone():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, link)
                nursery.start_soon(self._receive, link)
                nursery.start_soon(link.watch)

    async def _send(self, link: Link) -> None:
        envelope = self._envelope()
        encoder = AudioEncoder(envelope, plain=self._is_plain)

        async def send_text(make: MakeText) -> None:
            await link.send_text(make(envelope))

        async def send(parcel: Parcel) -> None:
            await encoder.send(link, parcel.frame.pcm, parcel.lost_samples if self._declares_gaps else 0)

        while True:
            frame = await self._outbox.send_next(send_text, send)
            if frame is not None:
                age_s = max(0.0, time.monotonic() - frame.captured_s)
                self._age_newest.record(age_s)
                self._age_oldest.record(age_s + frame.length_samples / RATE_HZ)
                if self._on_sent is not None:
                    self._on_sent(frame)

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
            log.debug("received %s, %d characters", type(message).__name__, len(data))
            self._tell(message)
            if isinstance(message, StreamFault):
                self._fault = message
                raise LinkDown(Cause.SILENT, message.text or message.kind)

    # Bookkeeping.

    def _envelope(self) -> Envelope:
        assert self._start is not None
        return Envelope(
            avatar_id=self.avatar.id,
            user_id=self.platform.user_id,
            language=self.language.code,
            source=self.settings.client_name,
            session=self.connection.session,
            license_id=self._start.license_id,
        )

    async def _put(self, make: MakeText) -> None:
        self._raise_failure()
        await self._guard(self._outbox.put_text(make))

    async def _guard(self, waiting: Any) -> None:
        try:
            await waiting
        except Exception as error:
            self._is_failure_raised = self._is_failure_raised or error is self._failure
            raise

    def _tell(self, event: LiveEvent) -> None:
        if len(self._events) >= _QUEUED_EVENTS:
            self._events.popleft()
            self._events_dropped += 1
        self._events.append(event)
        self._changed.unpark_all()

    def _note_up(self, link: Link) -> None:
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
        self._is_over = True
        self._outbox.fail(error)
        self._changed.unpark_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._is_failure_raised = True
            raise self._failure

    # Giving the slot back.

    def _forget_license(self) -> None:
        if self._license is not None:
            self._license.forget()
        self._license = self._start = None

    async def _end_live(self) -> None:
        """On every way out. When even this fails, the LicenseId stays in the state folder for the next start."""
        if self._license is None:
            return
        with trio.move_on_after(END_LIMIT_S, shield=True):
            await self._end(self._license)
        self._license.leave()

    async def _end_orphans(self) -> None:
        """End what an earlier program could not end. It waits for nobody: one try for all of them."""
        for orphan in KeptLicense.orphans(self.settings):
            with trio.move_on_after(END_LIMIT_S):
                await self._end(orphan)
            orphan.leave()

    async def _end(self, kept: KeptLicense) -> None:
        log = self.platform.log
        try:
            await self.platform.end_live(kept.license_id)
        except (BadRequestError, ProtocolError) as error:
            log.debug("the live session had ended before: %s", error)
        except RavatarError as error:
            log.warning("the live session could not be ended: %s; the next start tries again", error)
            return
        kept.forget()


def choose_live_avatar(connection: Connection, wanted: str | None) -> Avatar:
    """The avatar with this id or name, or the first with Live Mode. Raises SettingsError when there is none."""
    live = [avatar for avatar in connection.avatars if avatar.has_live_mode]
    names = ", ".join(f"{avatar.id} ({avatar.name})" for avatar in live) or "none"
    if wanted is None:
        if not live:
            raise SettingsError("no avatar of this project has Live Mode", advice="Switch Live Mode on for an avatar.")
        return live[0]
    found = next((avatar for avatar in connection.avatars if wanted in (avatar.id, avatar.name)), None)
    if found is None:
        raise SettingsError(f"avatar_id {wanted!r} is unknown; with Live Mode there are: {names}")
    if not found.has_live_mode:
        raise SettingsError(f"avatar_id {wanted!r} has no Live Mode; these have: {names}")
    return found


def choose_language(connection: Connection, wanted: str | None) -> Language:
    """The language with this code, or the first. Raises SettingsError for one that the platform does not offer."""
    if wanted is None:
        if not connection.languages:
            raise SettingsError("the platform names no language; set language")
        return connection.languages[0]
    found = next((language for language in connection.languages if language.code == wanted), None)
    if found is None and connection.languages:
        codes = ", ".join(language.code for language in connection.languages)
        raise SettingsError(f"language {wanted!r} is unknown; the platform offers {codes}")
    return found or Language(wanted, wanted)
