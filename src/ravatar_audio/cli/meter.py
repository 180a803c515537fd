"""The live meter: one line that is rewritten in a terminal, one line a second elsewhere if asked for."""

import math
import sys
import time
from collections.abc import Callable

from ravatar_audio.frames import Frame

FLOOR_DBFS = -60.0
BAR_CELLS = 24


def bar(rms_dbfs: float, peak_dbfs: float) -> str:
    """A bar from -60 to 0 dBFS: filled up to the RMS level, with a mark at the peak."""
    cells = ["·"] * BAR_CELLS
    for index in range(_cell(rms_dbfs)):
        cells[index] = "█"
    if (peak := _cell(peak_dbfs)) > 0:
        cells[peak - 1] = "▌" if cells[peak - 1] == "·" else cells[peak - 1]
    return "".join(cells)


def _cell(level_dbfs: float) -> int:
    return max(0, min(BAR_CELLS, round((1 - level_dbfs / FLOOR_DBFS) * BAR_CELLS))) if level_dbfs > -math.inf else 0


def shown_level(level_dbfs: float) -> str:
    """A level as the meter prints it, five characters wide."""
    return " -inf" if level_dbfs == -math.inf else f"{level_dbfs:5.1f}"


class Meter:
    """Shows each frame's level and what has been sent. `rest` gives the text behind the level at the time of drawing.

    On a terminal the line is rewritten with each frame; elsewhere a line is written about once a second.
    """

    def __init__(self, rest: Callable[[], str]) -> None:
        self._rest = rest
        self._stream = sys.stderr
        self._in_place = self._stream.isatty()
        self._next_line_s = 0.0

    def show(self, frame: Frame) -> None:
        """Draw for this frame."""
        clipped = " CLIP" if frame.clipped else "     "
        line = f"{bar(frame.rms_dbfs, frame.peak_dbfs)} {shown_level(frame.rms_dbfs)} dBFS{clipped} {self._rest()}"
        if self._in_place:
            self._stream.write(f"\r{line}\x1b[K")
            self._stream.flush()
        elif (now_s := time.monotonic()) >= self._next_line_s:
            self._next_line_s = now_s + 1.0
            self._stream.write(line + "\n")

    def close(self) -> None:
        """Leave the line, so that what follows starts on one of its own."""
        if self._in_place:
            self._stream.write("\n")
