"""What can go wrong with a running microphone without an error, reported when it begins and when it ends. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame

DIGITAL_SILENCE_S = 2.0
"""Shortest run of exact zeros of a muted or dead microphone; a quiet room is never that quiet."""
CLIPPING_SHARE = 0.005
"""Share of a frame's samples at full scale from which on it counts as clipped."""
CALM_S = 10.0
"""Time for which nothing must happen before overruns or clipping are reported again."""


@dataclass(frozen=True, slots=True)
class CaptureEvent:
    """Something happened to the microphone.

    `kind` is "stalled" (no block comes) or "recovered", "reopening" (it is closed and looked for again) or "reopened",
    "hanging" (a call into the sound library does not return meanwhile, and is waited for), "stand_in" (another
    microphone is used meanwhile), "digital_silence" or "sound", "overruns", "clipping",
    "source_changed" (a sound server moved the stream to another source); at opening "no_constraints" (rate, channels
    and format were left to the device), "invalid_media_constraints" (it does not have them, and its own were taken) or
    "memory_not_locked". `at_s` is of the monotonic clock.

    Each is emitted once, when it begins. "stalled" ends with "recovered", or with "reopened" when it has lasted too
    long, and what was lost until then is reported after that; "digital_silence" ends with "sound". "overruns" and
    "clipping" are emitted for the first frame that has them, and again only after CALM_S without: their end is not,
    as it is known only then.
    """

    kind: str
    at_s: float
    message: str
    position_samples: int = 0
    """Where in the sound, at 16 kHz as Frame counts: the end of the newest frame by then."""


class SoundMonitor:
    """Looks at the frames of one microphone."""

    def __init__(self) -> None:
        self._is_silent = False
        self._zero_run_samples = 0  # at the newest frame's end
        self._calm_samples = {"overruns": int(CALM_S * RATE_HZ), "clipping": int(CALM_S * RATE_HZ)}

    def look_at(self, frame: Frame) -> Iterator[CaptureEvent]:
        """The events that begin or end with this frame."""
        end_samples = frame.position_samples + frame.length_samples
        zeros = self._longest_zero_run(frame)
        if not self._is_silent and zeros >= DIGITAL_SILENCE_S * RATE_HZ:
            self._is_silent = True
            yield CaptureEvent(
                "digital_silence",
                frame.captured_s,
                f"nothing but zeros for {zeros / RATE_HZ:.1f} s: the microphone is muted, or dead",
                end_samples,
            )
        elif self._is_silent and frame.peak > 0:
            self._is_silent = False
            yield CaptureEvent("sound", frame.captured_s, "the microphone is heard again", end_samples)
        lost = frame.ring_lost_samples + frame.device_lost_samples
        if self._begins("overruns", frame, frame.discontinuity):
            yield CaptureEvent("overruns", frame.captured_s, f"{lost} samples were lost", end_samples)
        if self._begins("clipping", frame, frame.clipped >= CLIPPING_SHARE * FRAME_SAMPLES):
            yield CaptureEvent(
                "clipping",
                frame.captured_s,
                f"{frame.clipped} samples at full scale: lower the microphone's gain",
                end_samples,
            )

    def _longest_zero_run(self, frame: Frame) -> int:
        """Of those that end in the frame; 0 where none can be long enough, as looking at hops costs most of a look."""
        before_samples, last = self._zero_run_samples, 2 * frame.length_samples
        ends_in_zero = frame.pcm[last - 2 : last] == b"\0\0"
        self._zero_run_samples = frame.hops[-1].zero_run_samples if ends_in_zero else 0
        if before_samples + frame.ring_lost_samples + frame.length_samples < DIGITAL_SILENCE_S * RATE_HZ:
            return 0
        return max((hop.zero_run_samples for hop in frame.hops), default=0)

    def _begins(self, kind: str, frame: Frame, happens: bool) -> bool:
        calm_before = self._calm_samples[kind] >= CALM_S * RATE_HZ
        self._calm_samples[kind] = 0 if happens else self._calm_samples[kind] + frame.length_samples
        return happens and calm_before
