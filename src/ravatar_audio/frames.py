"""Frames: what the core hands over, and what becomes one message on the wire. Pure data, no I/O."""

import array
import math
import struct
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE_HZ = 16_000
FRAME_SAMPLES = 4_096
HOP_SAMPLES = 256
FRAME_BYTES = 2 * FRAME_SAMPLES

_FULL_SCALE = 32_768
HOP = struct.Struct("=QIIII")
"""A hop as the core writes it: the fields of `Hop`."""


def dbfs(amplitude: float) -> float:
    """Return the level of an amplitude against int16 full scale (32,768), in dB; -inf for 0."""
    return 20.0 * math.log10(amplitude / _FULL_SCALE) if amplitude > 0 else -math.inf


class Hop(NamedTuple):
    """One analysis step: 256 samples at 16 kHz, 16 ms; the last one of a short frame may be shorter."""

    energy: int
    """Sum of the squares of the samples, as int16."""
    length_samples: int
    peak: int
    """Largest magnitude, 0 to 32,768."""
    clipped: int
    """Device samples at full scale that arrived during the hop."""
    zero_run_samples: int
    """Exact zeros in a row up to the hop's end, across hops and frames."""

    @property
    def rms_dbfs(self) -> float:
        """RMS level against full scale, in dB; a full-scale sine is -3.01."""
        return dbfs(math.sqrt(self.energy / self.length_samples)) if self.length_samples else -math.inf


class Frame(NamedTuple):
    """4,096 mono samples at 16 kHz (256 ms) with what must be known about them.

    Times are seconds of the system's monotonic clock (`time.monotonic()`). A named tuple is made in a fraction of the
    time that a frozen dataclass takes; `_replace` makes a changed copy.
    """

    pcm: bytes
    """8,192 bytes: signed 16 bit, little-endian; zeros behind `length_samples`."""
    seq: int
    """Number of the frame, from 0; dropped frames have numbers too, so a gap shows."""
    position_samples: int
    """Of the first sample, from the start of the capture, at 16 kHz."""
    length_samples: int
    """True length: 4,096, or less in a frame that was flushed; 0 in one of silence behind a turn."""
    captured_s: float
    """When the last sample was at the microphone."""
    finished_s: float
    """When the core handed the frame over."""
    ring_lost_samples: int
    """Samples at 16 kHz that were dropped before this frame because the ring was full."""
    device_lost_samples: int
    """Samples at 16 kHz that the device lost since the frame before, as far as it said."""
    discontinuity: bool
    """Sound was lost between the frame before and the end of this one."""
    flushed: bool
    """Ended early: on request, or at the end of the source."""
    clipped: int
    """Device samples at full scale."""
    peak: int
    """Largest magnitude, 0 to 32,768."""
    hop_data: bytes
    """The hops as the core wrote them; read them through `hops`."""

    def __repr__(self) -> str:
        """Short: without the sound."""
        lost = f", lost {self.ring_lost_samples} + {self.device_lost_samples}" if self.discontinuity else ""
        return (
            f"<Frame {self.seq}: {self.length_samples} samples from {self.position_samples}{lost}, peak {self.peak}, "
            f"captured {self.captured_s:.3f} s>"
        )

    @property
    def samples(self) -> "NDArray[np.int16]":
        """The sound as an array of `length_samples` int16 values: a view of `pcm`, which cannot be written to."""
        import numpy as np  # only for those who want it: it takes longer to load than the rest

        return np.frombuffer(self.pcm, "<i2", self.length_samples)

    @property
    def duration_s(self) -> float:
        """True length in seconds: 0.256, or less in a frame that was flushed."""
        return self.length_samples / RATE_HZ

    @property
    def captured_at(self) -> datetime:
        """`captured_s` as a date and time (UTC), by the system's clock as it is set now."""
        return datetime.now(UTC) - timedelta(seconds=time.monotonic() - self.captured_s)

    @property
    def hops(self) -> tuple[Hop, ...]:
        """The frame's hops, up to 16."""
        return tuple(hop for hop in map(Hop._make, HOP.iter_unpack(self.hop_data)) if hop.length_samples)

    def after(self, samples: int) -> "Frame":
        """Return the frame without its first samples (1 to `length_samples` - 1), measured anew.

        Clipped samples stay with the hop in which they were, as nearly as hops can tell.
        """
        length = self.length_samples - samples
        pcm = self.pcm[2 * samples : 2 * self.length_samples]
        values = array.array("h", pcm)
        if sys.byteorder == "big":
            values.byteswap()
        clipped = [0] * (FRAME_SAMPLES // HOP_SAMPLES)
        end = 0
        for hop in self.hops:
            end += hop.length_samples
            if end > samples:
                clipped[(end - 1 - samples) // HOP_SAMPLES] += hop.clipped
        data, peak, zeros = b"", 0, 0
        for number, begin in enumerate(range(0, FRAME_SAMPLES, HOP_SAMPLES)):
            step = values[begin : begin + HOP_SAMPLES]
            hop_peak = max(map(abs, step), default=0)
            for value in step:
                zeros = 0 if value else zeros + 1
            energy = sum(value * value for value in step)
            data += HOP.pack(energy, len(step), hop_peak, clipped[number], zeros if step else 0)
            peak = max(peak, hop_peak)
        return self._replace(
            pcm=pcm + bytes(FRAME_BYTES - len(pcm)),
            position_samples=self.position_samples + samples,
            length_samples=length,
            ring_lost_samples=0,
            discontinuity=self.device_lost_samples > 0,
            flushed=True,
            clipped=sum(clipped),
            peak=peak,
            hop_data=data,
        )

    @property
    def peak_dbfs(self) -> float:
        """Peak level against full scale, in dB."""
        return dbfs(self.peak)

    @property
    def rms_dbfs(self) -> float:
        """RMS level over the frame's true length against full scale, in dB; a full-scale sine is -3.01."""
        return dbfs(math.sqrt(sum(hop.energy for hop in self.hops) / max(1, self.length_samples)))
