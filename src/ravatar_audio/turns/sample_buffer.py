"""The sound that a gate keeps: the newest frames, read or discarded from the front, to the sample."""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ravatar_audio.frames import FRAME_BYTES, FRAME_SAMPLES, HOP_SAMPLES, RATE_HZ, Frame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HOP_FIELDS = [("energy", "=u8"), ("length", "=u4"), ("peak", "=u4"), ("clipped", "=u4"), ("zero_run", "=u4")]
_HOPS = FRAME_SAMPLES // HOP_SAMPLES


class SampleBuffer:
    """A queue of frames that is taken from by position. Each sample leaves it once: read or discarded."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self.front: int = 0
        """Position of the oldest sample that is kept, or of the next to come."""
        self.end: int = 0
        """Behind the newest sample."""
        self.samples: int = 0
        """Kept; `end - front` less what is missing in between."""

    def append(self, frame: Frame) -> None:
        """Add a frame that begins at `end` or later: what lies between is missing."""
        assert frame.position_samples >= self.end
        if not self._frames:
            self.front = frame.position_samples
        self._frames.append(frame)
        self.end = frame.position_samples + frame.length_samples
        self.samples += frame.length_samples

    def run_end(self) -> int:
        """Return where the stretch without a gap that begins at `front` ends."""
        end = self.front
        for frame in self._frames:
            if frame.position_samples > end:
                break
            end = frame.position_samples + frame.length_samples
        return end

    def discard(self, to: int) -> int:
        """Forget everything before `to`, and return how many samples that were."""
        before = self.samples
        self._leave(to)
        return before - self.samples

    def read(self, to: int, seq: int) -> Frame:
        """Take the sound from `front` to `to` as a frame of its own: at most 4,096 samples, without a gap in them.

        A whole frame is passed on as it is. Of a new one, energy, peak and zeros are measured (a run of zeros from the
        frame's own start), and clipped samples count where the hop ended that had them. A loss that a frame reports may
        be anywhere before its end, so the first piece that is read of it reports it, its start or not.
        """
        start, first = self.front, self._frames[0]
        assert start < to <= min(start + FRAME_SAMPLES, self.end)
        if start == first.position_samples and to == start + first.length_samples:
            frame = first if first.seq == seq else first._replace(seq=seq)
        else:
            frame = self._joined(start, to, seq)
        self._leave(to)
        if self._frames and (rest := self._frames[0]).position_samples < to:  # its losses are reported now
            self._frames[0] = rest._replace(ring_lost_samples=0, device_lost_samples=0, discontinuity=False)
        return frame

    def _leave(self, to: int) -> None:
        while self._frames and (frame := self._frames[0]).position_samples < to:
            frame_end = frame.position_samples + frame.length_samples
            self.samples -= min(to, frame_end) - max(self.front, frame.position_samples)
            self.front = min(to, frame_end)
            if frame_end > to:
                return
            self._frames.popleft()
        # Behind a gap the front is the next sample that there is.
        self.front = max(self._frames[0].position_samples if self._frames else self.end, self.front)

    def _joined(self, start: int, to: int, seq: int) -> Frame:
        parts = [frame for frame in self._frames if frame.position_samples < to]
        pcm = bytearray()
        for frame in parts:
            at = frame.position_samples
            pcm += frame.pcm[2 * max(0, start - at) : 2 * min(frame.length_samples, to - at)]
        assert len(pcm) == 2 * (to - start)
        pcm += bytes(FRAME_BYTES - len(pcm))
        hops = _measured(pcm, to - start)
        for end, clipped in _clipped(parts):
            if start < end <= to:
                hops["clipped"][(end - 1 - start) // HOP_SAMPLES] += clipped
        last = parts[-1]
        return Frame(
            pcm=bytes(pcm),
            seq=seq,
            position_samples=start,
            length_samples=to - start,
            captured_s=last.captured_s - (last.position_samples + last.length_samples - to) / RATE_HZ,
            finished_s=last.finished_s,
            ring_lost_samples=sum(frame.ring_lost_samples for frame in parts),
            device_lost_samples=sum(frame.device_lost_samples for frame in parts),
            discontinuity=any(frame.discontinuity for frame in parts),
            flushed=to - start < FRAME_SAMPLES,
            clipped=int(hops["clipped"].sum()),
            peak=int(hops["peak"].max()),
            hop_data=hops.tobytes(),
        )


def prepare() -> None:
    """Load what cutting frames needs, while there is time: half a second on a small machine."""
    import numpy  # noqa: F401


def _measured(pcm: bytearray, length: int) -> "NDArray[np.void]":
    import numpy as np  # slow to load (see prepare), and an open microphone never needs it

    hops = np.zeros(_HOPS, np.dtype(_HOP_FIELDS))
    steps = np.frombuffer(pcm, "<i2").astype(np.int64).reshape(_HOPS, HOP_SAMPLES)
    hops["energy"] = (steps**2).sum(axis=1)
    hops["peak"] = np.abs(steps).max(axis=1)
    hops["length"] = np.clip(length - HOP_SAMPLES * np.arange(_HOPS), 0, HOP_SAMPLES)
    run = 0
    for index in range((length + HOP_SAMPLES - 1) // HOP_SAMPLES):
        step = steps[index, : hops["length"][index]]
        nonzero = np.flatnonzero(step)
        run = run + len(step) if not len(nonzero) else len(step) - 1 - int(nonzero[-1])
        hops["zero_run"][index] = run
    return hops


def _clipped(frames: list[Frame]) -> Iterator[tuple[int, int]]:
    """Where hops with clipped samples end, and how many those are."""
    for frame in frames:
        if frame.clipped:
            end = frame.position_samples
            for hop in frame.hops:
                end += hop.length_samples
                if hop.clipped:
                    yield end, hop.clipped
