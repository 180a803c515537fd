"""A microphone that goes away and comes back, again and again, while a live session streams it. Its argument is JSON.

"microphone": Microphone's arguments; "control": its control file; "fault": the word for going away; "rounds"; "folder"
for the session's state.
"""

import itertools
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio

from ravatar_audio import Emulator, EmulatorSettings, Frame, LiveSession, Settings
from ravatar_audio.capture import Microphone
from tests.device.capture_child import be_urgent


async def control(path: str, word: str) -> None:
    fresh = trio.Path(path + ".new")
    await fresh.write_text(word)
    await fresh.replace(path)


def held() -> list[int]:
    """File descriptors, threads and KiB of memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return [
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")),
        pages * resource.getpagesize() // 1024,
    ]


async def main(request: dict[str, Any]) -> None:
    answer: dict[str, Any] = {"held": [], "noticed_s": [], "gaps": [], "kinds": []}
    frames: list[Frame] = []  # without their sound, which would look like a leak
    path = request["control"]

    news = trio.Condition()

    async def noted(microphone: Microphone) -> AsyncIterator[Frame]:
        async for frame in microphone:
            yield frame
            async with news:
                frames.append(frame._replace(pcm=b"", hop_data=b""))
                news.notify_all()

    async def two_more() -> None:
        count = len(frames)
        async with news:
            while len(frames) < count + 2:
                await news.wait()

    async def misbehave(microphone: Microphone, scope: trio.CancelScope) -> None:
        events = microphone.events()

        async def until(kind: str) -> float:
            while True:
                event = await events.receive()
                answer["kinds"].append(event.kind)
                if event.kind == kind:
                    return event.at_s

        for _ in range(request["rounds"]):
            await two_more()
            await control(path, request["fault"])
            begun_s = time.monotonic()
            answer["noticed_s"].append(await until("reopening") - begun_s)
            await control(path, "ok")
            await until("reopened")
            await two_more()  # the thread that opened it has ended by then
            answer["held"].append(held())
        await two_more()
        scope.cancel()

    with trio.fail_after(request["limit_s"]):
        async with Emulator(EmulatorSettings()) as emulator, Microphone(**request["microphone"]) as microphone:
            settings = Settings(api_url=emulator.api_url, state_dir=request["folder"])
            async with LiveSession(settings, noted(microphone)) as live, trio.open_nursery() as nursery:
                nursery.start_soon(misbehave, microphone, nursery.cancel_scope)
            sent = live.statistics()
        answer["reconnects"] = sent.reconnects
        answer["unsent"] = sent.taken_samples - sent.sent_samples - sent.pending_samples
        answer["session_lost"] = sent.source_lost_samples
        answer["violations"] = emulator.statistics().violation_count
    for before, after in itertools.pairwise(frames):
        if after.device_lost_samples:
            # What the clock says: between the ends of two frames lie the second's samples and the gap.
            by_clock = (after.captured_s - before.captured_s) * 16_000 - after.length_samples
            answer["gaps"].append([after.device_lost_samples, by_clock, after.discontinuity])
    counts = microphone.statistics()
    answer["seq"] = [frame.seq for frame in frames]
    answer["unaccounted"] = (
        counts.captured_samples - counts.delivered_samples - counts.ring_dropped_samples - counts.pending_samples
    )
    answer["lost"] = counts.device_lost_samples
    answer["cpu_s"] = time.process_time()
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    be_urgent()
    trio.run(main, json.loads(sys.argv[1]))
