"""What the emulator hears in a live stream: turns, by level, as the platform's own demo finds them. Pure."""

import math
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from ravatar_audio.frames import HOP_SAMPLES, RATE_HZ, dbfs

SPEECH_DBFS: Final = 20 * math.log10(0.02)
"""RMS of a hop that counts as speech: 0.02 of full scale, as in the platform's demo."""
KEPT_HOPS: Final = 512
"""Number of hops whose level is kept, for those who watch: 8 s."""
HANGOVER_S: Final = 0.9
"""Quiet that ends a turn, as in the platform's demo."""


@dataclass(frozen=True, slots=True)
class DetectedTurn:
    """One turn: a stretch of speech-like level."""

    start_samples: int
    length_samples: int
    rms_dbfs: float
    peak_dbfs: float
    lost_samples: int
    is_cut: bool
    """It went on, but had lasted as long as one turn may."""

    @property
    def length_s(self) -> float:
        return self.length_samples / RATE_HZ

    def sentence(self) -> str:
        """Return what the avatar answers."""
        gaps = f"{self.lost_samples} samples were missing" if self.lost_samples else "no gaps"
        more = "; go on, I am listening" if self.is_cut else ""
        return (
            f"I heard {self.length_s:.1f} s of sound, {self.rms_dbfs:.1f} dBFS RMS "
            f"(peak {self.peak_dbfs:.1f} dBFS), {gaps}{more}."
        )


class TurnDetector:
    """Frames in, turns out. A turn lasts `longest_s` at most."""

    def __init__(self, longest_s: float) -> None:
        self._longest_samples = round(longest_s * RATE_HZ)
        self._hangover_samples = round(HANGOVER_S * RATE_HZ)
        self._speech_power = (32_768 * 0.02) ** 2
        self._position = self._zeros = 0
        self._start: int | None = None
        self._end = self._speech_samples = self._peak = self._lost = 0
        self._energy = 0.0
        self.powers: deque[float] = deque(maxlen=KEPT_HOPS)
        """Mean square of each of the last hops, as int16."""

    @property
    def position_samples(self) -> int:
        return self._position

    @property
    def zero_run_samples(self) -> int:
        """Exact zeros up to now: a muted or dead microphone, not a quiet room."""
        return self._zeros

    def hear(self, pcm: bytes, lost_samples: int = 0) -> list[DetectedTurn]:
        """Hear one frame of int16 little-endian samples; return the turns that ended in it."""
        samples = np.frombuffer(pcm, "<i2")
        hops = samples.reshape(-1, HOP_SAMPLES).astype(np.float32)
        powers = (np.einsum("ij,ij->i", hops, hops) / HOP_SAMPLES).tolist()
        self.powers += powers
        self._zeros = self._zeros_at_end(samples)
        if self._start is not None:
            self._lost += lost_samples
        elif max(powers) < self._speech_power:
            self._position += len(samples)
            return []
        peaks = np.abs(hops).max(axis=1).tolist()
        turns = [self._hop(power, int(peak)) for power, peak in zip(powers, peaks, strict=True)]
        return [turn for turn in turns if turn is not None]

    @property
    def is_in_turn(self) -> bool:
        """A turn has begun, and not ended."""
        return self._start is not None

    def note_pause(self) -> DetectedTurn | None:
        """Note that nothing has come for HANGOVER_S: that is quiet too, and ends a turn."""
        return self._finish(is_cut=False) if self.is_in_turn else None

    def _zeros_at_end(self, samples: npt.NDArray[np.int16]) -> int:
        if samples[-1]:
            return 0
        (sounding,) = np.nonzero(samples)
        return len(samples) - 1 - int(sounding[-1]) if len(sounding) else self._zeros + len(samples)

    def levels_dbfs(self, since_hops: int = 0) -> list[float]:
        """Return the RMS of the hops from this number on, as far as they are kept."""
        fresh = max(0, self._position // HOP_SAMPLES - since_hops)
        return [dbfs(math.sqrt(power)) for power in islice(self.powers, max(0, len(self.powers) - fresh), None)]

    def _hop(self, power: float, peak: int) -> DetectedTurn | None:
        start_of_hop = self._position
        self._position += HOP_SAMPLES
        if power >= self._speech_power:
            if self._start is None:
                self._start = start_of_hop
                self._speech_samples = self._peak = self._lost = 0
                self._energy = 0.0
            self._end = self._position
            self._speech_samples += HOP_SAMPLES
            self._energy += power * HOP_SAMPLES
            self._peak = max(self._peak, peak)
            if self._end - self._start >= self._longest_samples:
                return self._finish(is_cut=True)
        elif self._start is not None and self._position - self._end >= self._hangover_samples:
            return self._finish(is_cut=False)
        return None

    def _finish(self, *, is_cut: bool) -> DetectedTurn:
        assert self._start is not None
        turn = DetectedTurn(
            self._start,
            self._end - self._start,
            dbfs(math.sqrt(self._energy / self._speech_samples)),
            dbfs(self._peak),
            self._lost,
            is_cut,
        )
        self._start = None
        return turn
