"""A stream that is fed by hand: counted and timed by the core as every other (csrc/streams/rva_fed.h)."""

import math
from typing import TYPE_CHECKING

from ravatar_audio._core import ffi, lib
from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.capture.streams.stream import CoreStream
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ
from ravatar_audio.native import Chain

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class FedStream(CoreStream):
    """Blocks that somebody pushes: PyAudio's callback, or a made-up device. Seconds are of the feeder's clock."""

    prefix = "fed"

    def __init__(self, chain: Chain, wake: Wake, opened_s: float, resume_ns: int, latency_s: float) -> None:
        """`resume_ns` is captured_ns of the stream that fed the chain before; 0: there was none."""
        out = ffi.new("rva_fed_stream **")
        if lib.rva_fed_open(chain.handle, chain.rate_hz, wake.write_fd, round(opened_s * 1e9), resume_ns, out):
            raise MemoryError
        super().__init__(out[0], latency_s)
        self._chain = chain

    def push(self, block: "ReadableBuffer", arrived_s: float, age_s: float | None, *, has_overrun: bool) -> None:
        """A block, whose last sample was `age_s` old when it came; None: nobody knows.

        `has_overrun`: sound was lost before it; how much is told from the capture times. A pause needs no telling.
        """
        data = ffi.from_buffer(block)
        samples, age_s = len(data) // self._chain.stride_bytes, math.nan if age_s is None else age_s
        self._call("block", data, samples, round(arrived_s * 1e9), age_s, has_overrun)

    def finish(self, code: int) -> None:
        """The stream has ended by itself; `code` is a negative errno."""
        self._call("finish", code)

    def look(self, now_s: float) -> float:
        """Set the wake-up when a stall has begun; how long none can begin from now on, in seconds."""
        wait_ns = self._call("look", round(now_s * 1e9))
        return math.inf if wait_ns is None or wait_ns == 2**63 - 1 else wait_ns * 1e-9

    @property
    def missing_samples(self) -> float:
        """Of the device, until the open frame is full."""
        return (FRAME_SAMPLES - self._chain.statistics().open_samples) * self._chain.rate_hz / RATE_HZ
