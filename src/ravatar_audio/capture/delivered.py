"""What the frames that a microphone has delivered tell, beside their sound. Pure."""

from ravatar_audio.capture.drift import Drift
from ravatar_audio.capture.watchdog import CaptureEvent, Watchdog
from ravatar_audio.frames import Frame


class Delivered:
    """Looks at each frame after it was given out: it is on its way to the platform then, and nobody waits for this."""

    def __init__(self) -> None:
        self._watchdog, self._drift = Watchdog(), Drift()
        self._newest: Frame | None = None  # not looked at yet
        self._news: list[CaptureEvent] = []  # not told yet

    def add(self, frame: Frame | None) -> None:
        """A frame is being given out; the one before must have been looked at."""
        self._newest = frame

    def look(self) -> None:
        """At the newest frame, once."""
        frame, self._newest = self._newest, None
        if frame is not None:
            self._drift.add(frame)
            self._news += self._watchdog.look_at(frame)

    @property
    def has_news(self) -> bool:
        """There are events to be told."""
        return bool(self._news)

    def take_news(self) -> list[CaptureEvent]:
        """The events of the frames that were looked at, each once."""
        news, self._news = self._news, []
        return news

    @property
    def drift_ppm(self) -> float | None:
        """As in CaptureStatistics."""
        return self._drift.ppm
