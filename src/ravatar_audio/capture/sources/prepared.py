"""Sound that was converted once and is spoken by many: a source for simulated clients, thousands in one process."""

import heapq
import math
import random
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import trio

from ravatar_audio.capture.microphone.capture_statistics import CaptureStatistics
from ravatar_audio.capture.microphone.source import Source
from ravatar_audio.conversion import Conversion
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, HOP, HOP_SAMPLES, RATE_HZ, Frame

FRAME_S = FRAME_SAMPLES / RATE_HZ


class SharedClock:
    """One task that wakes all sources of a process when their frames fall due.

    A frame costs a reschedule then, not a cancel scope with a deadline of its own. `run` goes on for ever.
    """

    TICK_S = 0.001
    """Sources that are due within so much of each other are woken together."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, list[trio.lowlevel.Task]]] = []
        self._number = 0
        self._sooner = trio.lowlevel.ParkingLot()
        self._wakes_s = math.inf

    async def run(self) -> None:
        """Wake those who wait, for ever."""
        while True:
            now_s = trio.current_time()
            while self._waiting and self._waiting[0][0] <= now_s:
                for task in heapq.heappop(self._waiting)[2]:
                    trio.lowlevel.reschedule(task)
            next_s = self._waiting[0][0] if self._waiting else math.inf
            self._wakes_s = max(next_s, now_s + self.TICK_S)
            with trio.move_on_at(self._wakes_s):
                await self._sooner.park()

    async def wait_until(self, due_s: float) -> None:
        """Sleep until `due_s`, by trio's clock."""
        waiter = [trio.lowlevel.current_task()]
        self._number += 1
        heapq.heappush(self._waiting, (due_s, self._number, waiter))
        if due_s < self._wakes_s:
            self._sooner.unpark_all()

        def leave(_: object) -> trio.lowlevel.Abort:
            waiter.clear()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something said, as whole frames at 16 kHz, converted once; sources share the bytes."""

    name: str
    frames: tuple[Frame, ...]

    @property
    def length_s(self) -> float:
        """Of whole frames."""
        return len(self.frames) * FRAME_S

    @classmethod
    async def prepare(cls, source: Source) -> "Utterance":
        """Take all frames of a source that is not open yet, as fast as it gives them; the last one is filled with
        silence.

        Raises SettingsError for one without sound, and what the source raises.
        """
        async with source:
            frames = [frame async for frame in source]
            name = source.name
        if not any(frame.length_samples for frame in frames):
            raise SettingsError(f"{name!r} has no sound in it, so nothing can be said with it")
        return cls(name, tuple(frame._replace(length_samples=FRAME_SAMPLES, flushed=False) for frame in frames))


@cache
def _silence() -> Frame:
    """As a microphone hears it: the last bit flickers, so that nobody takes it for a muted one."""
    pattern = random.Random(1)  # noqa: S311 - no secret
    values = array("h", pattern.choices((-1, 0, 1), k=FRAME_SAMPLES))
    hops = b""
    for begin in range(0, FRAME_SAMPLES, HOP_SAMPLES):
        hops += HOP.pack(sum(value * value for value in values[begin : begin + HOP_SAMPLES]), HOP_SAMPLES, 1, 0, 0)
    if sys.byteorder == "big":
        values.byteswap()
    return Frame(values.tobytes(), 0, 0, FRAME_SAMPLES, 0.0, 0.0, 0, 0, False, False, 0, 1, hops)


class Spoken(NamedTuple):
    """Where a frame stands in what is said. Times by time.monotonic()."""

    begins_s: float
    """When its first sample is due."""
    ends_s: float
    """When its last one is."""
    is_first: bool
    """Of an utterance; as `is_last`."""
    is_last: bool


class PreparedSource(Source):
    """Utterances with silence between them, in real time, on a schedule that does not drift, as an async iterator.

        async with PreparedSource(utterances, pauses_s=[2.0, 3.5], clock=clock) as source: ...

    `utterances` are said in turn, from number `first` on; behind each comes silence, rounded up to whole frames, of the
    next length of `pauses_s`, the last of which goes on. `lead_s` of silence come first. It ends after `duration_s`;
    None: never. Frame k is due at the beginning + 0.256 (k + 1) s, whatever happened before. The beginning is when it
    is opened or, with `waits`, when `begin` is called; or when a session begins after that (`discard`). What is not
    taken within `ring_s` is lost and counted, the oldest first, as from a microphone. `clock` is one for all sources of
    a process; somebody must run it. `on_frame` is called with each frame's place before it is given out, and must
    return at once.

    Raises SettingsError for no utterances, and for times below 0.
    """

    backend = "prepared"

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        clock: SharedClock,
        pauses_s: Iterable[float] = (1.5,),
        lead_s: float = 0.0,
        first: int = 0,
        duration_s: float | None = None,
        ring_s: float = 2.048,
        waits: bool = False,
        on_frame: Callable[[Spoken], None] | None = None,
    ) -> None:
        super().__init__()
        if not utterances:
            raise SettingsError("a prepared source needs at least one utterance")
        if not (lead_s >= 0 and (duration_s is None or duration_s >= 0)):
            raise SettingsError(f"lead_s is {lead_s} and duration_s {duration_s}; each must be 0 or more")
        self.name: str
        self.rate_hz: int
        self.channels: int
        self.format: str
        self.name, self.rate_hz, self.channels, self.format = "prepared", RATE_HZ, 1, "int16"
        self._clock, self._on_frame = clock, on_frame
        self._script = self._say(utterances, iter(pauses_s), lead_s, first)
        self._end_frames = math.inf if duration_s is None else round(duration_s / FRAME_S)
        self._capacity_frames = Conversion(ring_s=ring_s).capacity_frames
        self._waits, self._begun = waits, trio.Event()
        self._begin_s: float | None = None
        """By trio's clock, of frame number `_begin_seq`."""
        self._begin_seq = self._seq = 0
        self._lost_samples = self._ring_dropped_frames = 0

    def _say(
        self, utterances: Sequence[Utterance], pauses_s: Iterator[float], lead_s: float, first: int
    ) -> Iterator[tuple[Frame, bool, bool]]:
        for _ in range(math.ceil(lead_s / FRAME_S)):
            yield _silence(), False, False
        number, pause_s = first, 0.0
        while True:
            frames = utterances[number % len(utterances)].frames
            for index, frame in enumerate(frames):
                yield frame, index == 0, index == len(frames) - 1
            pause_s = next(pauses_s, pause_s)
            for _ in range(math.ceil(pause_s / FRAME_S)):
                yield _silence(), False, False
            number += 1

    async def _open(self) -> None:
        self._to_monotonic_s = time.monotonic() - trio.current_time()  # trio's clock begins anywhere
        if not self._waits:
            self.begin()

    def begin(self) -> None:
        """Begin to speak, now; without `waits` opening does it. Called again, and once closed, it does nothing."""
        if not self._begun.is_set():
            self._begin_s = trio.current_time()
            self._begun.set()

    @property
    def _due_s(self) -> float:
        """When the next frame is there."""
        assert self._begin_s is not None
        return self._begin_s + (self._seq - self._begin_seq + 1) * FRAME_S

    async def _next(self) -> Frame | None:
        if not self._begun.is_set():
            await self._begun.wait()
        if self._begin_s is None or self._seq >= self._end_frames:
            return None
        if self._due_s > trio.current_time():
            await self._clock.wait_until(self._due_s)
        else:
            await trio.lowlevel.checkpoint()
        return self._take_waiting()

    async def _yield(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()  # a second turn of trio's loop costs 6 us a frame

    def _take_waiting(self) -> Frame | None:
        if self._begin_s is None or self._seq >= self._end_frames or self._due_s > trio.current_time():
            return None
        behind_frames = int((trio.current_time() - self._due_s) / FRAME_S) + 1 - self._capacity_frames
        for _ in range(max(0, behind_frames)):
            if self._seq + 1 >= self._end_frames:
                break
            next(self._script)
            self._seq += 1
            self._lost_samples += FRAME_SAMPLES
            self._ring_dropped_frames += 1
        said, is_first, is_last = next(self._script)
        ends_s = self._due_s + self._to_monotonic_s
        lost_samples, self._lost_samples = self._lost_samples, 0
        seq = self._seq
        frame = Frame(
            said.pcm, seq, seq * FRAME_SAMPLES, FRAME_SAMPLES, ends_s, ends_s, lost_samples, 0, lost_samples > 0, False,
            said.clipped, said.peak, said.hop_data,
        )  # fmt: skip
        self._seq += 1
        if self._on_frame is not None:
            self._on_frame(Spoken(ends_s - FRAME_S, ends_s, is_first, is_last))
        return frame

    def _discard(self) -> None:
        """Begin the schedule now: what was due before is as if it had never been said."""
        if self._begin_s is not None:
            self._begin_s, self._begin_seq = trio.current_time(), self._seq

    async def stop(self) -> None:
        self._end_frames = self._seq
        self._begun.set()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self.stop()
        self.statistics()
        self._begin_s = None
        self._close_listeners()

    def statistics(self) -> CaptureStatistics:
        """Return the counters as of now; once closed, as of then."""
        if self._begin_s is not None:
            due_frames = self._begin_seq + int((trio.current_time() - self._begin_s) / FRAME_S)
            captured = max(self._seq, int(min(due_frames, self._end_frames)))
            self._last_statistics = CaptureStatistics(
                captured_samples=captured * FRAME_SAMPLES,
                delivered_samples=self._delivered_samples,
                ring_dropped_samples=self._ring_dropped_frames * FRAME_SAMPLES,
                pending_samples=(captured - self._delivered_frames - self._ring_dropped_frames) * FRAME_SAMPLES,
                device_lost_samples=0,
                device_overruns=0,
                delivered_frames=self._delivered_frames,
                ring_dropped_frames=self._ring_dropped_frames,
                device_samples=captured * FRAME_SAMPLES,
                blocks=captured,
                clipped=0,
                longest_block_s=0.0,
                untimed_blocks=0,
                wake_failures=0,
            )
        return self._last_statistics
