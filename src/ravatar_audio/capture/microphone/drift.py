"""The device's clock against the system's: by how much its samples come faster or slower than they should. Pure."""

import math

from ravatar_audio.frames import RATE_HZ, Frame

MEMORY_S = 600.0
"""Time constant with which the past is forgotten, as a crystal's rate moves with its temperature."""
LEAST_S = 2.0
"""Shortest stretch without a gap that gives an estimate; a time stamp that is 0.1 ms off makes 50 ppm of it."""


class Drift:
    """A straight line through when the frames ended, by the system's clock, over how many samples had come by then.

    Least squares with exponential forgetting, updated for each frame in the manner of Welford (Technometrics 4, 1962),
    so that months of frames lose no precision. A gap begins a new line, as only the system's clock knows its length.
    """

    def __init__(self) -> None:
        self.ppm: float | None = None
        """Parts per million by which the device is fast; slow is negative. None: not known yet."""
        self._begin(0.0, 0)

    def _begin(self, at_s: float, samples: int) -> None:
        self._first_s, self._first_samples = at_s, samples
        self._weight = self._mean_x = self._mean_y = self._sum_xx = self._sum_xy = 0.0
        self._newest_x = 0.0

    def add(self, frame: Frame) -> None:
        """A frame, in order."""
        samples = frame.position_samples + frame.length_samples
        if frame.discontinuity or not self._weight:
            self._begin(frame.captured_s, samples)
        x = (samples - self._first_samples) / RATE_HZ
        y = frame.captured_s - self._first_s - x  # by how much the system's clock has run ahead of the device's
        keep = math.exp(-(x - self._newest_x) / MEMORY_S)
        self._newest_x = x
        self._weight = self._weight * keep + 1
        off_x, off_y = x - self._mean_x, y - self._mean_y
        self._mean_x += off_x / self._weight
        self._mean_y += off_y / self._weight
        self._sum_xx = self._sum_xx * keep + off_x * (x - self._mean_x)
        self._sum_xy = self._sum_xy * keep + off_x * (y - self._mean_y)
        if x >= LEAST_S:
            slope = self._sum_xy / self._sum_xx
            self.ppm = -slope / (1 + slope) * 1e6
