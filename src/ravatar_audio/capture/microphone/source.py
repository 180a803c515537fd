"""What every source of frames is: an async context manager and iterator over one chain, with statistics."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

import trio

from ravatar_audio.capture.host.one_taker import OneTaker, OwnThread
from ravatar_audio.capture.microphone.capture_statistics import CaptureStatistics
from ravatar_audio.capture.microphone.events import EventLog
from ravatar_audio.capture.microphone.sound_monitor import CaptureEvent
from ravatar_audio.capture.microphone.tee import Tee
from ravatar_audio.capture.streams.stream import StreamStatistics
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import RATE_HZ, Frame
from ravatar_audio.native import Chain, ChainStatistics
from ravatar_audio.observe.observer import Observer
from ravatar_audio.worlds import check_world

DISCARD_WITHIN_SAMPLES = RATE_HZ // 100
"""How exact capture times are: a frame that begins so little before a moment is taken to begin there."""

_BLOCK_MAX_S = 0.1
"""Longest that a device is believed to gather sound before it gives it: behind more time there is a stall."""


class FrameSource(Protocol):
    """What a LiveSession takes its sound from, when it is no Source: an async iterator of Frames, made by a Converter.

    It has been opened before, is not closed by the session, and is asked for one frame at a time; it ends with
    StopAsyncIteration. `anext` is cancelled when the session ends: it must lose nothing by that if it is to be used
    again. `seq` counts frames and `position_samples` samples, both from 0 and with what was lost counted in;
    `captured_s` is a time.monotonic(). A class attribute `is_real_time = False` says that it can wait, so that nothing
    is dropped for a slow network. What has blocks of sound instead of frames pushes them to a PushSource.
    """

    def __aiter__(self) -> AsyncIterator[Frame]:
        """Give itself."""

    async def __anext__(self) -> Frame:
        """The next frame."""


class HeldFrames:
    """The frames of what is held by one taker."""

    def __init__(self, take: Callable[[], Awaitable[Frame]]) -> None:
        self._take = take

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        return await self._take()


class Source(ABC):
    """A source of frames. `async with` opens and closes it, `async for` takes its frames; one task at a time.

    What a program has to give a LiveSession is less: see FrameSource. A second consumer takes a tee().

    A second task that takes frames, or any while a TurnSource or a LiveSession has the source, gets
    trio.BusyResourceError. `request_flush`, `flush_at` and `discard` may be called by any thread. Iteration ends
    when the source is at its end or has been stopped, after the frames that it had by then.
    """

    name: str
    """What is heard: the device's name, a path, ..."""
    backend: str
    rate_hz: int
    """Of the device, as channels and format."""
    channels: int
    format: str
    is_real_time: bool = True
    """Sound comes whether it is taken or not, as a microphone's; any other source waits until it is taken."""

    def __init__(self) -> None:
        self._chain: Chain | None = None
        self._events = EventLog()
        self._tees: list[Tee] = []
        self._are_frames_cut_anew = False
        """Set by a holder that makes frames of its own of what it takes: they may be ended early, for the tees."""
        self._end_asked: int | None = None
        self._was_opened = False
        self._delivered_frames = self._delivered_samples = self._position_samples = 0
        self._discarded_samples, self._discard_s = 0, -math.inf
        self._discard_to: int | None = None
        self._one_taker, self._thread = OneTaker(), OwnThread()
        self._last_statistics = CaptureStatistics(*(0,) * 14)

    async def __aenter__(self) -> Self:
        check_world("trio", type(self).__name__)
        self._thread.enter()
        await self._open()
        self._was_opened = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        """The next frame. Never loses one to a cancellation.

        Raises RuntimeError for a source that was never opened, trio.BusyResourceError where somebody else takes frames.
        """
        return await self._take_next(None)

    @contextmanager
    def _held_by(self, holder: str) -> Iterator[AsyncIterator[Frame]]:
        """Have all frames for oneself, by the iterator that this gives; meanwhile nobody else gets any.

        Raises trio.BusyResourceError when somebody takes frames already.
        """
        with self._one_taker.hold(repr(self.name), holder):
            yield HeldFrames(lambda: self._take_next(holder))

    async def _take_next(self, holder: str | None) -> Frame:
        with self._one_taker.take(repr(self.name), holder):
            await self._yield()
            if not self._was_opened:
                raise RuntimeError(f"the {type(self).__name__} was not opened; open it with 'async with'")
            frame = None
            while frame is None:
                frame = await self._next()
                if frame is None:
                    self._end_tees()
                    raise StopAsyncIteration
                self._share(frame)
                frame = self._undiscarded(frame)
        self._note_delivered(frame)
        return frame

    async def _yield(self) -> None:
        """Let others run, and be cancelled; a source that waits in `_next` anyhow has only the latter to do."""
        await trio.lowlevel.checkpoint()

    def _note_delivered(self, frame: Frame) -> None:
        self._delivered_frames += 1
        self._delivered_samples += frame.length_samples
        self._position_samples = frame.position_samples + frame.length_samples

    def tee(self, block_s: float = 0.032, *, ring_s: float = 2.048) -> Tee:
        """A second consumer's sound, for example a wake word's, from now on: blocks of `block_s` (0.010 to 0.256 s).

        It hears what the first consumer takes, when that is taken: behind a TurnSource, and so in LiveSession.open(), a
        device block after each block's end; beside a consumer that takes the frames themselves every 256 ms, as these
        are not cut for it. It also hears what a gate leaves out, and what is discarded. It has counters of its own, and
        slows nobody down: what waits for longer than `ring_s` (0.256 to 600) is dropped, and counted there. Any number
        of them may be made, before the source is opened too. Raises SettingsError for lengths out of range.
        """
        made = Tee(block_s, ring_s)
        self._tees.append(made)
        return made

    def _share(self, frame: Frame) -> None:
        if not self._tees:
            return
        for tee in self._tees:
            tee.hear(frame)
        if self._end_asked is not None and self._end_asked <= frame.position_samples + frame.length_samples:
            self._end_asked = None
        if self._are_frames_cut_anew:
            self._end_frame()

    def _end_frame(self) -> None:
        """Let the open frame end where it was asked for, or where a tee's block ends, whichever comes first."""
        ends = [tee.next_end for tee in self._tees] if self._are_frames_cut_anew else []
        known = [end for end in (self._end_asked, *ends) if end is not None]
        self._flush_at(min(known) if known else None)

    def _end_tees(self) -> None:
        for tee in self._tees:
            tee.close()

    def _close_listeners(self) -> None:
        """Once it is closed: end the events, and every tee."""
        self._events.close()
        self._end_tees()

    def discard(self) -> None:
        """Forget what was captured until now, to within 10 ms, and was not taken yet.

        A LiveSession does so when it begins, so that nobody hears what was said before it, unless the source can wait.
        """
        self._thread.run(self._discard)

    def _discard(self) -> None:
        self._discard_s = self._now_s()
        while (frame := self._take_waiting()) is not None:
            self._share(frame)
            self._discarded_samples += frame.length_samples
        self._discard_to = self._end_frame_here()

    def _end_frame_here(self) -> int | None:
        """Let the next frame begin with the sound of now, at the position returned; None: nothing has come yet.

        A frame that is cut instead is filled up with silence, which would stand in the middle of the first words.
        """
        if self._chain is None or not (counts := self._chain.statistics()).blocks:
            return None
        since_s = min(max(0.0, self._now_s() - counts.last_block_ns / 1e9), _BLOCK_MAX_S) + self.group_delay_s
        position = self._chain.first_position + counts.converted_samples + round(since_s * RATE_HZ)
        self._flush_at(position)
        return position

    def _undiscarded(self, frame: Frame) -> Frame | None:
        if self._discard_s == -math.inf:
            return frame
        left = frame_since(frame, self._discard_s, self._discard_to)
        self._discarded_samples += frame.length_samples - (left.length_samples if left else 0)
        if left is not None:
            self._discard_s = -math.inf
        return left

    def _waiting_frames(self) -> Iterator[Frame]:
        """The frames that are there, for the holder, without waiting for more."""
        while (frame := self._take_waiting()) is not None:
            self._share(frame)
            self._note_delivered(frame)
            yield frame

    def _take_waiting(self) -> Frame | None:
        """A frame that is there, for whoever does not wait for one."""
        return self._chain.take() if self._chain else None

    def _now_s(self) -> float:
        return time.monotonic()

    def events(self) -> trio.MemoryReceiveChannel[CaptureEvent]:
        """What happened besides frames, for `async for`; ends when the source is closed. Each event has one reader.

        A microphone's come when they happen, whether frames are taken or not; another source's while frames are taken.
        """
        return self._events.receiver()

    def _observe(self, observer: Observer) -> None:
        """Let it hear each event, whoever reads them."""
        self._events.observer = observer

    def _emit(self, kind: str, message: str, at_s: float | None = None) -> None:
        """Something happened, now or at `at_s`."""
        now_s = time.monotonic() if at_s is None else at_s
        self._put(CaptureEvent(kind, now_s, message, self._position_samples))

    def _put(self, event: CaptureEvent) -> None:
        self._events.put(self.name, event)

    @abstractmethod
    async def _open(self) -> None:
        """Open the device or file and self._chain."""

    @abstractmethod
    async def _next(self) -> Frame | None:
        """The next frame, or None at the end."""

    @abstractmethod
    async def stop(self) -> None:
        """Capture no more: iteration ends after the frames there are, the last one flushed. May be called again."""

    @abstractmethod
    async def aclose(self) -> None:
        """Stop and free everything; frames not taken yet are gone. May be called again."""

    @property
    def group_delay_s(self) -> float:
        """What the resampler delays live sound by; 0 when closed."""
        return self._chain.group_delay_s if self._chain else 0.0

    def request_flush(self) -> None:
        """Let the frame that is being filled end with the next block: for a turn's end. Does nothing when closed."""
        self._thread.run(self._request_flush)

    def flush_at(self, position_samples: int | None) -> None:
        """Let the open frame end at a position (16 kHz, as Frame.position_samples counts), to the sample.

        None takes the request back; the newest request counts, request_flush() included. Does nothing when closed.
        Raises SettingsError for what is no position.
        """
        if position_samples is not None and not (isinstance(position_samples, int) and abs(position_samples) < 2**63):
            raise SettingsError(f"position_samples is {position_samples!r}; it must be a whole number, or None")
        self._thread.run(lambda: self._ask_end(position_samples))

    def _ask_end(self, position_samples: int | None) -> None:
        self._end_asked = position_samples
        self._end_frame()

    def _request_flush(self) -> None:
        if self._chain:
            self._chain.request_flush()

    def _flush_at(self, position_samples: int | None) -> None:
        if self._chain:
            self._chain.flush_at(position_samples)

    def tap(self, seconds: float) -> None:
        """From now on keep the sound of all channels, also of those that are not heard, for so long; see tapped().

        Of an open source, once.
        """
        if self._chain:
            self._chain.tap(round(seconds * self.rate_hz))

    def tapped(self) -> tuple[bytes, tuple[int, ...]]:
        """What tap() has kept by now, interleaved, in the device's format; and which channels are heard."""
        return (self._chain.tapped(), self._chain.channels_heard) if self._chain else (b"", ())

    def statistics(self) -> CaptureStatistics:
        """Counters as of now; once closed, as of then."""
        if self._chain:
            self._last_statistics = self._summed(self._chain_statistics(self._chain), self._stream_statistics())
        return self._last_statistics

    def _chain_statistics(self, chain: Chain) -> ChainStatistics:
        return chain.statistics()

    @property
    def _drift_ppm(self) -> float | None:
        return None

    @property
    def _block_s(self) -> float:
        counts = self._chain.statistics() if self._chain else None
        return counts.device_samples / counts.blocks / self.rate_hz if counts and counts.blocks else 0.0

    def _stream_statistics(self) -> StreamStatistics | None:
        return None

    def _close_chain(self) -> None:
        if self._chain:
            self.statistics()
            self._chain.close()
            self._chain = None

    def _summed(self, chain: ChainStatistics, stream: StreamStatistics | None) -> CaptureStatistics:
        return CaptureStatistics(
            captured_samples=chain.converted_samples,
            delivered_samples=self._delivered_samples,
            ring_dropped_samples=chain.ring_dropped_samples,
            pending_samples=chain.converted_samples
            - chain.ring_dropped_samples
            - self._delivered_samples
            - self._discarded_samples,
            device_lost_samples=chain.device_lost_samples,
            device_overruns=chain.device_overruns,
            delivered_frames=self._delivered_frames,
            ring_dropped_frames=chain.ring_dropped_frames,
            device_samples=chain.device_samples,
            blocks=chain.blocks,
            clipped=chain.clipped,
            longest_block_s=stream.longest_block_s if stream else 0.0,
            untimed_blocks=stream.untimed_blocks if stream else 0,
            wake_failures=chain.wake_failures,
            drift_ppm=self._drift_ppm,
            block_s=self._block_s,
            discarded_samples=self._discarded_samples,
            is_real_time=stream.is_real_time if stream else False,
        )


def frame_since(frame: Frame, begin_s: float, begin: int | None = None) -> Frame | None:
    """What was captured of a frame from a moment on; None: nothing. Of what the ring dropped before it, what came since
    then is still lost. `begin`: the moment's position, as far as that was known by then, at which a frame ends."""
    old_samples = frame.length_samples - round((frame.captured_s - begin_s) * RATE_HZ)
    is_before = begin is not None and frame.position_samples + frame.length_samples <= begin
    if is_before or old_samples >= frame.length_samples:
        return None
    if old_samples > DISCARD_WITHIN_SAMPLES:
        return frame.after(old_samples)
    lost_samples = min(frame.ring_lost_samples, max(0, -old_samples))
    is_discontinuous = frame.discontinuity and lost_samples + frame.device_lost_samples > 0
    return frame._replace(ring_lost_samples=lost_samples, discontinuity=is_discontinuous)
