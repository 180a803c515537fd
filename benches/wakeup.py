"""How long from a thread of C to a task of trio? Ways to wake trio, side by side, while the interpreter is busy or not.

A C thread (no interpreter in it, as an audio thread) has something for a trio task every 20 ms; what counts is the time
until the task runs. `eventfd` is this package's own way: the thread pushes into a chain of the core, which ends a
frame, stamps it, commits it and writes the eventfd; the task waits as a Microphone does. `poll_5_ms` and `poll_10_ms`
look for a frame with trio.sleep in between. `run_sync_soon` and `from_thread` are trio's
entries for threads, called from a Python callback of the C thread, as the sound libraries make them; the time before
the callback has the interpreter counts, as the sound has to wait for it, and so does what falls due meanwhile.

Loads: idle; a thread that computes all the time; the garbage collector going through 200,000 objects again and again.
All ways run by turns in one process for each load. The floor is an empty eventfd with nothing but a wait behind it, at
the rhythm of frames, 256 ms: cores sleep more deeply then.
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import trio

from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.frames import FRAME_BYTES
from ravatar_audio.native import Chain

from .rig.harness import Report, percentile, progress, running, this_module
from .rig.loads import be_urgent, collecting, spinning
from .rig.ticker import Ticker

PERIOD_S = 0.020
FRAME_PERIOD_S = 0.256
LOADS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "idle": nullcontext,
    "busy": spinning,
    "collecting": collecting,
}
QUICK = {"idle": (15, 1), "busy": (15, 1), "collecting": (15, 1), "floor": (8, 1)}
FULL = {"idle": (50, 6), "busy": (50, 4), "collecting": (40, 3), "floor": (100, 1)}
"""Wake-ups in a round, and rounds."""
SILENCE = bytes(FRAME_BYTES)

Way = Callable[[Ticker, int], Awaitable[list[float]]]


def _chain(wake_fd: int = -1) -> Chain:
    return Chain(rate_hz=16_000, channels=1, format="int16", wake_fd=wake_fd)


async def eventfd(ticker: Ticker, count: int) -> list[float]:
    """Ours."""
    latencies_s: list[float] = []
    wake = Wake()
    with _chain(wake.write_fd) as chain, ticker.pushing(chain, SILENCE, PERIOD_S):
        awake_s = 0.0
        while len(latencies_s) < count:
            wake.clear()
            if (frame := chain.take()) is None:
                await wake.wait()
                awake_s = time.monotonic()
            elif awake_s > frame.finished_s:  # else it came while the task was up for another one
                latencies_s.append(awake_s - frame.finished_s)
    wake.close()
    return latencies_s


async def poll(every_s: float, ticker: Ticker, count: int) -> list[float]:
    latencies_s: list[float] = []
    with _chain() as chain, ticker.pushing(chain, SILENCE, PERIOD_S):
        while len(latencies_s) < count:
            if (frame := chain.take()) is not None:
                latencies_s.append(time.monotonic() - frame.finished_s)
            else:
                await trio.sleep(every_s)
    return latencies_s


async def by_thread(
    ticker: Ticker, count: int, make: Callable[[trio.MemorySendChannel[float]], Callable[[float], None]]
) -> list[float]:
    latencies_s: list[float] = []
    sender, receiver = trio.open_memory_channel[float](math.inf)
    stop = ticker.calling(make(sender), PERIOD_S)
    stop.__enter__()
    try:
        while len(latencies_s) < count:
            came_s = await receiver.receive()
            latencies_s.append(time.monotonic() - came_s)
    finally:
        # The thread may be inside from_thread, which waits for this loop: it must go on while the thread ends.
        await trio.to_thread.run_sync(partial(stop.__exit__, None, None, None))
    return latencies_s


async def run_sync_soon(ticker: Ticker, count: int) -> list[float]:
    token = trio.lowlevel.current_trio_token()
    return await by_thread(ticker, count, lambda sender: lambda came_s: token.run_sync_soon(sender.send_nowait, came_s))


async def from_thread(ticker: Ticker, count: int) -> list[float]:
    token = trio.lowlevel.current_trio_token()
    return await by_thread(
        ticker,
        count,
        lambda sender: lambda came_s: trio.from_thread.run_sync(sender.send_nowait, came_s, trio_token=token),
    )


WAYS: dict[str, Way] = {
    "eventfd": eventfd,
    "poll_5_ms": partial(poll, 0.005),
    "poll_10_ms": partial(poll, 0.010),
    "run_sync_soon": run_sync_soon,
    "from_thread": from_thread,
}


async def floor(ticker: Ticker, count: int, period_s: float = FRAME_PERIOD_S) -> list[float]:
    """An eventfd, and nothing else."""
    latencies_s: list[float] = []
    wake = Wake()
    with ticker.writing(wake.write_fd, period_s) as written_s:
        while len(latencies_s) < count:
            await wake.wait()
            latencies_s.append(time.monotonic() - written_s())
            wake.clear()
    wake.close()
    return latencies_s


def child(load: str, count: int, rounds: int) -> dict[str, list[float]]:
    """All ways by turns, under one load; in this process."""
    ticker = Ticker()
    answer: dict[str, list[float]] = {}
    if load == "floor":
        return {"floor": trio.run(floor, ticker, count * rounds)[1:]}
    with LOADS[load]():
        for _ in range(rounds):
            for name, way in WAYS.items():
                answer.setdefault(name, []).extend(trio.run(way, ticker, count + 2)[2:])
    return answer


def add_rows(report: Report, load: str, answer: dict[str, list[float]]) -> None:
    for way, latencies_s in answer.items():
        name = "floor" if way == "floor" else f"{way}, {load}"
        goals = {50.0: 160.0} if (way, load) == ("eventfd", "idle") else {}
        plot = f"From a C thread to a trio task, {'idle' if way == 'floor' else load}"
        report.percentiles(name, [value * 1e6 for value in latencies_s], "us", goals, plot=plot)
    if load == "idle":
        for entry in ("run_sync_soon", "from_thread"):
            ratio = percentile(answer["eventfd"], 50) / percentile(answer[entry], 50)
            report.at_most(f"eventfd to {entry}, idle, p50", ratio, "ratio", 0.6)
    if load in LOADS:
        medians = {way: percentile(latencies_s, 50) * 1e6 for way, latencies_s in answer.items()}
        report.comparison(f"From a C thread to a trio task, {load}, p50", medians, "us", ours=("eventfd",))


def main() -> None:
    if "--run" in sys.argv:
        print(json.dumps(child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
        return
    with running("wakeup", __doc__) as (report, options):
        be_urgent()
        plan = QUICK if options.quick else FULL
        for number, (load, (count, rounds)) in enumerate(plan.items()):
            progress(number / len(plan), load)
            command = this_module("wakeup", "--run", load, count, rounds)
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
            add_rows(report, load, json.loads(done.stdout))
        report.note(f"{PERIOD_S * 1e3:g} ms between wake-ups, {FRAME_PERIOD_S * 1e3:g} ms for the floor")


if __name__ == "__main__":
    main()
