"""One contender of embedding.py in its own process: python -m benches.embedding_child CONTENDER SECONDS IS_BLOCKED.

It answers with one line of JSON: of each frame, how long it took from the audio thread's hand-over to the program, in
seconds; and the samples that were lost.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import trio

import ravatar_audio.asyncio as for_asyncio
import ravatar_audio.blocking as for_threads
from ravatar_audio import CaptureStatistics, Frame, Microphone

BLOCK_S = 0.2
REST_S = 0.01
WARM_UP_FRAMES = 2


class Program:
    """What the program does with a frame: it notes the time. Blocked, it also stands still again and again."""

    def __init__(self, seconds: float, is_blocked: bool) -> None:
        self.seconds, self.is_blocked = seconds, is_blocked
        self.lags_s: list[float] = []

    def take(self, frame: Frame) -> None:
        self.lags_s.append(time.monotonic() - frame.finished_s)

    async def block(self, sleep: Callable[[float], Coroutine[Any, Any, None]]) -> None:
        while self.is_blocked:
            time.sleep(BLOCK_S)  # noqa: ASYNC251 - the load
            await sleep(REST_S)


async def in_trio(program: Program) -> CaptureStatistics:
    async with Microphone() as microphone, trio.open_nursery() as nursery:
        nursery.start_soon(program.block, trio.sleep)
        with trio.move_on_after(program.seconds):
            async for frame in microphone:
                program.take(frame)
        nursery.cancel_scope.cancel()
    return microphone.statistics()


async def in_asyncio(program: Program) -> CaptureStatistics:
    async def listen() -> None:
        async for frame in microphone:
            program.take(frame)

    async with for_asyncio.Microphone() as microphone:
        blocker = asyncio.ensure_future(program.block(asyncio.sleep))
        await asyncio.wait([asyncio.ensure_future(listen())], timeout=program.seconds)
        blocker.cancel()
        await microphone.stop()
    return microphone.statistics()


async def as_guest(program: Program) -> CaptureStatistics:
    """The other way: trio as a guest of asyncio's loop, with a queue between the two."""
    loop, frames = asyncio.get_running_loop(), asyncio.Queue[Frame]()
    done: asyncio.Future[CaptureStatistics] = loop.create_future()

    async def capture() -> CaptureStatistics:
        async with Microphone() as microphone:
            with trio.move_on_after(program.seconds):
                async for frame in microphone:
                    frames.put_nowait(frame)
        return microphone.statistics()

    async def listen() -> None:
        while True:
            program.take(await frames.get())

    trio.lowlevel.start_guest_run(
        capture,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=lambda outcome: done.set_result(outcome.unwrap()),
        host_uses_signal_set_wakeup_fd=True,
    )
    beside = [asyncio.ensure_future(listen()), asyncio.ensure_future(program.block(asyncio.sleep))]
    statistics = await done
    for task in beside:
        task.cancel()
    return statistics


def in_threads(program: Program) -> CaptureStatistics:
    with for_threads.Microphone() as microphone:
        end_s = time.monotonic() + program.seconds
        for frame in microphone:
            program.take(frame)
            if program.is_blocked:
                time.sleep(BLOCK_S)
            if time.monotonic() > end_s:
                break
    return microphone.statistics()


def with_uvloop(program: Program) -> CaptureStatistics:
    import uvloop

    return uvloop.run(in_asyncio(program))


CONTENDERS: dict[str, Callable[[Program], CaptureStatistics]] = {
    "trio": lambda program: trio.run(in_trio, program),
    "asyncio": lambda program: asyncio.run(in_asyncio(program)),
    "uvloop": with_uvloop,
    "threads": in_threads,
    "guest": lambda program: asyncio.run(as_guest(program)),
}


def main() -> None:
    contender, seconds, is_blocked = sys.argv[1:]
    program = Program(float(seconds), is_blocked == "1")
    statistics = CONTENDERS[contender](program)
    lost_samples = statistics.device_lost_samples + statistics.ring_dropped_samples
    print(json.dumps({"lags_s": program.lags_s[WARM_UP_FRAMES:], "lost_samples": lost_samples}))


if __name__ == "__main__":
    main()
