"""What a device backend gives to the microphone: one open stream that pushes into a chain on its own thread."""

import threading
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from ravatar_audio._core import ffi, lib
from ravatar_audio.capture.devices.device import Device

PRIORITY = 10
"""Of SCHED_FIFO for the capture thread, where the limits allow it; below what sound servers take."""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """How a device is to be opened; all settled, nothing left to a default."""

    device: Device
    rate_hz: int
    channels: int
    format: str
    block_s: float
    """Length of a block, which is how often the audio thread runs."""
    buffer_s: float
    """The device's buffer: how late the audio thread may be without a loss."""
    least_block_s: float = 0.0
    """The device's own, where that is known: PortAudio cuts what comes from it to `block_s`."""
    is_served: bool = False
    """A sound server is in between: gaps are measured by when its blocks arrive."""
    server_keeps_time: bool = False
    """Its capture times are right, and say more."""
    source: str = ""
    """The sound server's name for the source; "" is its default one, now and whenever it is opened again."""

    @property
    def sample_layout(self) -> tuple[int, int, str]:
        """Rate, channels and format: what a chain must have been made for."""
        return self.rate_hz, self.channels, self.format

    @property
    def block_samples(self) -> int:
        return max(1, round(self.block_s * self.rate_hz))


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """A stream's counters since it was opened. Times are seconds of the monotonic clock."""

    blocks: int
    overruns: int
    untimed_blocks: int
    """Blocks whose capture time was not believable and was taken as "now"."""
    longest_block_s: float
    """Most time that the audio thread spent on one block."""
    opened_s: float
    last_block_s: float | None
    """When the newest block arrived; None: none yet."""
    captured_ns: int
    """When the newest sample was at the microphone, in ns of the monotonic clock; 0: none yet."""
    has_finished: bool
    finish_code: int
    """Why, as a negative errno, where the backend knows it; else 0."""
    is_real_time: bool = False
    """The audio thread runs at a real-time priority that we gave it."""
    missing: str = ""
    """Why there is no device now, of a stream that gets it back by itself; "" while there is one."""

    @property
    def is_silent(self) -> bool:
        """It goes on, but has given nothing yet."""
        return not self.blocks and not self.has_finished


class Stream(Protocol):
    """An open stream. Its calls may block; they run in a worker thread."""

    backend: str
    gets_back: bool
    """It waits for a device that is gone by itself, and goes on with it; else it ends."""

    @property
    def latency_s(self) -> float:
        """How much sound gathers before the device gives any; what was asked for where nobody knows."""

    def start(self) -> None:
        """Let the sound flow into the chain."""

    def close(self) -> None:
        """Stop and free; when it returns nothing pushes any more."""

    def watch(self, stall_s: float) -> bool:
        """Set the wake-up when nothing has come for so long, once for each stall; False: this stream cannot do that."""

    def hurry(self) -> None:
        """A flush has been asked for: whoever pushes is to look at it soon."""

    def restart(self) -> None:
        """Nothing comes: let one that gets_back() begin anew. Never blocks."""

    def events(self) -> list[tuple[str, str]]:
        """Kind and message of what has happened since this was asked last."""

    def statistics(self) -> StreamStatistics:
        """Never blocks; any thread."""

    def block_durations_s(self) -> list[tuple[float, int]]:
        """How long the audio thread took for its blocks: (least duration of a bucket, blocks in it), ascending."""


class CoreStream:
    """One of the core's streams, by the functions that all of them have; base of the backends.

    Any thread may ask while a worker thread closes it. It ends with its device, unless a backend says otherwise.
    """

    prefix: ClassVar[str]
    """Of its C functions: rva_PREFIX_close and so on."""
    gets_back = False

    def __init__(self, stream: Any, latency_s: float) -> None:
        self._stream = stream
        self.latency_s: float = latency_s
        self._last: Any = None
        self._reading = threading.Lock()

    def _call(self, name: str, *arguments: Any) -> Any:
        """The C function, if the stream is open; else None."""
        with self._reading:
            return None if self._stream is None else getattr(lib, f"rva_{self.prefix}_{name}")(self._stream, *arguments)

    def close(self) -> None:
        self._last = self._read()  # for whoever asks meanwhile
        with self._reading:
            stream, self._stream = self._stream, None
        if stream is not None:
            last = ffi.new("rva_stream_statistics *")
            self._close(stream, last)
            self._last = last

    def _close(self, stream: Any, last: Any) -> None:
        getattr(lib, f"rva_{self.prefix}_close")(stream, last)

    def watch(self, stall_s: float) -> bool:
        self._call("watch", round(stall_s * 1e9))
        return True

    def hurry(self) -> None:
        """Nothing to be done: the next block is there in milliseconds."""

    def restart(self) -> None:
        """Nothing: it is closed, and another opened."""

    def events(self) -> list[tuple[str, str]]:
        return []

    def _read(self) -> Any:
        raw = ffi.new("rva_stream_statistics *")
        self._call("statistics", raw)
        return self._last if self._stream is None and self._last is not None else raw

    def statistics(self) -> StreamStatistics:
        raw = self._read()
        return StreamStatistics(
            blocks=raw.blocks,
            overruns=raw.overruns,
            untimed_blocks=raw.untimed_blocks,
            longest_block_s=raw.longest_block_ns * 1e-9,
            opened_s=raw.opened_ns * 1e-9,
            last_block_s=raw.last_block_ns * 1e-9 or None,
            captured_ns=raw.captured_ns,
            has_finished=bool(raw.has_finished),
            finish_code=raw.finish_code,
            is_real_time=bool(raw.is_real_time),
        )

    def block_durations_s(self) -> list[tuple[float, int]]:
        counts = ffi.unpack(self._read().durations, lib.RVA_DURATION_BUCKETS)
        return [(lib.rva_stream_bucket_ns(bucket) * 1e-9, count) for bucket, count in enumerate(counts) if count]
