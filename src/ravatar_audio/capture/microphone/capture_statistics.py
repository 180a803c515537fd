"""The counters of a source."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CaptureStatistics:
    """What a source has captured since it was opened. Samples are at 16 kHz, but for `device_samples`.

    captured = delivered + discarded + ring_dropped + pending, always.
    """

    captured_samples: int
    """Converted: delivered, discarded, dropped or pending."""
    delivered_samples: int
    """In frames that the program has taken."""
    ring_dropped_samples: int
    """In frames that were dropped because the program did not take them in time."""
    pending_samples: int
    """In frames that wait, and in the open one; once closed: never delivered."""
    device_lost_samples: int
    """Lost before they reached the program, each gap right to within a block; where a sound server moved the stream to
    another source, or did not keep up itself, as nearly as its clients can know.

    With the backend "pyaudio" behind a sound server: as far as that said."""
    device_overruns: int
    """Times that the device said it had lost sound."""
    delivered_frames: int
    ring_dropped_frames: int
    device_samples: int
    """Per channel, in the device's rate."""
    blocks: int
    clipped: int
    """Device samples at full scale."""
    longest_block_s: float
    """Most time that the audio thread spent on one block; 0 for sources without an audio thread."""
    untimed_blocks: int
    """Blocks whose capture time the device did not report, so that the time of arrival was taken."""
    wake_failures: int
    drift_ppm: float | None = None
    """By how much the device's clock is fast against the system's, in parts per million; None: not known (yet).

    Measured since the last gap: after 2 s good to some 50 ppm, after a minute to 2, after ten minutes to a tenth.
    """
    block_s: float = 0.0
    """Mean length of the blocks that the device delivers; 0: none yet. Of the device that is used now."""
    discarded_samples: int = 0
    """Forgotten by `discard()`, as a live session does when it begins."""
    is_real_time: bool = False
    """The audio thread runs at a real-time priority that we gave it. Not with the backend "pyaudio", nor on systems and
    hosts that give their audio threads one themselves."""
