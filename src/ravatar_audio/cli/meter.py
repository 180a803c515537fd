"""The live meter: one line that is rewritten in a terminal, one line a second elsewhere if asked for."""

import math
import os
import sys
import time
from collections.abc import Callable

from ravatar_audio.frames import Frame
from ravatar_audio.turns import Gate, TurnMode

FLOOR_DBFS = -60.0
BAR_CELLS = 24


def bar(rms_dbfs: float, peak_dbfs: float) -> str:
    """Return a bar from -60 to 0 dBFS: filled up to the RMS level, with a mark at the peak."""
    cells = ["·"] * BAR_CELLS
    for index in range(_cell(rms_dbfs)):
        cells[index] = "█"
    if (peak := _cell(peak_dbfs)) > 0:
        cells[peak - 1] = "▌" if cells[peak - 1] == "·" else cells[peak - 1]
    return "".join(cells)


def _cell(level_dbfs: float) -> int:
    return max(0, min(BAR_CELLS, round((1 - level_dbfs / FLOOR_DBFS) * BAR_CELLS))) if level_dbfs > -math.inf else 0


def shown_level(level_dbfs: float) -> str:
    """Return a level as the meter prints it, five characters wide."""
    return " -inf" if level_dbfs == -math.inf else f"{level_dbfs:5.1f}"


def gate_state(gate: Gate) -> str:
    """Return what the gate does, in one word of at most eight letters."""
    if gate.is_muted:
        return "muted"
    if gate.is_open:
        return "SENDING"
    if gate.is_gated and gate.mode is not TurnMode.PTT:
        return "avatar"
    return {TurnMode.OPEN: "open", TurnMode.PTT: "ready", TurnMode.VAD: "listens"}[gate.mode]


class Meter:
    """Shows the level of each frame that is heard. `rest` gives the text behind the level at the time of drawing.

    On a terminal the line is rewritten with each frame, cut to the terminal's width; elsewhere a line is written about
    once a second.
    """

    def __init__(self, rest: Callable[[], str]) -> None:
        self._rest = rest
        self._stream = sys.stderr
        self._in_place = self._stream.isatty()
        self._next_line_s = 0.0

    def show(self, frame: Frame) -> None:
        """Draw for this frame."""
        now_s = time.monotonic()
        if not self._in_place and now_s < self._next_line_s:
            return
        clipped = "CLIP" if frame.clipped else "    "
        level = f"{shown_level(frame.rms_dbfs)} dBFS, peak {shown_level(frame.peak_dbfs)} {clipped}"
        line = f"{bar(frame.rms_dbfs, frame.peak_dbfs)} {level} {self._rest()}"
        if self._in_place:
            columns = os.get_terminal_size(self._stream.fileno()).columns
            self._stream.write(f"\r{line[: columns - 1 if columns else None]}\x1b[K")
            self._stream.flush()
        else:
            self._next_line_s = now_s + 1.0
            self._stream.write(line + "\n")

    def close(self) -> None:
        """Leave the line, so that what follows starts on one of its own."""
        if self._in_place:
            self._stream.write("\n")
