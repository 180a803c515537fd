"""Streams a microphone to an emulator and tells what happens, a JSON line each, until standard input ends.

Its argument is JSON: Microphone's arguments, "ramp": whether the microphone hears rising samples at 16 kHz, and "slip":
so many samples at a time may be lost or inserted as silence on the way, which is not told; "settling": of gaps that
are at most so many frames apart the sum is told; "constants": values of other constants of the capture. Lines:
{"frames": n, "held": ...} for each second frame, {"event": kind, ...} for events, with the time at which the newest
block of its last stream came, {"not_yet": message} for each attempt to open it again that fails, {"error": code, ...},
and at the end a line with "gaps" that sums up, the live session too.
"""

import importlib
import itertools
import json
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import trio
from numpy.typing import NDArray

from ravatar_audio import Emulator, EmulatorSettings, Frame, LiveSession, Settings
from ravatar_audio.capture import Microphone
from ravatar_audio.capture.streams.stream import Stream
from ravatar_audio.errors import RavatarError
from tests.device.capture_child import be_urgent

RATE_HZ, RAMP = 16_000, 32_768


def tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def held() -> dict[str, float]:
    """What this process has of the machine."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "memory_kib": pages * resource.getpagesize() // 1024,
        "cpu_s": time.process_time(),
    }


class Telling(logging.Handler):
    """Tells what a module of the capture logs."""

    def __init__(self, module: str, key: str) -> None:
        super().__init__()
        self._key = key
        logger = logging.getLogger(f"ravatar_audio.capture.{module}")
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        tell(**{self._key: record.getMessage()})


class Heard:
    """What the frames say of what was lost between them; what their times say; and their sound, where it is a ramp."""

    def __init__(self, *, is_ramp: bool, slip: int, settling: int) -> None:
        self._is_ramp, self._slip, self._settling = is_ramp, slip, settling
        self._since_last_value = 0
        self._last_value: int | None = None
        self._offsets: list[list[float]] = [[]]
        self._samples = 0
        self._lost, self._is_told = 0, False
        self._gaps: list[dict[str, Any]] = []
        self._gap_frame = -settling - 1
        self.count = 0
        self.lost_samples = 0
        self.is_in_order = True

    def add(self, frame: Frame) -> None:
        missing = self._missing(np.frombuffer(frame.pcm, "<i2")[: frame.length_samples]) if self._is_ramp else 0
        self.lost_samples += frame.device_lost_samples
        self._lost += frame.device_lost_samples
        self._is_told |= frame.discontinuity
        # A server may begin with silence: what is missing shows where the ramp goes on.
        is_silent = self._slip > 0 and self._since_last_value > 0
        is_settling = self.count - self._gap_frame <= self._settling
        least = 0 if is_settling else self._slip
        if self.count and not is_silent and (self._is_told or abs(missing) > least):
            if not is_settling:
                self._gaps.append({"lost": 0, "is_told": False} | ({"by_ramp": 0} if self._is_ramp else {}))
                self._offsets.append([])
            gap = self._gaps[-1]
            gap["lost"] += self._lost
            gap["is_told"] |= self._is_told
            if self._is_ramp:
                gap["by_ramp"] = (gap["by_ramp"] + missing) % RAMP
            self._offsets[-1].clear()
            self._gap_frame = self.count
            self._lost, self._is_told = 0, False
        self.is_in_order &= frame.seq == self.count
        self.count += 1
        self._samples += frame.length_samples
        self._offsets[-1].append(frame.captured_s * RATE_HZ - self._samples)

    def _missing(self, values: NDArray[np.int16]) -> int:
        """By the ramp, since the samples before; inserted ones are negative. Silence at the end is left to the next."""
        sounding = np.flatnonzero(values)
        if sounding.size == 0:
            self._since_last_value += values.size
            return 0
        last = int(sounding[-1])
        if self._last_value is None:
            self._last_value, self._since_last_value = int(values[last]), -1 - last
        missing = int(values[last]) - self._last_value - self._since_last_value - last - 1
        self._last_value, self._since_last_value = int(values[last]), values.size - 1 - last
        return (missing + RAMP // 2) % RAMP - RAMP // 2

    def gaps(self) -> list[dict[str, Any]]:
        """Each gap: samples by the frame, by the times of the frames on both sides, and modulo RAMP by the ramp."""
        offsets = [statistics.median(offsets) for offsets in self._offsets]
        return [
            gap | {"by_clock": after - before}
            for gap, (before, after) in zip(self._gaps, itertools.pairwise(offsets), strict=True)
        ]


async def main(arguments: dict[str, Any]) -> None:
    takes = {name: arguments.pop(name, 0) for name in ("slip", "settling")}
    for name, value in arguments.pop("constants", {}).items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(f"ravatar_audio.capture.{module}"), constant, value)
    heard = Heard(is_ramp=arguments.pop("ramp", False), **takes)
    microphone = Microphone(**arguments)
    given_lost = 0

    async def noted() -> AsyncIterator[Frame]:
        nonlocal given_lost
        async for frame in microphone:
            given_lost += frame.device_lost_samples + frame.ring_lost_samples
            yield frame
            heard.add(frame)
            last_block_s()  # which notes the stream
            if heard.count % 2 == 0:
                tell(frames=heard.count, held=held())

    stream: Stream | None = None

    def last_block_s() -> float | None:
        nonlocal stream
        stream = microphone._opened.stream if microphone._opened else stream
        return stream.statistics().last_block_s if stream else None

    async def hear_events() -> None:
        async for event in microphone.events():
            tell(event=event.kind, message=event.message, at_s=event.at_s, last_block_s=last_block_s())

    async def stop_when_told() -> None:
        await trio.lowlevel.wait_readable(0)
        assert os.read(0, 1) == b""
        await microphone.stop()  # what there is by then still goes out

    Telling("microphone.retry", "not_yet")
    summary: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as state:
        async with Emulator(EmulatorSettings()) as emulator:
            settings = Settings(api_url=emulator.api_url, state_dir=state)
            try:
                async with microphone, trio.open_nursery() as nursery:
                    nursery.start_soon(hear_events)
                    async with LiveSession(settings, noted()) as live:
                        nursery.start_soon(stop_when_told)
                        await live.wait_finished()
                    nursery.cancel_scope.cancel()
            except* RavatarError as errors:
                for error in errors.exceptions:
                    tell(error=str(error))
        sent = live.statistics()
        summary |= {
            "reconnects": sent.reconnects,
            "unsent": sent.taken_samples - sent.sent_samples - sent.pending_samples,
            "session_lost": sent.source_lost_samples,
            "violations": emulator.statistics().violation_count,
        }
    counts = microphone.statistics()
    unaccounted = (
        counts.captured_samples - counts.delivered_samples - counts.ring_dropped_samples - counts.pending_samples
    )
    tell(
        gaps=heard.gaps(),
        frames=heard.count,
        is_in_order=heard.is_in_order,
        unaccounted=unaccounted,
        lost=counts.device_lost_samples,
        given_lost=given_lost,
        heard_lost=heard.lost_samples,
        **summary,
    )


if __name__ == "__main__":
    be_urgent()
    trio.run(main, json.loads(sys.argv[1]))
