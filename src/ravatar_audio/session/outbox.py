"""What stands between the source and the network: a short queue of frames that drops the oldest when it is full."""

import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import outcome
import trio

from ravatar_audio.api.messages import Envelope
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.observe.observer import Observer
from ravatar_audio.session.in_flight import InFlight, QueuedFrame, Wire

LOOK_S = 0.02
"""How often the system is asked while sound waits for what is under way: it has no event for it."""

MakeText = Callable[[Envelope], str]
SendNow = Callable[[QueuedFrame], bool]


@dataclass(slots=True, eq=False)
class QueuedText:
    """A message that goes before all frames; `make` writes it when a connection is there."""

    make: MakeText
    sender: trio.lowlevel.Task = field(repr=False)
    """Sleeps until it is written."""


class Outbox:
    """At most `limit_s` seconds of sound, and what was written of it until that is acknowledged.

    Taken = acknowledged + in flight + dropped (by cause) + pending in samples, at every moment. `put_nowait` never
    waits. The one frame that is being sent is pending, and goes back to the front when it fails.

    Sound under way counts as well: no more is written than the line takes without a queue, and as long as the line gets
    on, what waits and what is under way together are no more than the limit. What a lost connection has not
    acknowledged goes again, before all else, where it is no older than the limit.
    """

    def __init__(self, limit_s: float, *, is_lossless: bool = False) -> None:
        """`is_lossless`: the source waits for room, and nothing is ever dropped."""
        self._limit_s = limit_s
        self._limit_samples = max(1, round(limit_s * RATE_HZ))
        self._frames: deque[QueuedFrame] = deque()
        self._texts: deque[QueuedText] = deque()
        self._being_sent: QueuedFrame | None = None
        self._text_being_sent: QueuedText | None = None
        self._queued_samples = 0
        self._owed_samples = 0
        """Lost behind the newest frame: the next one says so."""
        self._failure: Exception | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._send_now: SendNow | None = None
        self._tear: Callable[[], None] | None = None
        self.is_lossless = is_lossless
        self.in_flight: InFlight = InFlight()
        self._observer = Observer()
        self.taken_frames: int = 0
        self.taken_samples: int = 0
        self.dropped_frames: int = 0
        self.dropped_samples: dict[str, int] = {"outbox": 0, "in_flight": 0}
        """By cause: waited too long; written to a connection that was lost before it was acknowledged, and too old."""
        self.repeated_frames: int = 0
        self.repeated_samples: int = 0
        """Written again."""

    def observe(self, observer: Observer) -> None:
        """Let it hear what is written, acknowledged and dropped."""
        self._observer = self.in_flight.observer = observer

    @property
    def pending_frames(self) -> int:
        """Waiting, or being sent."""
        return len(self._frames) + (self._being_sent is not None)

    @property
    def pending_samples(self) -> int:
        """In the frames that wait or are being sent."""
        return self._queued_samples + (self._being_sent.frame.length_samples if self._being_sent else 0)

    @property
    def sent_frames(self) -> int:
        """Written, and not known to be lost."""
        return self.in_flight.acknowledged_frames + self.in_flight.frames

    @property
    def sent_samples(self) -> int:
        """In the frames that were written and are not known to be lost."""
        return self.in_flight.acknowledged_samples + self.in_flight.samples

    # A connection comes and goes.

    def begin_link(self, wire: Wire, send_now: SendNow | None = None, tear: Callable[[], None] | None = None) -> None:
        """A connection is there: what the last one has not acknowledged goes again, where it is not too old.

        `send_now` sends a frame without waiting, or begins to: False, then `send_next` does (the rest of) it. `tear`
        makes the connection useless, so that what is being written never becomes a whole message.
        """
        left, is_told = self.in_flight.take_all()
        self.in_flight.begin(wire)
        if self._being_sent is not None:  # begun on the last connection; the rest of it will never follow
            self._put_back(self._being_sent)
            self._being_sent = None
        oldest_s = -math.inf if self.is_lossless else trio.current_time() - self._limit_s
        lost_samples = 0
        again: list[QueuedFrame] = []
        for queued in left:
            queued = queued._replace(is_repeated=True, lost_samples=queued.lost_samples + lost_samples)
            if is_told and queued.taken_s >= oldest_s:
                again.append(queued)
                lost_samples = 0
            else:
                lost_samples = self._count_dropped(queued)
        for queued in reversed(again):
            self._put_back(queued)
        self._owe(lost_samples)
        self._drop_to_limit()
        self._send_now, self._tear = send_now, tear
        self._changed.unpark_all()

    def end_link(self) -> None:
        """The connection is over."""
        self._send_now = self._tear = None
        self.in_flight.end()

    def fail(self, error: Exception) -> None:
        """Nothing will be sent any more: whoever waits here gets the error."""
        self._failure = error
        self._changed.unpark_all()
        for item in self._texts:
            trio.lowlevel.reschedule(item.sender, outcome.Error(error))
        self._texts.clear()

    # The source's side.

    def put_nowait(self, frame: Frame) -> int:
        """Add a frame, and return how many samples had to be dropped for it.

        When nothing else waits it is sent here and now if that can be: no task has to be woken for it.
        """
        self.taken_frames += 1
        self.taken_samples += frame.length_samples
        self._observer.taken(frame)
        lost_samples = frame.ring_lost_samples + frame.device_lost_samples + self._owed_samples
        self._owed_samples = 0
        queued = QueuedFrame(frame, lost_samples, trio.current_time())
        dropped_samples = 0
        if (
            self._send_now is None
            or self._frames
            or self._texts
            or self._being_sent is not None
            or self.in_flight.is_full()
        ):
            self._frames.append(queued)
            self._queued_samples += frame.length_samples
            dropped_samples = self._drop_to_limit()
        elif self._send_now(queued):
            self._note_written(queued)
            return 0
        else:
            self._being_sent = queued
        self._changed.unpark_all()
        return dropped_samples

    async def wait_room(self) -> None:
        """Wait until a whole frame fits in without a drop: for sources that can wait."""
        while self.pending_frames and self.pending_samples + FRAME_SAMPLES > self._limit_samples:
            await self._wait_change()

    async def wait_empty(self) -> None:
        """Wait until nothing is pending."""
        while self.pending_frames or self._texts:
            await self._wait_change()

    async def wait_acknowledged(self) -> None:
        """Wait until nothing is pending and all frames are acknowledged, where this system reports that."""
        while True:
            await self.wait_empty()
            self.in_flight.settle()
            if not self.in_flight.frames or not self.in_flight.is_told:
                return
            with trio.move_on_after(LOOK_S):
                await self._wait_change()

    async def put_text(self, make: MakeText) -> None:
        """Send a message before all frames that wait, and wait until the socket has it. Cancelled, it is not sent.

        What has been written of it by then stays half a message: the connection is torn, and another one made.
        """
        if self._failure is not None:
            raise self._failure
        item = QueuedText(make, trio.lowlevel.current_task())
        self._texts.append(item)
        self._changed.unpark_all()

        def withdraw(_: object) -> trio.lowlevel.Abort:
            self._texts.remove(item)
            if self._text_being_sent is item and self._tear is not None:
                self._tear()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(withdraw)

    async def _wait_change(self) -> None:
        if self._failure is not None:
            raise self._failure
        await self._changed.park()

    # The connection's side.

    async def send_next(
        self, send_text: Callable[[MakeText], Awaitable[None]], send: Callable[[QueuedFrame], Awaitable[None]]
    ) -> QueuedFrame | None:
        """Wait for something to send, and send it; returns the frame, or None for a text.

        When sending fails or is cancelled it was not sent as a whole, and is the first to be tried next time.
        """
        await trio.lowlevel.checkpoint()
        while self._being_sent is None:
            if self._texts:
                await self._send_text(send_text)
                return None
            if not self._frames:
                await self._changed.park()
            elif self.in_flight.is_full():
                with trio.move_on_after(LOOK_S):
                    await self._changed.park()
            else:
                self._being_sent = self._frames.popleft()
                self._queued_samples -= self._being_sent.frame.length_samples
        queued = self._being_sent
        try:
            await send(queued)
        except BaseException:
            self._being_sent = None
            self._put_back(queued)
            self._drop_to_limit()
            raise
        self._being_sent = None
        self._note_written(queued)
        self._changed.unpark_all()
        return queued

    async def _send_text(self, send_text: Callable[[MakeText], Awaitable[None]]) -> None:
        item = self._text_being_sent = self._texts[0]
        try:
            await send_text(item.make)
        finally:
            self._text_being_sent = None
        # Nothing has been waited for since the last byte was taken: who sends it cannot have been cancelled since.
        self._texts.remove(item)
        trio.lowlevel.reschedule(item.sender)
        self._changed.unpark_all()

    # Bookkeeping.

    def _note_written(self, queued: QueuedFrame) -> None:
        self.in_flight.add(queued)
        self._observer.written(queued.frame, queued.lost_samples, queued.is_repeated)
        if queued.is_repeated:
            self.repeated_frames += 1
            self.repeated_samples += queued.frame.length_samples

    def _put_back(self, queued: QueuedFrame) -> None:
        self._frames.appendleft(queued)
        self._queued_samples += queued.frame.length_samples

    def _owe(self, lost_samples: int) -> None:
        """The next frame carries the mark, be it there or still to come."""
        if lost_samples and self._frames:
            first = self._frames[0]
            self._frames[0] = first._replace(lost_samples=first.lost_samples + lost_samples)
        else:
            self._owed_samples += lost_samples

    def _count_dropped(self, queued: QueuedFrame) -> int:
        """Returns what the frame behind it has to say is missing."""
        samples = queued.frame.length_samples
        self.dropped_frames += 1
        cause = "in_flight" if queued.is_repeated else "outbox"
        self.dropped_samples[cause] += samples
        self._observer.dropped(queued.frame, cause)
        return queued.lost_samples + samples

    def _drop_to_limit(self) -> int:
        """Drop the oldest until the rest fits; the newest always stays. Returns how much was dropped."""
        if self.is_lossless:
            return 0
        limit_samples = self._limit_samples - self.in_flight.moving_samples()
        before_samples = self._queued_samples
        while self.pending_samples > limit_samples and len(self._frames) > 1:
            oldest = self._frames.popleft()
            self._queued_samples -= oldest.frame.length_samples
            self._owe(self._count_dropped(oldest))
        return before_samples - self._queued_samples
