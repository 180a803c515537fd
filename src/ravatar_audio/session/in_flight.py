"""What has been written to a socket and is not acknowledged: kept, so that a lost connection loses nothing unseen."""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import trio

from ravatar_audio.frames import RATE_HZ, Frame
from ravatar_audio.observe.observer import Observer

ASSUMED_ACKNOWLEDGED_S = 8.0
"""Where the system does not report it: a connection on which less went through for longer would have been given up."""

SLACK_S = 0.5
"""On top of two round trips, the sound that may be under way: two frames.

Systems put an acknowledgement off for up to 0.2 s (RFC 1122, 4.2.3.2: at most 0.5 s), and a frame is 0.256 s of sound.
"""


class QueuedFrame(NamedTuple):
    """A frame on its way, with what its message has to say about the sound before it and about itself."""

    frame: Frame
    lost_samples: int = 0
    """How much was lost between the frame sent before it and this one."""
    taken_s: float = 0.0
    """When the source gave it, by trio's clock."""
    is_repeated: bool = False
    """It was written to a connection that was lost before it was acknowledged: it may arrive a second time."""


class Wire(Protocol):
    """What must be known of a connection's stream; see WireStream, which positions are counted there."""

    sent_bytes: int
    acknowledged_bytes: int | None
    last_acknowledged_s: float

    @property
    def round_trip_s(self) -> float:
        """The line's own, without queues; 0: unknown."""

    def look(self) -> None:
        """Bring the numbers up to date."""


@dataclass(frozen=True, slots=True)
class _Written:
    queued: QueuedFrame
    end_bytes: int
    written_s: float


class InFlight:
    """The frames that were written to one connection, oldest first, until they are acknowledged."""

    def __init__(self) -> None:
        self._frames: deque[_Written] = deque()
        self._wire: Wire | None = None
        self._was_told = True
        self._line_s = SLACK_S
        self.samples: int = 0
        self.acknowledged_frames: int = 0
        self.acknowledged_samples: int = 0
        self.observer: Observer = Observer()

    @property
    def frames(self) -> int:
        """How many are kept."""
        return len(self._frames)

    @property
    def is_told(self) -> bool:
        """The system says what is acknowledged; where it does not, what is old enough counts as that."""
        return self._was_told if self._wire is None else self._wire.acknowledged_bytes is not None

    def begin(self, wire: Wire) -> None:
        """Note that what is written from now on goes to this connection; `take_all` comes first."""
        self._wire = wire
        self._line_s = 2 * wire.round_trip_s + SLACK_S

    def end(self) -> None:
        """Note that the connection is over; what it has not acknowledged by now stays here for `take_all`."""
        self.settle()
        self._was_told = self.is_told
        self._wire = None

    def add(self, queued: QueuedFrame) -> None:
        """Note that a frame has been written to the connection, as the last of what was."""
        assert self._wire is not None
        self._frames.append(_Written(queued, self._wire.sent_bytes, trio.current_time()))
        self.samples += queued.frame.length_samples

    def settle(self) -> None:
        """Ask the system, and let go of what is acknowledged."""
        if self._wire is None or not self._frames:
            return
        self._wire.look()
        acknowledged_bytes = self._wire.acknowledged_bytes
        before_s = trio.current_time() - ASSUMED_ACKNOWLEDGED_S
        while self._frames:
            oldest = self._frames[0]
            if oldest.written_s > before_s if acknowledged_bytes is None else oldest.end_bytes > acknowledged_bytes:
                return
            self._frames.popleft()
            samples = oldest.queued.frame.length_samples
            self.samples -= samples
            self.acknowledged_frames += 1
            self.acknowledged_samples += samples
            self.observer.acknowledged(oldest.queued.frame)

    def take_all(self) -> tuple[list[QueuedFrame], bool]:
        """Return what the last connection has left behind, and whether the system reported that or it is a guess."""
        left = [written.queued for written in self._frames]
        self._frames.clear()
        self.samples = 0
        return left, self.is_told

    def is_full(self) -> bool:
        """Return whether as much sound is under way as the line takes by itself: more would only queue up in front of
        it.

        On a line that carries a share r of the stream, what is written now arrives after two round trips and
        `SLACK_S`, divided by r.
        """
        if self.samples < self._line_s * RATE_HZ:
            return False
        self.settle()
        if self._wire is None or self._wire.acknowledged_bytes is None:
            return False
        return self.samples >= self._line_s * RATE_HZ

    def moving_samples(self) -> int:
        """Return what is under way on a connection that is getting on; 0 on one that stands, as that may be over."""
        if self._wire is None or trio.current_time() - self._wire.last_acknowledged_s > self._line_s + 1.0:
            return 0
        return self.samples
