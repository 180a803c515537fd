"""What every source of frames is: an async context manager and iterator over one chain, with statistics."""

import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import trio

from ravatar_audio.capture.events import Events
from ravatar_audio.capture.stream import StreamStatistics
from ravatar_audio.capture.watchdog import CaptureEvent
from ravatar_audio.frames import RATE_HZ, Frame
from ravatar_audio.native import Chain, ChainStatistics
from ravatar_audio.worlds import check_world


@dataclass(frozen=True, slots=True)
class CaptureStatistics:
    """What a source has captured since it was opened. Samples are at 16 kHz, but for `device_samples`.

    captured = delivered + ring_dropped + pending, always.
    """

    captured_samples: int
    """Converted: delivered, dropped or pending."""
    delivered_samples: int
    """In frames that the program has taken."""
    ring_dropped_samples: int
    """In frames that were dropped because the program did not take them in time."""
    pending_samples: int
    """In frames that wait, and in the open one; once closed: never delivered."""
    device_lost_samples: int
    """Lost before they reached the program, each gap right to within a block; where a sound server moved the stream to
    another source, or did not keep up itself, as nearly as its clients can tell.

    With the backend "pyaudio" behind a sound server: as far as that said."""
    device_overruns: int
    """Times that the device said it had lost sound."""
    delivered_frames: int
    ring_dropped_frames: int
    device_samples: int
    """Per channel, in the device's rate."""
    blocks: int
    clipped: int
    """Device samples at full scale."""
    longest_block_s: float
    """Most time that the audio thread spent on one block; 0 for sources without an audio thread."""
    untimed_blocks: int
    """Blocks whose capture time the device did not tell, so that the time of arrival was taken."""
    wake_failures: int
    drift_ppm: float | None = None
    """By how much the device's clock is fast against the system's, in parts per million; None: not known (yet).

    Measured since the last gap: after 2 s good to some 50 ppm, after a minute to 2, after ten minutes to a tenth.
    """
    block_s: float = 0.0
    """Mean length of the blocks that the device delivers; 0: none yet. Of the device that is used now."""
    is_real_time: bool = False
    """The audio thread runs at a real-time priority that we gave it. Not with the backend "pyaudio", nor on systems and
    hosts that give their audio threads one themselves."""


class Source(ABC):
    """A source of frames. `async with` opens and closes it, `async for` takes its frames; one task at a time.

    Iteration ends when the source is at its end or has been stopped, after the frames that it had by then.
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
        self._events = Events()
        self._was_opened = False
        self._delivered_frames = self._delivered_samples = self._position_samples = 0
        self._last_statistics = CaptureStatistics(*(0,) * 14)

    async def __aenter__(self) -> Self:
        check_world("trio", type(self).__name__)
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
        """The next frame. Never loses one to a cancellation. Raises RuntimeError for a source that was never opened."""
        await trio.lowlevel.checkpoint()
        if not self._was_opened:
            raise RuntimeError(f"the {type(self).__name__} was not opened; open it with 'async with'")
        frame = await self._next()
        if frame is None:
            raise StopAsyncIteration
        self._delivered_frames += 1
        self._delivered_samples += frame.length_samples
        self._position_samples = frame.position_samples + frame.length_samples
        return frame

    def events(self) -> trio.MemoryReceiveChannel[CaptureEvent]:
        """What happened besides frames, for `async for`; ends when the source is closed. Each event has one reader.

        Events come about while frames are taken, by whichever task does that.
        """
        return self._events.receiver()

    def _tell(self, kind: str, message: str, at_s: float | None = None) -> None:
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
        if self._chain:
            self._chain.request_flush()

    def flush_at(self, position_samples: int | None) -> None:
        """Let the open frame end at a position (16 kHz, as Frame.position_samples counts), to the sample.

        None takes the request back; the newest request counts, request_flush() included. Does nothing when closed.
        """
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
            pending_samples=chain.converted_samples - chain.ring_dropped_samples - self._delivered_samples,
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
            is_real_time=stream.is_real_time if stream else False,
        )


def ring_capacity(ring_s: float) -> int:
    """Whole frames that hold at least `ring_s` seconds."""
    return max(1, math.ceil(ring_s * RATE_HZ / 4_096))
