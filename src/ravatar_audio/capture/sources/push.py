"""Sound that the program has itself - from WebRTC, SIP, a robot's bus - through the same chain as a microphone's."""

import math
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Unpack

import trio

from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.capture.microphone.source import Source
from ravatar_audio.choices import SampleFormat
from ravatar_audio.conversion import CaptureOptions, Conversion
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.native import SAMPLE_BYTES, Chain

if TYPE_CHECKING:
    from typing import Any

    from _typeshed import ReadableBuffer
    from numpy.typing import NDArray

    Sound = ReadableBuffer | NDArray[Any]

_PIECE_S = 0.100
"""Longest piece that is given to the chain at once: it ends at most one frame, so that room for one is enough."""
_SPARE_FRAMES = 3
"""Slots of the ring that are kept free: the open frame's, one for a flush, one for what the end brings."""
_AFTER_THE_END = "the source's sound is at its end; nothing can be pushed after finish()"


class PushSource(Source):
    """Sound that is pushed, as an async iterator of frames:

        source = PushSource(rate_hz=48_000, channels=2, format="float32")
        async with source, LiveSession(settings, source) as live:
            ...
            source.push_nowait(block)  # from any thread or task

    `rate_hz` (8,000 to 192,000), `channels` (1 to 32) and `format` ("int16", "int24", "int32", "float32", "uint8") are
    those of what is pushed. `when_full` is what happens when the program does not take its frames, or the network is
    too slow for them: "drop" loses sound and counts it, as with a microphone; "wait" lets `push` wait, and nothing is
    lost. `channels_heard`, `profile`, `gain_db`, `dc_block` and `ring_s` are the microphone's.

    Nothing is kept from before it is opened or after it is closed. Raises SettingsError for values out of range.
    """

    backend = "push"

    def __init__(
        self,
        *,
        rate_hz: int = RATE_HZ,
        channels: int = 1,
        format: SampleFormat = "int16",
        when_full: Literal["drop", "wait"] = "drop",
        **conversion: Unpack[CaptureOptions],
    ) -> None:
        super().__init__()
        if when_full not in ("drop", "wait"):
            raise SettingsError(f"when_full is {when_full!r}; it is 'drop' or 'wait'")
        self.name = "pushed sound"
        self.rate_hz: int = rate_hz
        self.channels: int = channels
        self.format: str = format
        self.is_real_time: bool = when_full == "drop"
        self._conversion = Conversion.asked(conversion)
        self._capacity_frames = max(_SPARE_FRAMES + 1, self._conversion.capacity_frames)
        self._lock = threading.Lock()
        """Held while the chain is given something, or taken away."""
        self._wake: Wake | None = None
        with self._new_chain() as chain:  # each is checked here and now
            self._stride_bytes = chain.stride_bytes
        self._room = trio.lowlevel.ParkingLot()
        self._is_at_end = False

    async def _open(self) -> None:
        if self._was_opened:
            raise RuntimeError("a PushSource is opened once; make a new one")
        self._wake = wake = Wake()
        self._chain = self._new_chain(wake.write_fd)

    def _new_chain(self, wake_fd: int = -1) -> Chain:
        layout = self.rate_hz, self.channels, self.format
        return self._conversion.chain(*layout, least_frames=self._capacity_frames, wake_fd=wake_fd)

    def push_nowait(self, sound: "Sound", captured_s: float | None = None) -> None:
        """Take sound, at once; any thread or task may call, and one after the other is served.

        `sound` is interleaved samples in the machine's byte order, as bytes or as an array of the source's format with
        the shape (samples,) or (samples, channels). `captured_s` is when its last sample was at the microphone, in
        seconds of time.monotonic(); default: now. With `when_full="drop"` what finds no room is lost and counted.
        Raises trio.WouldBlock where it would have to wait, SettingsError for another format or shape or for a part of
        a sample, RuntimeError before the source is opened, trio.ClosedResourceError once it is closed or finished.
        """
        data = self._as_bytes(sound)
        with self._lock:
            chain = self._usable_chain()
            if not self.is_real_time and not self._has_room(chain, data):
                raise trio.WouldBlock
            for piece, end_s in self._pieces(data, captured_s):
                chain.push(piece, end_s)

    async def push(self, sound: "Sound", captured_s: float | None = None) -> None:
        """Push as `push_nowait`, but with `when_full="wait"` wait for room. Cancelled, it may have taken a first part.

        From another thread: `trio.from_thread.run(source.push, sound)`.
        """
        await trio.lowlevel.checkpoint()
        for piece, end_s in self._pieces(self._as_bytes(sound), captured_s):
            while True:
                with self._lock:
                    chain = self._usable_chain()
                    if self.is_real_time or self._has_room(chain, piece):
                        chain.push(piece, end_s)
                        break
                await self._room.park()

    def note_loss(self, samples: int) -> None:
        """Say that `samples` (at the source's rate) were lost before what is pushed next. Any thread may call."""
        if samples < 0:
            raise SettingsError(f"{samples} samples cannot be lost; it must be 0 or more")
        with self._lock:
            if samples:
                self._usable_chain().note_loss(samples)

    def finish(self) -> None:
        """Say that nothing more will be pushed: iteration ends after what there is. Any thread may call, also again."""
        with self._lock:
            if self._chain is not None and not self._is_at_end:
                self._is_at_end = True
                self._chain.finish()
                assert self._wake is not None
                self._wake.set()

    async def stop(self) -> None:
        """Do as finish()."""
        self.finish()
        self._room.unpark_all()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Free everything; frames not taken yet are gone. May be called again."""
        self.finish()
        with self._lock:
            self._close_chain()
            wake, self._wake = self._wake, None
        self._room.unpark_all()
        if wake is not None:
            wake.let_go()
            wake.close()
        self._close_listeners()
        await trio.lowlevel.checkpoint()

    async def _next(self) -> Frame | None:
        while (chain := self._chain) is not None and (wake := self._wake) is not None:
            wake.clear()
            is_at_end = self._is_at_end
            frame = chain.take()
            if frame is not None:
                self._room.unpark_all()
                return frame
            if is_at_end:
                self._room.unpark_all()  # whoever waits there hears that it is over
                return None
            try:
                await wake.wait()
            except trio.ClosedResourceError:
                return None
        return None

    def _usable_chain(self) -> Chain:
        if not self._was_opened:
            raise RuntimeError("the PushSource was not opened; open it with 'async with' before sound is pushed")
        if self._chain is None or self._is_at_end:
            raise trio.ClosedResourceError(_AFTER_THE_END)
        return self._chain

    def _has_room(self, chain: Chain, data: memoryview) -> bool:
        """Whether nothing is dropped for it. What the resampler holds may come out with it."""
        counts = chain.statistics()
        samples = math.ceil(len(data) / self._stride_bytes * RATE_HZ / self.rate_hz) + 1
        ended_frames = (counts.open_samples + samples) // FRAME_SAMPLES
        return counts.queued_frames + ended_frames + _SPARE_FRAMES <= self._capacity_frames

    def _pieces(self, data: memoryview, captured_s: float | None) -> Iterator[tuple[memoryview, float]]:
        """The sound in pieces that the chain takes at once, each with the time of its last sample."""
        end_s = time.monotonic() if captured_s is None else captured_s
        piece_bytes = max(1, int(_PIECE_S * self.rate_hz)) * self._stride_bytes
        for begin in range(0, len(data), piece_bytes):
            piece = data[begin : begin + piece_bytes]
            after_bytes = len(data) - begin - len(piece)
            yield piece, end_s - after_bytes / self._stride_bytes / self.rate_hz

    def _as_bytes(self, sound: "Sound") -> memoryview:
        shape, dtype = getattr(sound, "shape", None), getattr(sound, "dtype", None)
        if dtype is not None and shape is not None and not isinstance(sound, memoryview):
            import numpy as np

            if self.format not in _DTYPES or dtype != np.dtype(_DTYPES[self.format]):
                raise SettingsError(
                    f"an array of {dtype} was pushed into a source of {self.format}",
                    advice="Convert it, or open the source with the array's format.",
                )
            if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == self.channels)):
                raise SettingsError(
                    f"an array of the shape {tuple(shape)} was pushed; "
                    f"it must be (samples,) or (samples, {self.channels})"
                )
            sound = np.ascontiguousarray(sound)
        try:
            data = memoryview(sound).cast("B") if memoryview(sound).nbytes else memoryview(b"")  # type: ignore[arg-type]
        except TypeError as error:
            raise SettingsError(f"{type(sound).__name__} cannot be pushed; give bytes or an array: {error}") from None
        if len(data) % self._stride_bytes:
            raise SettingsError(
                f"{len(data)} bytes are no whole number of {self.channels}-channel {self.format} samples "
                f"of {SAMPLE_BYTES[self.format] * self.channels} bytes"
            )
        return data


_DTYPES = {"int16": "int16", "int32": "int32", "float32": "float32", "uint8": "uint8"}
"""Formats that an array can have, with numpy's names for them."""
