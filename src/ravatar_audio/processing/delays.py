"""How far an echo is behind its reference, and how far their clocks are apart, by the sounds themselves. Pure numpy."""

import math
from enum import Enum, auto
from typing import Any, Final

import numpy as np

from ravatar_audio.frames import RATE_HZ

Sound = np.ndarray[Any, np.dtype[np.float32]]

WINDOW_SAMPLES: Final = 2 * RATE_HZ
"""Most of the microphone's samples for one delay; while clocks may be far apart half of it, as the peak is smeared
then."""
MOST_SAMPLES: Final = RATE_HZ // 2
"""Longest delay that is looked for."""
AHEAD_SAMPLES: Final = RATE_HZ // 4
"""How far ahead of the reference the echo may be, as far as that was placed wrongly."""
SPAN_SAMPLES: Final = WINDOW_SAMPLES + MOST_SAMPLES
"""Samples of microphone and of reference, up to the same one, for one delay."""

_WHITE: Final = 0.75
_BAND_HZ: Final = (200.0, 6_800.0)
_SURE: Final = 12.0
"""Least ratio of a peak to the median: below it there is no echo, or something louder is heard."""
_QUIET: Final = 30.0
"""Least RMS, below which there is nothing to be compared: -61 dBFS."""
_KEPT: Final = 120
_AGREEING: Final = 3
"""Number of delays off the line that, when they agree, are a new path."""
_OFF_SAMPLES: Final = 8.0
"""Distance from the line from which a delay is another path's, or a mistake."""


def delay_of(microphone: Sound, reference: Sound, window: int = WINDOW_SAMPLES) -> float | None:
    """Return by how many samples the echo is behind; both are the last SPAN_SAMPLES. None: that is not known.

    `window` is how much of the microphone is looked at, up to AHEAD_SAMPLES before its end.

    By correlation of spectra that are nearly white (generalized cross-correlation: C. Knapp, G. Carter, IEEE Trans.
    ASSP 24(4), 1976), which leaves the direct sound's peak; to some hundredths of a sample by a parabola through it.
    """
    heard = microphone[-window - AHEAD_SAMPLES : -AHEAD_SAMPLES]
    played = reference[-window - MOST_SAMPLES :]
    halves = np.array_split(played[:window], 2)  # a reference that has just ended would be compared with a visitor
    if min(float(np.sqrt(np.mean(np.square(half)))) for half in (*halves, 4 * heard)) < _QUIET:
        return None
    size = 1 << (len(heard) + len(played)).bit_length()
    cross = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size))
    hz = np.arange(len(cross)) * (RATE_HZ / size)
    cross *= ((hz > _BAND_HZ[0]) & (hz < _BAND_HZ[1])) / (np.abs(cross) ** _WHITE + 1e-6)
    lags = np.abs(np.fft.irfft(cross, size))
    found = np.concatenate([lags[-MOST_SAMPLES:], lags[: AHEAD_SAMPLES + 1]])  # the first one is of -AHEAD_SAMPLES
    peak = int(np.argmax(found))
    if not 0 < peak < len(found) - 1 or found[peak] < _SURE * float(np.median(found)):
        return None
    before, top, after = (float(value) for value in found[peak - 1 : peak + 2])
    return peak - AHEAD_SAMPLES + 0.5 * (before - after) / (before - 2 * top + after)


class Reading(Enum):
    """What a delay says against those before it."""

    FITS = auto()
    STRAY = auto()
    """Another path's, or read wrongly: it does not count."""
    CHANGED = auto()
    """As the two before: the path has changed, and the line began anew, with the slope that it had."""


class ClockLine:
    """A straight line through what belongs together on two clocks: (microphone's sample, reference's sample).

    Slope and offset by medians (Theil-Sen), so that a delay that was read wrongly does not matter.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[float, float]] = []
        self._strays: list[tuple[float, float]] = []
        self._slope = 0.0
        self.error_ppm: float = math.inf
        """About how far `ppm` may be off."""

    @property
    def count(self) -> int:
        return len(self._rows)

    @property
    def ppm(self) -> float:
        """By how much the reference's clock is fast against the microphone's."""
        return self._slope * 1e6

    @property
    def span_s(self) -> float:
        return (self._rows[-1][0] - self._rows[0][0]) / RATE_HZ if self._rows else 0.0

    def add(self, microphone: float, reference: float) -> Reading:
        """Add one pair, and return what became of it."""
        pair = (microphone, reference - microphone)
        if not self._rows or abs(pair[1] - self.off_at(microphone)) <= _OFF_SAMPLES + self._margin(microphone):
            self._strays.clear()
            self._rows = [*self._rows, pair][-_KEPT:]
            self._fit()
            return Reading.FITS
        self._strays = [*self._strays, pair][-_AGREEING:]
        offs = [off for _, off in self._strays]
        if len(offs) < _AGREEING or max(offs) - min(offs) > _OFF_SAMPLES:
            return Reading.STRAY
        self._rows, self._strays = self._strays, []
        self.error_ppm = math.inf
        return Reading.CHANGED

    def _margin(self, microphone: float) -> float:
        """How far the line may lead astray from its last point on: clocks are a thousandth apart at most."""
        since = microphone - self._rows[-1][0]
        return since * min(1e-3, self.error_ppm * 3e-6)

    def off_at(self, microphone: float) -> float:
        """Return the reference's sample less microphone's, at a sample of the microphone."""
        recent = self._rows[-15:]
        offs = [off + self._slope * (microphone - at) for at, off in recent]
        return float(np.median(offs))

    def _fit(self) -> None:
        if self.count < 4 or self.span_s < 1.5:
            return
        at, off = np.array(self._rows).T
        first, second = np.triu_indices(len(at), 1)
        apart = at[second] - at[first]
        far = apart >= apart.max() / 3
        self._slope = float(np.median((off[second] - off[first])[far] / apart[far]))
        left = off - np.median(off - self._slope * at) - self._slope * at
        spread = 1.5 * float(np.median(np.abs(left))) + 0.01
        alone = max(1.0, self.span_s * RATE_HZ / WINDOW_SAMPLES)  # windows overlap: so many tell something of their own
        self.error_ppm = spread * math.sqrt(12 / alone) / (at[-1] - at[0]) * 1e6
