"""Live Mode: sound goes up as it is captured, events come down, and the slot is given back on every way out."""

import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

import trio

from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import Link, LinkLimits
from ravatar_audio.api.link_end import LinkDown
from ravatar_audio.api.messages import StreamFault
from ravatar_audio.api.results import Avatar, viewer_url
from ravatar_audio.api.token_source import FetchToken
from ravatar_audio.arguments import check_time_s
from ravatar_audio.capture import Microphone, Source, open_source
from ravatar_audio.errors import SessionExpiredError, SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.observe.histogram import Histogram
from ravatar_audio.observe.log import log_debug
from ravatar_audio.observe.observer import Observer
from ravatar_audio.session.conversation import Conversation
from ravatar_audio.session.events import LiveEvent, SessionRenewed, StreamingUrlChanged
from ravatar_audio.session.in_flight import QueuedFrame
from ravatar_audio.session.observing import attach, counted, observed, observing
from ravatar_audio.session.open_voice import open_voice, report_echo
from ravatar_audio.session.refusals import Doubt
from ravatar_audio.session.selection import choose_live_avatar
from ravatar_audio.session.slot import Slot
from ravatar_audio.session.state import SessionState
from ravatar_audio.session.statistics import LiveStatistics
from ravatar_audio.session.turn_source import TurnSource, check_gated
from ravatar_audio.settings import Settings
from ravatar_audio.turns import TurnEvent

LAST_FRAMES_S = 3.0
"""For sending what waits when the source has failed, also while the link is down: then by the next one.

At a round trip of 600 ms a lost packet goes again after up to three of them (RFC 6298, 2.2), and its acknowledgement
takes one more: until then, 2.4 s, sound may have to wait. So long a line that stands is taken for a live one as well.
"""

ACKNOWLEDGEMENT_LOOK_S = 0.01


class LiveSession(Conversation):
    """A live session with an avatar, as an async context manager:

        async with Microphone() as microphone, LiveSession(settings, microphone) as live:
            async for event in live.events():
                ...

    Entering it fetches a token, takes a slot and opens the WebSocket; it raises one error of the RavatarError tree when
    that cannot be done. From then on frames of `source` are sent until it ends, over as many connections as it takes.
    When the session is over for good, `events()`, `wait_finished()` and `send_text()` raise the error, and so does the
    block's end if nothing else has. Leaving the block sends Close 1000 and gives the slot back, cancelled or not.

    `slot_wait_s`: how long to wait for a free slot. `renew`: when the session expires on the server, begin a new one.
    Both default to the settings', which are not at all, and no. `reconnect_limit_s`: how long the link may be down
    before giving up; None: never.
    `lossless`: the source can wait (a file, not a microphone), so it is taken from when the session is up, and nothing
    is dropped for a slow network; default: what the source says (`is_real_time`). `declare_gaps`: a message behind a
    gap says how many samples are missing, and one that may come a second time says so.
    `plain`: leave audio messages to the WebSocket library; the same arrives, at several times the cost.
    `linger_s`: so long after the source has ended and everything was sent, `events()` ends; None: not before the block.
    `on_sent` is called with each frame that was written, and must return at once. `fetch_token`: an async function that
    gives a new token, in place of `POST /jwt`. `platform`: share one between sessions; default: one of its own.
    `observers`: metrics, a flight recorder (`observing`), or one of the program's.

    The session has the source for itself; whoever else takes from it meanwhile gets trio.BusyResourceError. It begins
    with what is captured after it is entered (`Source.discard`; turns have their pre-roll).
    A setting that needs more than this is refused by its name: turns need a TurnSource. `open()` does it all.
    Cancelled while the platform starts the session, it waits up to 10 s for the answer, to give the slot back.
    """

    _deepest_doubt = Doubt.SLOT
    _refusals_limit = 3

    def __init__(
        self,
        settings: Settings,
        source: AsyncIterable[Frame],
        *,
        platform: Platform | None = None,
        fetch_token: FetchToken | None = None,
        slot_wait_s: float | None = None,
        renew: bool | None = None,
        reconnect_limit_s: float | None = 120.0,
        lossless: bool | None = None,
        declare_gaps: bool = True,
        plain: bool = False,
        linger_s: float | None = None,
        on_sent: Callable[[Frame], None] | None = None,
        limits: LinkLimits | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        check_gated(settings, source)
        check_time_s("slot_wait_s", slot_wait_s)
        check_time_s("linger_s", linger_s)
        super().__init__(
            settings, platform=platform, fetch_token=fetch_token, reconnect_limit_s=reconnect_limit_s, limits=limits
        )
        self._source = source
        self._frames: AsyncIterator[Frame] | None = None
        self._holding = ExitStack()
        self._slot = Slot(settings, settings.slot_wait_s if slot_wait_s is None else slot_wait_s)
        self._renews = settings.renew if renew is None else renew
        self._is_lossless = not getattr(source, "is_real_time", True) if lossless is None else lossless
        self._outbox.is_lossless = self._is_lossless
        self._declares_gaps = declare_gaps
        self._is_plain = plain
        self._linger_s = linger_s
        self._on_sent = on_sent
        self._is_source_over = False
        self._told_url: str | None = None
        self._age_newest = Histogram()
        self._source_lost_samples = 0
        self._observer = attach(observers, self._outbox, source)
        report_echo(source, self._emit)
        if isinstance(source, TurnSource):
            source._on_turn_end = self._note_turn_end

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        source: Source | str = "mic",
        *,
        on_turn: Callable[[TurnEvent], None] | None = None,
        on_frame: Callable[[Frame], None] | None = None,
        on_sent: Callable[[Frame], None] | None = None,
        fetch_token: FetchToken | None = None,
    ) -> AsyncIterator[Self]:
        """Everything as the settings say, in one block:

            async with LiveSession.open(Settings.load()) as live:
                async for event in live.events():
                    ...

        `source` is one that is not open yet, or what `open_source` makes one of: "mic", a sound file's path, "-", ....
        It is opened behind a gate, `live.turns`, whose controls are press(), release(), mute() and so on. As on the
        command line, the mode "auto" is what the platform says for the microphone, and "open" for anything else.
        `events()` ends `linger_s` after the source's end. With `debug` the log goes to standard error, unless the
        program has handlers of its own. `on_turn` is called with each turn's event, `on_frame` with each frame that is
        heard, `on_sent` with each that was sent; they must return at once. `fetch_token` is LiveSession's.
        Raises as Microphone and LiveSession do.
        """
        if settings.debug:
            log_debug()
        if settings.mode == "auto" and not (source == "mic" or isinstance(source, Microphone)):
            settings = replace(settings, mode="open")
        opened = open_voice(settings, open_source(settings, source) if isinstance(source, str) else source)
        turns = TurnSource.from_settings(settings, opened, on_event=on_turn, on_frame=on_frame)
        async with observing(settings) as observers:
            live = cls(
                settings,
                turns,
                fetch_token=fetch_token,
                linger_s=settings.linger_s,
                on_sent=on_sent,
                observers=observers,
            )
            async with turns, live:
                yield live

    @property
    def turns(self) -> TurnSource:
        """The gate in front of the source, with its controls. Raises SettingsError for a source without one."""
        if not isinstance(self._source, TurnSource):
            raise SettingsError(
                "this session's source has no gate", advice="LiveSession.open() makes one; a TurnSource is one."
            )
        return self._source

    async def __aenter__(self) -> Self:
        if self.state is not SessionState.NEW or not isinstance(self._source, (Source, TurnSource)):
            return await super().__aenter__()
        with ExitStack() as holding:
            self._frames = holding.enter_context(self._source._held_by("a live session"))
            if not self._is_lossless:
                self._source.discard()  # nobody in this session has said it
            await super().__aenter__()
            self._holding = holding.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with self._holding:
            return await super().__aexit__(kind, error, trace)

    @property
    def streaming_url(self) -> str:
        """Where the avatar can be seen, ready for an iframe: with a token, and https where the platform is https.

        It holds a secret. It changes when the token or the session is renewed, which is an event (StreamingUrlChanged).
        """
        self._check_entered()
        token = self.platform.tokens.current or ""
        url = self._slot.start.streaming_url if self._slot.start else ""
        return viewer_url(url, token, page_is_https=self.settings.api_url.startswith("https:"))

    async def wait_finished(self) -> None:
        """Wait until the source has ended and everything was sent and acknowledged. Raises the session's error.

        Acknowledged by the peer's system, that is, where this system tells; the protocol has no better answer.
        """
        self._check_entered()
        while not self._is_source_over:
            self._check_usable()
            await self._changed.park()
        await self._guard(self._outbox.wait_acknowledged())
        while (link := self._link) is not None:
            link.wire.look()
            if not link.wire.is_waiting:
                break
            await trio.sleep(ACKNOWLEDGEMENT_LOOK_S)  # the system has no event for it

    def statistics(self) -> LiveStatistics:
        """Counters as of now; may be asked at any time, also afterwards."""
        age_newest = self._age_newest.distribution()
        return LiveStatistics(
            **counted(self._outbox, self._refusals),
            source_lost_samples=self._source_lost_samples,
            age_newest=age_newest,
            age_oldest=age_newest.later_by(FRAME_SAMPLES / RATE_HZ),
            connects=self._connects,
            reconnects=max(0, self._connects - 1),
            messages_received=self._received,
            messages_skipped=self._skipped,
            events_dropped=self._events.dropped,
            sessions_unended=self._slot.unended,
            first_reply=self._reply_time.distribution(),
        )

    def observed(self) -> Mapping[str, object]:
        """For observers: the session's, the gate's and the source's statistics."""
        return observed(self.statistics(), self._source)

    def _emit(self, event: LiveEvent, characters: int = 0) -> None:
        super()._emit(event, characters)
        if isinstance(self._source, TurnSource):
            self._source.note(event)

    def _choose_avatar(self) -> Avatar:
        return choose_live_avatar(self.connection, self.settings.avatar_id)

    def _license_id(self) -> str | None:
        return self._slot.start.license_id if self._slot.start else None

    async def _run_beside(self) -> None:
        """Source to outbox; never waits for the network, unless the source can wait."""
        try:
            frames = aiter(self._source) if self._frames is None else self._frames
            if self._is_lossless:
                await self._wait_begun()
            is_dropping = False
            while True:
                if self._is_lossless:
                    await self._outbox.wait_room()
                try:
                    frame = await anext(frames)
                except StopAsyncIteration:
                    break
                if not isinstance(self._source, TurnSource):
                    self._outbox.in_flight.settle()
                    self._observer.captured(frame)
                self._source_lost_samples += frame.ring_lost_samples + frame.device_lost_samples
                dropped = self._outbox.put_nowait(frame) > 0
                if dropped != is_dropping:
                    is_dropping = dropped
                    why = "the network is too slow" if self._is_begun else "the session has not begun yet"
                    self.platform.log.warning(
                        "%s", f"{why}: the oldest sound is being dropped" if dropped else "no more drops"
                    )
        except Exception as error:
            if self._is_begun:  # what came before the error is sent first, by the next link where there is none
                with contextlib.suppress(Exception), trio.move_on_after(LAST_FRAMES_S):
                    await self._outbox.wait_acknowledged()
            self._fail(error)
        else:
            self._is_source_over = True
            self._changed.unpark_all()
            if self._linger_s is not None:
                with contextlib.suppress(Exception):  # whoever waits for the session hears of it
                    await self.wait_finished()
                    await trio.sleep(self._linger_s)
                self._is_all_said = True
                self._changed.unpark_all()

    async def _clean_up(self) -> None:
        await self._slot.end_orphans(self.platform)

    async def _on_exit(self) -> None:
        await self._slot.give_back(self.platform)

    def _after_fault(self, fault: StreamFault) -> None:
        if fault.kind == "expired":
            self._slot.forget()
            if self._renews:
                self._refusals.note_doubt(Doubt.CONVERSATION)  # its id may have gone with the slot
                return
        super()._after_fault(fault)

    async def _before_link(self) -> None:
        if isinstance(self._source, TurnSource):
            self._source.follow(self.connection)
        if self._refusals.doubt:
            await self._renew_conversation()
        if self._refusals.doubt is Doubt.SLOT and self._slot.start is not None:
            if not self._renews:
                raise SessionExpiredError("the platform refuses all that is sent: it has forgotten the live session")
            await self._slot.give_back(self.platform)
        if self._slot.start is None:
            await self._slot.take(self.platform, self.avatar.id)
            if self._is_begun:
                self._emit(SessionRenewed())
        self._refusals.note_renewed()

    def _note_token(self) -> None:
        url = self.streaming_url
        if self._told_url not in (None, url) and self.platform.tokens.current is not None:
            self._emit(StreamingUrlChanged(url))
        self._told_url = url

    async def _send(self, link: Link) -> None:
        encoder = AudioEncoder(self._envelope(), plain=self._is_plain)
        send_text = partial(self._send_made, link)

        def send_now(queued: QueuedFrame) -> bool:
            if self._is_held:
                return False
            declared = self._declared(queued)
            try:
                is_sent = encoder.send_now(link, queued.frame.pcm, *declared)
            except LinkDown:
                return False  # `send` comes upon it as well, in the task that may end the link
            if is_sent:
                self._note_written(queued.frame.length_samples, declared[0])
                self._note_sent(queued)
            return is_sent

        async def send(queued: QueuedFrame) -> None:
            await self._while_held()
            declared = self._declared(queued)
            await encoder.send(link, queued.frame.pcm, *declared)
            self._note_written(queued.frame.length_samples, declared[0])

        # `send_now`: so that by this task goes only what has to wait for the socket.
        self._outbox.begin_link(link.wire, send_now, link.wire.tear)
        try:
            while True:
                queued = await self._outbox.send_next(send_text, send)
                if queued is not None:
                    self._note_sent(queued)
        finally:
            self._outbox.end_link()

    def _declared(self, queued: QueuedFrame) -> tuple[int, int]:
        """How many samples are missing before the frame, and how many of its own may have come before."""
        if not self._declares_gaps:
            return 0, 0
        lost_samples = queued.lost_samples + self._refusals.gap_samples
        return lost_samples, queued.frame.length_samples if queued.is_repeated else 0

    def _note_sent(self, queued: QueuedFrame) -> None:
        if queued.is_repeated:
            return
        frame = queued.frame
        age_s = max(0.0, time.monotonic() - frame.captured_s)
        self._age_newest.record(age_s)
        if (log := self.platform.log).is_debugging:
            what = (frame.seq, frame.length_samples, frame.rms_dbfs, age_s * 1000)
            log.debug("sent frame %d: %d samples, %.1f dBFS, %.1f ms old", *what)
        if self._on_sent is not None:
            self._on_sent(frame)
