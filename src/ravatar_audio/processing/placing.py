"""The reference on the microphone's samples: placed by the sounds, its clock's difference taken out by resampling.

The reference is let alone where it is: its ratio is corrected when the sounds vouch for another one, never
its phase, as a filter would have to unlearn each pull. It is moved, by whole samples, only when the echo is
about to leave what the filter reaches; the canceller is told, and what it has learnt moves along.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from ravatar_audio.frames import HOP_SAMPLES, RATE_HZ
from ravatar_audio.processing.canceller import Canceller
from ravatar_audio.processing.delays import (
    AHEAD_SAMPLES,
    SPAN_SAMPLES,
    WINDOW_SAMPLES,
    ClockLine,
    Reading,
    Sound,
    delay_of,
)

LEAD_SAMPLES: Final = RATE_HZ // 100
"""How far behind the reference the echo is put by a move."""
REACH_SAMPLES: Final = (RATE_HZ // 250, RATE_HZ // 8)
"""Where the echo may be behind the reference without a move: 4 to 125 ms."""
WAITED_SAMPLES: Final = RATE_HZ // 20
"""How late the reference's samples may come."""
LOOK_SAMPLES: Final = RATE_HZ // 2
"""Distance from one reading of the delay to the next."""
SMEARED_PPM: Final = 30.0
"""Uncertainty of the clocks' difference from which a long window's peak is smeared."""
UNLEARNT_PPM: Final = 20.0
"""Speed of a path from which what a filter has learnt of it is worth less than nothing, once it stands still."""
KEPT_SAMPLES: Final = 6 * RATE_HZ
MOST_PPM: Final = 1_000.0

_TAPS: Final = 24
_MOST_GAP: Final = 10 * RATE_HZ
_PHASES: Final = 256


def _table() -> Sound:
    """A windowed sinc at each phase, and the next one's first for interpolation."""
    apart = np.arange(_PHASES + 1)[:, None] / _PHASES - np.arange(-_TAPS // 2 + 1, _TAPS // 2 + 1)
    taps = np.sinc(apart) * np.cos(np.pi * apart / (_TAPS + 1)) ** 2
    return np.asarray(taps / taps.sum(axis=1, keepdims=True), np.float32)


_TABLE: Final = _table()


@dataclass(frozen=True, slots=True)
class PlacingStatistics:
    """Where the reference is."""

    delay_s: float | None
    """By how much the echo is behind the reference as it is placed; None: not known yet."""
    reference_ppm: float
    """By how much the reference's clock is fast against the microphone's, as it is corrected."""
    moves: int
    moved_samples: int
    """By all moves together: how many samples later the reference is taken than it was placed."""
    corrections: int
    """Of the ratio."""
    path_changes: int
    """Times that the echo came sooner or later all at once."""
    lost_samples: int
    """Of the reference, that had not come when they were needed, or were gone; zeros took their place."""


class PlacedReference:
    """Takes the reference as it comes, and gives it as the canceller wants it; one thread.

    `begin_samples`: which of the reference's samples belongs to the microphone's first one, as far as is known (by
    capture times). `ppm` is what an earlier one has found of the same clocks.
    """

    def __init__(self, canceller: Canceller, begin_samples: int = 0, *, ppm: float = 0.0) -> None:
        self.canceller = canceller
        self._raw = np.zeros(0, np.float32)
        self._front = 0  # of the reference's samples: the first that is kept
        self._at = float(begin_samples)  # what belongs to the microphone's next one
        self._ratio = 1 + ppm * 1e-6
        self._heard = np.zeros(SPAN_SAMPLES, np.float32)
        self._placed = np.zeros(SPAN_SAMPLES, np.float32)
        self._line = ClockLine()
        self._position = self._looked = self._begun = 0  # microphone's samples; the last: without a gap since then
        self._delay: float | None = None
        self._moves = self._moved = self._corrections = self._path_changes = self._lost = 0
        self._corrected_s = 0.0

    def push(self, pcm: bytes, position_samples: int | None = None) -> None:
        """Push the reference's next samples (int16, little-endian, 16 kHz).

        `position_samples` is the first one's, counted from the reference's begin; None: it follows the last one. What
        is left out is silence, what has been there before is ignored.
        """
        sound = np.frombuffer(pcm, "<i2").astype(np.float32)
        end = self._front + len(self._raw)
        gap = 0 if position_samples is None else position_samples - end
        if gap < 0:
            sound = sound[-gap:]
        self._raw = np.concatenate([self._raw, np.zeros(min(max(0, gap), _MOST_GAP), np.float32), sound])
        if gap > _MOST_GAP:
            self._front += gap - _MOST_GAP  # so long ago that nothing of it is asked for any more
        needless = int(self._at) - self._front - KEPT_SAMPLES
        if needless > RATE_HZ:
            needless = min(needless, len(self._raw))
            self._raw, self._front = self._raw[needless:], self._front + needless

    @property
    def end_samples(self) -> int:
        """Up to where the reference is there."""
        return self._front + len(self._raw)

    def needs_samples(self, length: int) -> int:
        """Return up to where it has to be for the microphone's next `length` samples."""
        return math.ceil(self._at + self._ratio * length) + (0 if self._is_exact(self._at) else _TAPS // 2)

    def place(self, begin_samples: int) -> None:
        """Let another of the reference's samples belong to the microphone's next one; what was learnt is forgotten."""
        self._at = float(begin_samples)
        self.canceller.restart()
        self.skip(0)

    def skip(self, samples: int) -> None:
        """Note that the microphone lost so many: its next one is that much later."""
        self._at += self._ratio * samples
        self._position += samples
        self._begun = self._position
        self._tell_history(0)

    def process(self, microphone: bytes) -> bytes:
        """Return the microphone's next samples without their echo.

        Of a length that is no multiple of 256, as at an end, the last few may not come out.
        """
        odd = -len(microphone) % (2 * HOP_SAMPLES)
        if odd:
            at, position = self._at, self._position
            out = self.process(microphone + bytes(odd))[: len(microphone)]
            self._at, self._position = at + self._ratio * (len(microphone) // 2), position + len(microphone) // 2
            self.skip(0)
            return out
        heard = np.frombuffer(microphone, "<i2").astype(np.float32)
        self._lost += min(len(heard), max(0, self.needs_samples(len(heard)) - self.end_samples))
        placed = self._read(self._at, len(heard))
        self._at += self._ratio * len(heard)
        pcm = np.clip(np.rint(placed), -32_768, 32_767).astype("<i2").tobytes()
        out = self.canceller.process(microphone, pcm)
        self._heard = np.concatenate([self._heard, heard])[-SPAN_SAMPLES:]
        self._placed = np.concatenate([self._placed, placed])[-SPAN_SAMPLES:]
        self._position += len(heard)
        if self._position - self._looked >= LOOK_SAMPLES and self._position - self._begun >= SPAN_SAMPLES:
            self._looked = self._position
            self._look()
        return out

    def statistics(self) -> PlacingStatistics:
        """Return the counters as of now."""
        return PlacingStatistics(
            delay_s=None if self._delay is None else self._delay / RATE_HZ,
            reference_ppm=(self._ratio - 1) * 1e6,
            moves=self._moves,
            moved_samples=self._moved,
            corrections=self._corrections,
            path_changes=self._path_changes,
            lost_samples=self._lost,
        )

    def _is_exact(self, at: float) -> bool:
        """Samples are taken as they are."""
        return self._ratio == 1 and at == int(at)

    def _read(self, at: float, length: int) -> Sound:
        """The reference at `at`, at + ratio, ...; zeros where there is none."""
        first = int(np.floor(at)) - _TAPS // 2
        last = int(np.ceil(at + self._ratio * length)) + _TAPS // 2 + 1
        begin, end = self._front, self._front + len(self._raw)
        window = np.zeros(last - first, np.float32)
        low, high = max(first, begin), min(last, end)
        if low < high:
            window[low - first : high - first] = self._raw[low - begin : high - begin]
        if self._is_exact(at):
            return window[_TAPS // 2 : _TAPS // 2 + length]
        exact = at - first + self._ratio * np.arange(length)
        whole = exact.astype(np.int64)
        phase = (exact - whole) * _PHASES
        row = phase.astype(np.int64)
        part = (phase - row).astype(np.float32)[:, None]
        taps = _TABLE[row] * (1 - part) + _TABLE[row + 1] * part
        windows = np.lib.stride_tricks.sliding_window_view(window, _TAPS)[whole - _TAPS // 2 + 1]
        return np.asarray(np.einsum("ij,ij->i", taps, windows))

    def _look(self) -> None:
        """Read the delay, and draw the consequences."""
        window = WINDOW_SAMPLES if self._line.error_ppm < SMEARED_PPM else WINDOW_SAMPLES // 2
        delay = delay_of(self._heard, self._placed, window)
        if delay is None:
            return
        middle = self._position - AHEAD_SAMPLES - window // 2  # of the window that was compared
        reading = self._line.add(middle, self._at - self._ratio * (self._position - middle + delay))
        if reading is Reading.STRAY:
            return
        self._path_changes += reading is Reading.CHANGED
        self._delay = delay
        self._correct()
        if self._line.count >= 3 and not REACH_SAMPLES[0] <= delay <= REACH_SAMPLES[1]:
            # what is not there yet may be waited for
            ahead = self.end_samples - math.ceil(self._at) - _TAPS + WAITED_SAMPLES
            later = min(round(LEAD_SAMPLES - delay), ahead)
            if later < 0 or delay + later >= REACH_SAMPLES[0]:
                self._move(later)

    def _correct(self) -> None:
        """Another ratio, when the line through the delays says so beyond doubt."""
        line = self._line
        off_ppm = line.ppm - (self._ratio - 1) * 1e6
        wait_s = 1.0 if abs(off_ppm) > 10 else 5.0
        now_s = self._position / RATE_HZ
        if now_s - self._corrected_s < wait_s or abs(line.ppm) > MOST_PPM or line.error_ppm > 100:
            return
        if abs(off_ppm) > max(0.3, 2 * line.error_ppm):
            self._ratio = 1 + line.ppm * 1e-6
            self._corrections += 1
            self._corrected_s = now_s
            if abs(off_ppm) > UNLEARNT_PPM:
                self.canceller.restart()

    def _move(self, later: int) -> None:
        """Let the echo be `later` samples later behind the reference: the reference is taken from further on."""
        self._at += later
        self._tell_history(later)
        self._placed = self._read(self._at - self._ratio * SPAN_SAMPLES, SPAN_SAMPLES)
        self._moves += 1
        self._moved += later

    def _tell_history(self, later: int) -> None:
        length = self.canceller.history_samples
        history = self._read(self._at - self._ratio * length, length)
        self.canceller.move(later, np.clip(np.rint(history), -32_768, 32_767).astype("<i2").tobytes())
