"""Live Mode: sound goes up as it is captured, events come down, and the slot is given back on every way out."""

import contextlib
import time
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import trio

from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.api.closing import LinkDown
from ravatar_audio.api.groups import alone
from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import Link, LinkLimits
from ravatar_audio.api.messages import StreamFault
from ravatar_audio.api.results import Avatar, LiveStart, viewer_url
from ravatar_audio.errors import BadRequestError, ProtocolError, RavatarError
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.observe.histogram import Distribution, Histogram
from ravatar_audio.session.choosing import choose_live_avatar
from ravatar_audio.session.conversation import Conversation
from ravatar_audio.session.events import LiveEvent, SessionRenewed
from ravatar_audio.session.in_flight import QueuedFrame
from ravatar_audio.session.state import KeptLicense
from ravatar_audio.session.turn_source import TurnSource
from ravatar_audio.settings import Settings

END_LIMIT_S = 3.0
"""For giving the slot back on the way out, tries included; after that the next start does it."""

LAST_FRAMES_S = 1.0
"""For sending what waits when the source has failed."""

ACKNOWLEDGEMENT_LOOK_S = 0.01
SLOT_GRACE_S = 0.06
"""How long a cancelled request for a slot may go on, so that the slot can be given back."""


@dataclass(frozen=True, slots=True)
class LiveStatistics:
    """Counters of a live session. taken = sent + dropped + pending, and sent = acknowledged + in flight, in frames and
    in samples, at every moment.

    Samples are at 16 kHz and count a frame's true length.
    """

    taken_frames: int
    taken_samples: int
    """Taken from the source."""
    sent_frames: int
    sent_samples: int
    """Written to a socket as a whole, and not known to be lost."""
    acknowledged_frames: int
    acknowledged_samples: int
    """Of these, what the peer's system has acknowledged: it is there, whatever becomes of the connection."""
    in_flight_frames: int
    in_flight_samples: int
    """Of these, what is under way. When the connection is lost it goes again where it is no older than `outbox_ms`."""
    acknowledgements_known: bool
    """This system tells what is acknowledged (Linux). Elsewhere that is what was written 8 s ago, and what a lost
    connection took in its last 8 s counts as lost, "in_flight"."""
    repeated_frames: int
    repeated_samples: int
    """Written again on another connection, as it was not acknowledged on the first: it may have come twice."""
    dropped_frames: int
    dropped_samples: Mapping[str, int]
    """By cause: "outbox" - waited too long for the network; "in_flight" - written to a connection that was lost before
    it was acknowledged, and too old to be sent again. Of the latter some may have been heard all the same."""
    pending_frames: int
    pending_samples: int
    source_lost_samples: int
    """Lost before they were taken, as frames told: the ring was full, or the device lost them."""
    age_newest: Distribution
    """How old a frame's newest sample was when the message had been written."""
    age_oldest: Distribution
    """The same of its oldest sample, had each frame been a whole one: 256 ms more."""
    connects: int
    reconnects: int
    messages_received: int
    messages_skipped: int
    """Not JSON."""
    events_dropped: int
    """Nobody took them from `events()`."""


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
    `lossless`: the source can wait (a file, not a microphone), so nothing is dropped for a slow network; default: what
    the source says (`is_real_time`). `declare_gaps`: a message behind a gap says how many samples are missing, and
    one that may come a second time says so.
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
        slot_wait_s: float | None = None,
        renew: bool | None = None,
        reconnect_limit_s: float | None = 120.0,
        lossless: bool | None = None,
        declare_gaps: bool = True,
        plain: bool = False,
        on_sent: Callable[[Frame], None] | None = None,
        limits: LinkLimits | None = None,
    ) -> None:
        super().__init__(settings, platform=platform, reconnect_limit_s=reconnect_limit_s, limits=limits)
        self._source = source
        self._slot_wait_s = settings.slot_wait_s if slot_wait_s is None else slot_wait_s
        self._renews = settings.renew if renew is None else renew
        self._is_lossless = not getattr(source, "is_real_time", True) if lossless is None else lossless
        self._outbox.is_lossless = self._is_lossless
        self._declares_gaps = declare_gaps
        self._is_plain = plain
        self._on_sent = on_sent
        self._is_source_over = self._are_orphans_ended = False
        self._license: KeptLicense | None = None
        self._start: LiveStart | None = None
        self._age_newest = Histogram()
        self._source_lost_samples = 0

    @property
    def streaming_url(self) -> str:
        """Where the avatar can be seen, ready for an iframe: with a token, and https where the platform is https.

        It holds a secret. It changes when the session is renewed.
        """
        self._check_entered()
        token = self.platform.tokens.current or ""
        url = self._start.streaming_url if self._start else ""
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
        outbox, age_newest = self._outbox, self._age_newest.distribution()
        outbox.in_flight.settle()
        return LiveStatistics(
            taken_frames=outbox.taken_frames,
            taken_samples=outbox.taken_samples,
            sent_frames=outbox.sent_frames,
            sent_samples=outbox.sent_samples,
            dropped_frames=outbox.dropped_frames,
            acknowledged_frames=outbox.in_flight.acknowledged_frames,
            acknowledged_samples=outbox.in_flight.acknowledged_samples,
            in_flight_frames=outbox.in_flight.frames,
            in_flight_samples=outbox.in_flight.samples,
            acknowledgements_known=outbox.in_flight.is_told,
            repeated_frames=outbox.repeated_frames,
            repeated_samples=outbox.repeated_samples,
            dropped_samples=dict(outbox.dropped_samples),
            pending_frames=outbox.pending_frames,
            pending_samples=outbox.pending_samples,
            source_lost_samples=self._source_lost_samples,
            age_newest=age_newest,
            age_oldest=age_newest.later_by(FRAME_SAMPLES / RATE_HZ),
            connects=self._connects,
            reconnects=max(0, self._connects - 1),
            messages_received=self._received,
            messages_skipped=self._skipped,
            events_dropped=self._events_dropped,
        )

    def _tell(self, event: LiveEvent, characters: int = 0) -> None:
        super()._tell(event, characters)
        if isinstance(self._source, TurnSource):
            self._source.note(event)

    def _choose_avatar(self) -> Avatar:
        return choose_live_avatar(self.connection, self.settings.avatar_id)

    def _license_id(self) -> str | None:
        return self._start.license_id if self._start else None

    async def _run_beside(self) -> None:
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
                    why = "the network is too slow" if self._is_begun else "the session has not begun yet"
                    self.platform.log.warning(
                        "%s", f"{why}: the oldest sound is being dropped" if dropped else "no more drops"
                    )
        except Exception as error:
            if self._link is not None:  # what came before the error is sent first
                with contextlib.suppress(Exception), trio.move_on_after(LAST_FRAMES_S):
                    await self._outbox.wait_empty()
            self._fail(error)
        else:
            self._is_source_over = True
            self._changed.unpark_all()

    def _after_fault(self, fault: StreamFault) -> None:
        if fault.kind == "expired":
            self._forget_license()
            if self._renews:
                return
        super()._after_fault(fault)

    async def _before_link(self) -> None:
        if isinstance(self._source, TurnSource):
            self._source.follow(self.connection)
        if not self._are_orphans_ended:
            self._are_orphans_ended = True
            await self._end_orphans()
        if self._start is None:
            await self._take_slot()

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

    async def _send(self, link: Link) -> None:
        encoder = AudioEncoder(self._envelope(), plain=self._is_plain)
        send_text = partial(self._send_made, link)

        def send_now(queued: QueuedFrame) -> bool:
            try:
                is_sent = encoder.send_now(link, queued.frame.pcm, *self._declared(queued))
            except LinkDown:
                return False  # `send` comes upon it as well, in the task that may end the link
            if is_sent:
                self._note_sent(queued)
            return is_sent

        async def send(queued: QueuedFrame) -> None:
            await encoder.send(link, queued.frame.pcm, *self._declared(queued))

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
        return queued.lost_samples, queued.frame.length_samples if queued.is_repeated else 0

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

    # Giving the slot back.

    def _forget_license(self) -> None:
        if self._license is not None:
            self._license.forget()
        self._license = self._start = None

    async def _on_exit(self) -> None:
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
