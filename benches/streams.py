"""How many real-time streams does one process carry on one core? Lateness of every frame, over wss.

Each stream sends one live voice message every 256 ms, the streams spread evenly over the period, to a server in another
process. One task is the clock of all: it wakes each millisecond at most, and sends what has fallen due. A frame's
lateness is how long after its due time its message had been written to the socket: waiting for the processor, encoding,
TLS and the system call. Client and server have a core each, and real-time priority where the system grants it, so that
what else the machine does counts less. `ours` are links, watchdog and all; `sessions` are whole live sessions, each
with a source and tasks of its own, where a frame costs a task's wake-up besides. Beside the links run the usual
pipeline (json.dumps, binascii, trio-websocket) and picows, websockets and aiohttp on uvloop (streams_asyncio.py).
What compares them is the number of streams that each carries with p99 below 5 ms, found by a search: lateness beyond
that number is that of a queue which grows as long as one looks on.
"""

import argparse
import gc
import json
import math
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

import trio
import trio_websocket

from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import LinkLimits, open_link
from ravatar_audio.api.results import Connection, LiveStart
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.session import LiveSession
from ravatar_audio.settings import Settings

from . import streams_asyncio
from .message import ENVELOPE, PCM, by_json, cpu_s
from .rig.harness import Report, arguments, percentile, progress, this_module
from .rig.sink import running_sink, take_core
from .rig.sweep import search_all, several
from .streams_asyncio import CONNECTS_AT_A_TIME, SETTLE_S, TICK_S

PERIOD_S = FRAME_SAMPLES / RATE_HZ

Send = Callable[[float], Awaitable[None]]
"""Sends one frame that was due at a time, and has the clockwork note when it was written."""


class Clockwork:
    """Sends for all streams when the last one is connected, and notes how late each frame was."""

    def __init__(self, streams: int, seconds: float) -> None:
        self.streams = streams
        self.frames = round(seconds / PERIOD_S)
        self.lateness_s = array("d")
        self.limiter = trio.CapacityLimiter(CONNECTS_AT_A_TIME)
        self.cpu_s = 0.0
        self._senders: list[Send] = []
        self._connected, self._written, self._end = trio.Event(), trio.Event(), trio.Event()

    async def run(self, send: Send) -> None:
        """Be one of the streams, until all of them have ended."""
        self._senders.append(send)
        if len(self._senders) == self.streams:
            self._connected.set()
        await self._end.wait()

    def note(self, due_s: float) -> None:
        """A frame has been written."""
        self.lateness_s.append(trio.current_time() - due_s)
        if len(self.lateness_s) == self.frames * self.streams:
            self._written.set()

    async def tick(self) -> None:
        """The clock of all streams."""
        await self._connected.wait()
        gc.collect()
        gc.freeze()  # what is there now stays: full collections would go through all streams, for 50 ms each
        began_s = trio.current_time() + SETTLE_S
        self.cpu_s = cpu_s()
        step_s = PERIOD_S / self.streams
        for number in range(self.frames * self.streams):
            due_s = began_s + number * step_s
            if trio.current_time() < due_s:
                await trio.sleep_until(max(due_s, trio.current_time() + TICK_S))
            await self._senders[number % self.streams](due_s)
        await self._written.wait()
        self.cpu_s = cpu_s() - self.cpu_s
        self._end.set()


async def ours(clockwork: Clockwork, url: str, context: ssl.SSLContext) -> None:
    """One stream over the session's link, watched as there."""
    encoder = AudioEncoder(ENVELOPE)
    async with clockwork.limiter:
        manager = open_link(url, "token", context, LinkLimits(connect_s=60))
        link = await manager.__aenter__()
    try:
        async with trio.open_nursery() as nursery:

            async def drain() -> None:
                while True:
                    await link.receive()

            async def send(due_s: float) -> None:
                if not encoder.send_now(link, PCM):
                    await encoder.send(link, PCM)
                clockwork.note(due_s)

            nursery.start_soon(drain)
            nursery.start_soon(link.watch)
            await clockwork.run(send)
            nursery.cancel_scope.cancel()
    finally:
        await manager.__aexit__(None, None, None)


async def usual(clockwork: Clockwork, url: str, context: ssl.SSLContext) -> None:
    """One stream as trio-websocket's documentation shows it."""
    async with clockwork.limiter:
        manager = trio_websocket.open_websocket_url(url + "?token=token", ssl_context=context)
        socket = await manager.__aenter__()
    try:

        async def send(due_s: float) -> None:
            await socket.send_message(by_json())
            clockwork.note(due_s)

        await clockwork.run(send)
    finally:
        await manager.__aexit__(None, None, None)


class Offered(Platform):
    """The platform's HTTP side, without HTTP: what a session is told before it connects."""

    async def request_token(self) -> str:
        return "token"

    async def connection(self) -> Connection:
        avatar = {"_id": ENVELOPE.avatar_id, "name": "Ava", "hasLiveMode": True}
        language = {"name": "English", "language_code": ENVELOPE.language}
        return Connection.parse({"session": ENVELOPE.session, "avatars_info": [avatar], "languages": [language]})

    async def start_live(self, *_: object, **__: object) -> LiveStart:
        return LiveStart(ENVELOPE.license_id or "", "")

    async def end_live(self, license_id: str) -> None:
        pass


class Fed:
    """A source that gives a frame when it is told to, as a microphone's wake-up does; it waits when it is not taken."""

    is_real_time = True

    def __init__(self) -> None:
        self._due_s: deque[float] = deque()
        self._waiting: trio.lowlevel.Task | None = None
        self._seq = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        while not self._due_s:
            self._waiting = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        now_s = time.monotonic()
        self._seq += 1
        first = self._seq * FRAME_SAMPLES
        due_s = self._due_s.popleft()  # goes with the frame as when the core finished it
        return Frame(PCM, self._seq, first, FRAME_SAMPLES, now_s, due_s, 0, 0, False, False, 0, 1, b"")

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def give(self, due_s: float) -> None:
        """The next frame."""
        self._due_s.append(due_s)
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None


async def session(clockwork: Clockwork, platform: Platform) -> None:
    """One whole live session."""
    source = Fed()
    limits = LinkLimits(connect_s=60)

    def note(frame: Frame) -> None:
        clockwork.note(frame.finished_s)

    live = LiveSession(platform.settings, source, platform=platform, limits=limits, on_sent=note)
    async with clockwork.limiter:
        await live.__aenter__()
    try:
        await clockwork.run(source.give)
    finally:
        await live.__aexit__(None, None, None)


class Run(NamedTuple):
    """What one process tells."""

    figures: dict[str, float]
    late_ms: dict[str, int]
    """Lateness, rounded, and how many frames had it."""


async def run_streams(pipeline: str, streams: int, seconds: float, url: str, authority: str) -> Run:
    """All streams in this process."""
    clockwork = Clockwork(streams, seconds)
    context = ssl.create_default_context(cafile=authority)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as state_dir:
        settings = Settings(
            api_url="https://localhost", ws_url=url, ca_file=authority, state_dir=state_dir, outbox_ms=600_000
        )
        async with Offered(settings, ENVELOPE.user_id) as platform, trio.open_nursery() as nursery:
            nursery.start_soon(clockwork.tick)
            for _ in range(streams):
                if pipeline == "sessions":
                    nursery.start_soon(session, clockwork, platform)
                else:
                    nursery.start_soon({"ours": ours, "usual": usual}[pipeline], clockwork, url, context)
    return judged(clockwork.lateness_s, clockwork.frames, clockwork.cpu_s, time.monotonic() - began_s)


def run_others(contender: str, streams: int, seconds: float, url: str, authority: str) -> Run:
    """The same of a library on asyncio."""
    began_s, frames = time.monotonic(), round(seconds / PERIOD_S)
    lateness_s, took_s = streams_asyncio.run(contender, streams, frames, PERIOD_S, url, authority)
    return judged(lateness_s, frames, took_s, time.monotonic() - began_s)


def judged(lateness_s: "array[float]", frames: int, took_cpu_s: float, whole_s: float) -> Run:
    """What is told of `frames` frames of each stream."""
    late_ms = [value * 1000 for value in lateness_s]
    figures = {
        "frames": len(late_ms),
        "p50_ms": percentile(late_ms, 50),
        "p99_ms": percentile(late_ms, 99),
        "max_ms": max(late_ms),
        "late_frames": sum(value > PERIOD_S * 1000 for value in late_ms),
        "cpu_us": took_cpu_s / len(late_ms) * 1e6,
        "core_percent": 100 * took_cpu_s / (frames * PERIOD_S),
        "whole_s": whole_s,
    }
    return Run(figures, Counter(f"{value:.3g}" for value in late_ms))


def in_own_process(pipeline: str, streams: int, seconds: float, core: bool) -> Run:
    """One run with a fresh server; each on a core of its own where there are two."""
    with running_sink(secure=True, core=1 if core else None, real_time=True) as (url, authority):
        command = this_module("streams", "--run", pipeline, streams, seconds, url, authority)
        run = subprocess.run(
            [*command, "0" if core else "-1"], stdout=subprocess.PIPE, text=True, timeout=900, check=True
        )
    return Run(*json.loads(run.stdout))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--streams", type=int, default=2_000, help="streams of our own pipeline")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long each run streams")
    parser.add_argument(
        "--sweep", action="store_true", help="the search, and then several processes at once; see sweep.py"
    )


def main() -> None:
    if "--run" in sys.argv:
        pipeline, count, duration, url, authority, own_core = sys.argv[2:]
        take_core(int(own_core), real_time=True)
        words = (pipeline, int(count), float(duration), url, authority)
        made = run_others(*words) if pipeline in streams_asyncio.CONTENDERS else trio.run(run_streams, *words)
        print(json.dumps(made))
        return
    options = arguments("streams", __doc__, add_options)
    seconds = min(5.0, options.seconds) if options.quick else options.seconds
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * options.streams + 200, 8_400)), hard))
    core = (os.cpu_count() or 1) > 1 and hasattr(os, "sched_setaffinity")
    report = Report("streams")
    if not streams_asyncio.has_uvloop():
        report.lacks("uvloop", "is not installed, so the libraries on asyncio ran on its own loop: pip install uvloop")

    def run(pipeline: str, streams: int, is_alone: bool) -> dict[str, float]:
        try:
            return in_own_process(pipeline, streams, min(seconds, 6.0), core and is_alone).figures
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            report.note(f"{pipeline}, {streams} streams: broke down, which counts as late: {error}")
            return {"p99_ms": math.inf, "late_frames": streams, "cpu_us": math.nan}

    search_all(report, run, quick=options.quick)
    if options.sweep:
        several(report, run, quick=options.quick)
        report.finish(options)
        return
    runs = [("ours", options.streams), ("sessions", options.streams * 3 // 4)]
    costs_us: dict[str, float] = {}
    for number, (pipeline, streams) in enumerate(runs):
        progress(0.9 + 0.1 * number / len(runs), f"{pipeline}, {streams}")
        figures, late_ms = in_own_process(pipeline, streams, seconds, core)
        name = f"{pipeline}_{streams}"
        counts = {float(value): times for value, times in late_ms.items()}
        report.distribution(name, counts, "ms", plot="Lateness of frames, many streams on one core")
        costs_us[f"{pipeline}, {streams}"] = figures["cpu_us"]
        has_goal = pipeline == "ours"
        report.at_most(f"{name}_late_frames", figures["late_frames"], "frames over 256 ms", 0 if has_goal else None)
        report.at_most(f"{name}_p50", figures["p50_ms"], "ms of lateness")
        report.at_most(f"{name}_p99", figures["p99_ms"], "ms of lateness", 5.0 if has_goal else None)
        report.at_most(f"{name}_max", figures["max_ms"], "ms of lateness", 256.0 if has_goal else None)
        report.at_most(f"{name}_cpu", figures["cpu_us"], "µs of CPU a frame")
        report.at_most(f"{name}_core", figures["core_percent"], "% of a core")
    report.comparison("CPU of a frame, many streams on one core", costs_us, "us", ours=list(costs_us))
    report.finish(options)


if __name__ == "__main__":
    main()
