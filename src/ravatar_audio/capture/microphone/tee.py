"""A second consumer of a source's sound beside the one that has its frames: blocks of a length of its own."""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import trio

from ravatar_audio.arguments import check_number
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHORTEST_S, LONGEST_S = 0.010, 0.256


class SoundBlock(NamedTuple):
    """A piece of mono sound at 16 kHz; positions count as in Frame."""

    pcm: bytes
    """Signed 16 bit, little-endian; two bytes for each sample."""
    position_samples: int
    captured_s: float
    """When the last sample was at the microphone, in seconds of time.monotonic()."""
    lost_samples: int
    """Samples that are missing before this block: the source's, or what this consumer was too slow for."""

    def __repr__(self) -> str:
        """Short: without the sound."""
        return f"<SoundBlock: {self.length_samples} samples from {self.position_samples}, lost {self.lost_samples}>"

    @property
    def length_samples(self) -> int:
        """The tee's block length; less before a gap and at the end."""
        return len(self.pcm) // 2

    @property
    def samples(self) -> "NDArray[np.int16]":
        """The sound as an array of int16 values: a view of `pcm`, which cannot be written to."""
        import numpy as np

        return np.frombuffer(self.pcm, "<i2")


@dataclass(frozen=True, slots=True)
class TeeStatistics:
    """Counters of one tee, in samples at 16 kHz. heard = taken + dropped + pending, always."""

    heard_samples: int
    """Of the source's, since the tee was made."""
    taken_samples: int
    dropped_samples: int
    """In blocks that were not taken in time."""
    pending_samples: int
    """In blocks that wait, and in the one that is being filled."""
    lost_samples: int
    """Missing in what was heard: lost by the device or the ring."""


class Tee:
    """An async iterator of a source's sound in blocks of `block_s`, beside whoever takes the source's frames.

    It ends with the source, or by close(). One task takes its blocks.
    """

    def __init__(self, block_s: float, ring_s: float) -> None:
        check_number("block_s", block_s, SHORTEST_S, LONGEST_S)
        check_number("ring_s", ring_s, LONGEST_S, 600.0)
        self._block_samples = round(block_s * RATE_HZ)
        self._capacity_samples = round(ring_s * RATE_HZ) + FRAME_SAMPLES
        self._waiting: deque[SoundBlock] = deque()
        self._open = bytearray()
        self._position: int | None = None
        self._gap_samples = 0
        self._heard = self._taken = self._dropped = self._lost = self._waiting_samples = 0
        self._is_over = False
        self._changed = trio.lowlevel.ParkingLot()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SoundBlock:
        """The next block. Never loses one to a cancellation."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._is_over:
                raise StopAsyncIteration
            await self._changed.park()
        block = self._waiting.popleft()
        self._waiting_samples -= block.length_samples
        self._taken += block.length_samples
        return block

    def close(self) -> None:
        """Hear no more: iteration ends after the blocks that there are. May be called again."""
        if not self._is_over:
            if self._open and self._position is not None:
                self._put(len(self._open), self._end_s)
            self._is_over = True
            self._changed.unpark_all()

    def statistics(self) -> TeeStatistics:
        """Counters as of now."""
        pending_samples = self._waiting_samples + len(self._open) // 2
        return TeeStatistics(self._heard, self._taken, self._dropped, pending_samples, self._lost)

    _end_s = 0.0

    @property
    def next_end(self) -> int | None:
        """The position at which the block ends that is being filled; None: nothing is heard yet, or any more."""
        return None if self._is_over or self._position is None else self._position + self._block_samples

    def hear(self, frame: Frame) -> None:
        """Take a frame's sound; for the source."""
        if self._is_over or not frame.length_samples:
            return
        if self._position is not None and (gap := frame.position_samples - self._position - len(self._open) // 2):
            if self._open:
                self._put(len(self._open), self._end_s)
            self._gap_samples += gap
            self._lost += gap
            self._position = frame.position_samples
        elif self._position is None:
            self._position = frame.position_samples
        self._heard += frame.length_samples
        self._open += frame.pcm[: 2 * frame.length_samples]
        self._end_s = frame.captured_s
        while len(self._open) >= 2 * self._block_samples:
            left_samples = len(self._open) // 2 - self._block_samples
            self._put(2 * self._block_samples, frame.captured_s - left_samples / RATE_HZ)
        self._changed.unpark_all()

    def _put(self, size_bytes: int, captured_s: float) -> None:
        assert self._position is not None
        block = SoundBlock(bytes(self._open[:size_bytes]), self._position, captured_s, self._gap_samples)
        self._gap_samples = 0
        del self._open[:size_bytes]
        self._position += block.length_samples
        self._waiting.append(block)
        self._waiting_samples += block.length_samples
        while self._waiting_samples > self._capacity_samples:
            oldest = self._waiting.popleft()
            self._waiting_samples -= oldest.length_samples
            self._dropped += oldest.length_samples
            missing_samples = oldest.lost_samples + oldest.length_samples
            first = self._waiting[0]
            self._waiting[0] = first._replace(lost_samples=first.lost_samples + missing_samples)
