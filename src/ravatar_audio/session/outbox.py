"""What stands between the source and the network: a short queue of frames that drops the oldest when it is full."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

import trio

from ravatar_audio.api.messages import Envelope
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame


class Parcel(NamedTuple):
    """A frame on its way, and how much sound was lost between the frame sent before it and this one."""

    frame: Frame
    lost_samples: int = 0


MakeText = Callable[[Envelope], str]


@dataclass(slots=True, eq=False)
class TextItem:
    """A message that goes before all frames; `make` writes it when a connection is there."""

    make: MakeText
    is_written: bool = False


class Outbox:
    """At most `limit_s` seconds of sound. Taken = sent + dropped + pending in samples, at every moment.

    `put_nowait` never waits. The one frame that is being sent is pending, and goes back to the front when it fails.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_samples = max(1, round(limit_s * RATE_HZ))
        self._frames: deque[Parcel] = deque()
        self._texts: deque[TextItem] = deque()
        self._in_flight: Parcel | None = None
        self._queued_samples = 0
        self._failure: Exception | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self.send_now: Callable[[Parcel], bool] | None = None
        """Sends a frame without waiting, or begins to: False, then `send_next` does (the rest of) it. None: no link."""
        self.taken_frames = self.taken_samples = 0
        self.sent_frames = self.sent_samples = 0
        self.dropped_frames = self.dropped_samples = 0

    @property
    def pending_frames(self) -> int:
        """Waiting, or being sent."""
        return len(self._frames) + (self._in_flight is not None)

    @property
    def pending_samples(self) -> int:
        """In the frames that wait or are being sent."""
        return self._queued_samples + (self._in_flight.frame.length_samples if self._in_flight else 0)

    def put_nowait(self, frame: Frame) -> int:
        """Add a frame, and return how many samples had to be dropped for it.

        When nothing else waits it is sent here and now if that can be: no task has to be woken for it.
        """
        self.taken_frames += 1
        self.taken_samples += frame.length_samples
        parcel = Parcel(frame, frame.ring_lost_samples + frame.device_lost_samples)
        dropped_samples = 0
        if self.send_now is None or self._frames or self._texts or self._in_flight is not None:
            self._frames.append(parcel)
            self._queued_samples += frame.length_samples
            dropped_samples = self._drop_to_limit()
        elif self.send_now(parcel):
            self._note_sent(frame)
            return 0
        else:
            self._in_flight = parcel
        self._changed.unpark_all()
        return dropped_samples

    def fail(self, error: Exception) -> None:
        """Nothing will be sent any more: whoever waits here gets the error."""
        self._failure = error
        self._changed.unpark_all()

    async def wait_room(self) -> None:
        """Wait until a whole frame fits in without a drop: for sources that can wait."""
        while self.pending_frames and self.pending_samples + FRAME_SAMPLES > self._limit_samples:
            await self._wait_change()

    async def wait_empty(self) -> None:
        """Wait until nothing is pending."""
        while self.pending_frames or self._texts:
            await self._wait_change()

    async def put_text(self, make: MakeText) -> None:
        """Send a message before all frames that wait, and wait until the socket has it."""
        item = TextItem(make)
        self._texts.append(item)
        self._changed.unpark_all()
        try:
            while not item.is_written:
                await self._wait_change()
        finally:
            if item in self._texts:
                self._texts.remove(item)

    async def _wait_change(self) -> None:
        if self._failure is not None:
            raise self._failure
        await self._changed.park()

    async def send_next(
        self, send_text: Callable[[MakeText], Awaitable[None]], send: Callable[[Parcel], Awaitable[None]]
    ) -> Frame | None:
        """Wait for something to send, and send it; returns the frame, or None for a text.

        When sending fails or is cancelled it was not sent as a whole, and is the first to be tried next time.
        """
        await trio.lowlevel.checkpoint()
        while not self._frames and not self._texts and self._in_flight is None:
            await self._changed.park()
        if self._texts and self._in_flight is None:
            item = self._texts[0]
            await send_text(item.make)
            if item in self._texts:
                self._texts.remove(item)
            item.is_written = True
            self._changed.unpark_all()
            return None
        if self._in_flight is None:
            self._in_flight = self._frames.popleft()
            self._queued_samples -= self._in_flight.frame.length_samples
        parcel = self._in_flight
        try:
            await send(parcel)
        except BaseException:
            self._in_flight = None
            self._frames.appendleft(parcel)
            self._queued_samples += parcel.frame.length_samples
            self._drop_to_limit()
            raise
        self._in_flight = None
        self._note_sent(parcel.frame)
        self._changed.unpark_all()
        return parcel.frame

    def _note_sent(self, frame: Frame) -> None:
        self.sent_frames += 1
        self.sent_samples += frame.length_samples

    def _drop_to_limit(self) -> int:
        """Drop the oldest until the rest fits; the next frame carries the mark. The newest always stays."""
        dropped_samples = 0
        while self.pending_samples > self._limit_samples and len(self._frames) > 1:
            oldest = self._frames.popleft()
            samples = oldest.frame.length_samples
            self._queued_samples -= samples
            self.dropped_frames += 1
            self.dropped_samples += samples
            dropped_samples += samples
            first = self._frames[0]
            self._frames[0] = Parcel(first.frame, first.lost_samples + oldest.lost_samples + samples)
        return dropped_samples
