"""Sources that make their own sound: files, synthetic sound. They go through the microphone's chain.

They have no thread: blocks are pushed when the program asks for the next frame. At real pace what imitates a microphone
pushes all blocks that have fallen due by then, from its opening on and on a schedule that does not drift, so a slow
program overruns the ring. What can wait, as a file can, is pushed block by block, when the ring is empty, so nothing is
ever lost: its clock begins when its first frame is asked for, and where it was kept waiting the clock has waited too.
"""

import time
from abc import abstractmethod
from typing import Unpack

import trio

from ravatar_audio.capture.microphone.source import Source
from ravatar_audio.choices import PACES, Pace
from ravatar_audio.conversion import CaptureOptions, Conversion
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.native import Chain

_OLD_NAMES = {"real_time": "real"}
_BLOCK_S = 0.010
"""Length of a block, so short that it ends at most one frame: with an empty ring, nothing can be dropped."""
_LATE_S = 1.0
"""Longest delay that a source which can wait catches up with; when it was kept waiting for longer, its clock stood
meanwhile."""


def is_paced(pace: str) -> bool:
    """Return whether a pace is "real", else it is "full"; raises SettingsError for another word."""
    pace = _OLD_NAMES.get(pace, pace)
    if pace not in PACES:
        raise SettingsError(f"pace {pace!r} is unknown; it is one of {', '.join(PACES)}")
    return pace == "real"


class PacedSource(Source):
    """Base of the sources that make their own sound. `_read` gives the next samples.

    `pace` is "real" (as a microphone would give them) or "full" (as fast as the program takes the frames).
    `can_wait`: nothing is lost for a program that is slow. `channels_heard`, `profile`, `gain_db`, `dc_block` and
    `ring_s` are the microphone's.
    """

    def __init__(
        self,
        *,
        pace: Pace = "real",
        can_wait: bool = False,
        **conversion: Unpack[CaptureOptions],
    ) -> None:
        super().__init__()
        self._is_paced = is_paced(pace)
        self.is_real_time: bool = self._is_paced and not can_wait
        self._conversion = Conversion.asked(conversion)
        self._start_s: float | None = None
        self._pushed_samples = 0
        self._is_at_end = self._is_finished = False

    @abstractmethod
    def _read(self, samples: int) -> bytes:
        """The next `samples` per channel, fewer at the end, none after it."""

    async def _open(self) -> None:
        self._open_chain()
        if self.is_real_time:
            self._start_s = trio.current_time()

    def _open_chain(self) -> None:
        # Two: the end may finish a frame and flush another.
        self._chain = self._conversion.chain(self.rate_hz, self.channels, self.format, least_frames=2)

    async def _next(self) -> Frame | None:
        block_samples = self._block_samples
        while (chain := self._chain) is not None:  # closed meanwhile, perhaps
            while self.is_real_time and not self._is_at_end and (ahead_s := self._ahead_s(block_samples)) <= 0:
                self._push(chain, block_samples, time.monotonic() + ahead_s)
            frame = chain.take()
            if frame is not None or self._is_finished:
                return frame
            if self._is_at_end:
                self._is_finished = True
                chain.finish()
            elif not self._is_paced:
                self._push(chain, block_samples, None)
            elif (ahead_s := self._ahead_s(block_samples)) > 0:
                await trio.sleep(ahead_s)
            else:
                self._push(chain, block_samples, time.monotonic() + ahead_s)
        return None

    @property
    def _block_samples(self) -> int:
        return max(1, int(_BLOCK_S * self.rate_hz))

    def _take_waiting(self) -> Frame | None:
        frame = super()._take_waiting()
        while frame is None and self._chain is not None and self.is_real_time and not self._is_at_end:
            if (ahead_s := self._ahead_s(self._block_samples)) > 0:
                break
            self._push(self._chain, self._block_samples, time.monotonic() + ahead_s)
            frame = super()._take_waiting()
        return frame

    def _ahead_s(self, block_samples: int) -> float:
        """How long until the next block is due."""
        now_s = trio.current_time()
        if self._start_s is None:
            self._start_s = now_s
        ahead_s = self._start_s + (self._pushed_samples + block_samples) / self.rate_hz - now_s
        if ahead_s < -_LATE_S and not self.is_real_time:
            self._start_s -= ahead_s
            return 0.0
        return ahead_s

    def _push(self, chain: Chain, samples: int, end_s: float | None) -> None:
        block = self._read(samples)
        if block:
            chain.push(block, end_s)
        self._pushed_samples += len(block) // chain.stride_bytes
        self._is_at_end = self._is_at_end or len(block) < samples * chain.stride_bytes

    async def stop(self) -> None:
        self._is_at_end = True

    async def aclose(self) -> None:
        await self.stop()
        self._close_chain()
        self._close_listeners()
