"""How a stream of frames keeps time: pauses, and what is missing by the clock. Pure."""

from collections import deque

from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ

_LATE_FRAMES = 8  # the least of so many counts: one late frame is no gap


class StreamClock:
    """Takes note of each frame when it comes."""

    def __init__(self) -> None:
        self.longest_pause_s: float = 0.0
        """Between two frames of a connection."""
        self.last_s: float | None = None
        """When the last frame came; None before the first."""
        self._first_s = 0.0
        self._came_samples = 0
        self._is_new_connection = True
        self._behind: deque[float] = deque(maxlen=_LATE_FRAMES)

    def begin_connection(self) -> None:
        """Note that the next frame comes by another connection: what lies between is no pause of the stream."""
        self._is_new_connection = True

    def note_frame(self, now_s: float, lost_samples: int = 0) -> None:
        """Note that a frame has come; `lost_samples` were declared as lost before it."""
        if self.last_s is None:
            self._first_s = now_s
        else:
            self._came_samples += FRAME_SAMPLES + lost_samples
            if not self._is_new_connection:
                self.longest_pause_s = max(self.longest_pause_s, now_s - self.last_s)
        self._is_new_connection = False
        self.last_s = now_s
        self._behind.append((now_s - self._first_s) * RATE_HZ - self._came_samples)

    @property
    def behind_samples(self) -> int:
        """What a real-time stream should have brought since its first frame and what neither came nor was declared."""
        return max(0, round(min(self._behind, default=0.0)))
