"""What the frames that a microphone has delivered say, beside their sound. Pure."""

from dataclasses import replace

from ravatar_audio.capture.microphone.drift import Drift
from ravatar_audio.capture.microphone.sound_monitor import CaptureEvent, SoundMonitor
from ravatar_audio.frames import Frame
from ravatar_audio.native import ChainStatistics


class DeliveryLedger:
    """Looks at each frame after it was given out: it is on its way to the platform then, and nobody waits for this."""

    def __init__(self) -> None:
        self._sound_monitor, self._drift = SoundMonitor(), Drift()
        self._newest: Frame | None = None  # not looked at yet
        self._last: Frame | None = None  # looked at
        self._frames = self._samples = self._device_lost_samples = 0
        self._news: list[CaptureEvent] = []  # not emitted yet

    def add(self, frame: Frame | None) -> None:
        """A frame is being given out; the one before must have been looked at."""
        self._newest = frame

    def look(self) -> None:
        """At the newest frame, once."""
        frame, self._newest = self._newest, None
        if frame is not None:
            self._drift.add(frame)
            self._news += self._sound_monitor.look_at(frame)
            self._last = frame
            self._frames += 1
            self._samples += frame.length_samples
            self._device_lost_samples += frame.device_lost_samples

    @property
    def has_news(self) -> bool:
        """There are events to be emitted."""
        return bool(self._news)

    def take_news(self) -> list[CaptureEvent]:
        """The events of the frames that were looked at, each once."""
        news, self._news = self._news, []
        return news

    @property
    def drift_ppm(self) -> float | None:
        """As in CaptureStatistics."""
        return self._drift.ppm

    @property
    def captured_ns(self) -> int:
        """When the last sample was at the microphone; 0: there was none."""
        return round(self._last.captured_s * 1e9) if self._last else 0

    def cut(self, counts: ChainStatistics) -> ChainStatistics:
        """The chains' counters without what came, or was lost, after the last sample that was delivered."""
        finished_frames = self._last.seq + 1 if self._last else 0
        converted_samples = self._last.position_samples + self._last.length_samples if self._last else 0
        return replace(
            counts,
            converted_samples=converted_samples,
            finished_frames=finished_frames,
            ring_dropped_frames=finished_frames - self._frames,
            ring_dropped_samples=converted_samples - self._samples,
            device_lost_samples=self._device_lost_samples,
            queued_frames=0,
            open_samples=0,
        )
