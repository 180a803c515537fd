"""Blocks that reach the chain through Python: their count and their timing, as rva_stream.h has them for C."""

import time
from typing import TYPE_CHECKING

from ravatar_audio.capture.streams.stream import StreamStatistics
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ
from ravatar_audio.native import Chain

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


AGE_MAX_S, AGE_ANYWAY_S, PAUSE_S, FRESH_S, STEADINESS = 60.0, 2.0, 0.1, 0.05, 16
"""As in csrc/streams/rva_stream.c, which has the reasons."""


class Blocks:
    """Pushes one stream's blocks and counts them. Seconds are of the monotonic clock."""

    def __init__(self, chain: Chain, rate_hz: int, opened_s: float, resume_ns: int = 0) -> None:
        """`resume_ns` is captured_ns of the stream that fed the chain before; 0: there was none."""
        self._chain, self._rate_hz = chain, rate_hz
        self._blocks = self._overruns = self._untimed_blocks = 0
        self._longest_block_s = 0.0
        self._opened_s, self._last_block_s = opened_s, 0.0
        self._previous_end_s, self._resumes = resume_ns * 1e-9, resume_ns != 0
        self.has_finished, self.finish_code = False, 0

    @property
    def count(self) -> int:
        """Blocks so far."""
        return self._blocks

    @property
    def missing_samples(self) -> float:
        """Of the device, until the open frame is full."""
        return (FRAME_SAMPLES - self._chain.statistics().open_samples) * self._rate_hz / RATE_HZ

    def take(
        self, block: "ReadableBuffer", samples: int, arrived_s: float, age_s: float | None, has_overrun: bool
    ) -> None:
        """A block of `samples` per channel, whose last sample was `age_s` old when it came; None: nobody knows.

        `has_overrun`: sound was lost before it; how much is known from the capture times. A pause is not marked.
        """
        is_believable = age_s is not None and -0.05 < age_s < AGE_MAX_S
        end_s = arrived_s - max(0.0, age_s) if is_believable and age_s else arrived_s
        if arrived_s - end_s >= AGE_ANYWAY_S and end_s < self._previous_end_s:
            is_believable, end_s = False, arrived_s
        self._untimed_blocks += not is_believable
        begin_s = end_s - samples / self._rate_hz
        if self._resumes:
            begin_s = max(begin_s, self._opened_s)
        gap_s = begin_s - self._previous_end_s if self._previous_end_s else 0.0
        has_paused = min(gap_s, arrived_s - self._last_block_s) > PAUSE_S and arrived_s - end_s < FRESH_S
        is_gap = has_overrun or self._resumes or has_paused
        if is_gap:
            self._resumes = False
            self._overruns += 1
            self._chain.note_loss(max(0, round(gap_s * self._rate_hz)))
        expected_s = self._previous_end_s + samples / self._rate_hz
        is_steady = self._blocks and not is_gap and abs(end_s - expected_s) < PAUSE_S
        self._previous_end_s = expected_s + (end_s - expected_s) / STEADINESS if is_steady else end_s
        begun_s = time.monotonic()
        self._chain.push(block, end_s)
        self._blocks += 1
        self._last_block_s = arrived_s
        self._longest_block_s = max(self._longest_block_s, time.monotonic() - begun_s)

    def finish(self, code: int) -> None:
        """The stream has ended by itself; `code` is a negative errno."""
        self.has_finished, self.finish_code = True, code

    def statistics(self) -> StreamStatistics:
        """As of now."""
        return StreamStatistics(
            blocks=self._blocks,
            overruns=self._overruns,
            untimed_blocks=self._untimed_blocks,
            longest_block_s=self._longest_block_s,
            opened_s=self._opened_s,
            last_block_s=self._last_block_s or None,
            captured_ns=round(self._previous_end_s * 1e9),
            has_finished=self.has_finished,
            finish_code=self.finish_code,
        )
