"""Captures for two seconds with trap.c in place, and tells what it caught. Its argument is JSON: "trap", its path."""

import contextlib
import ctypes
import json
import os
import sys
from pathlib import Path

import pyaudio
import trio

from ravatar_audio.capture import Microphone
from tests.device.capture_child import be_urgent


def priorities() -> list[int]:
    """The nice values of this process's threads."""
    return [
        int(Path(f"/proc/self/task/{task}/stat").read_text().rsplit(")", 1)[1].split()[16])
        for task in os.listdir("/proc/self/task")
    ]


async def main(path: str) -> None:
    trap = ctypes.CDLL(path)
    pyaudio._portaudio.__file__ = path  # where the core looks PortAudio up
    springs = (ctypes.c_long * 2)()
    trap.trap_springs(springs)
    async with Microphone(ring_s=0.256) as microphone:
        # The ring overruns in between: that way must not allocate either.
        await trio.sleep(1.0)
        running = priorities()
        with trio.move_on_after(1.0):
            async for _ in microphone:
                microphone.request_flush()
    counts = (ctypes.c_long * 3)()
    trap.trap_counts(counts)
    answer: dict[str, object] = dict(zip(("callbacks", "allocations", "locks"), counts, strict=True))
    may_hurry = False
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -1)
        may_hurry = True
    answer |= {"springs": list(springs), "dropped": microphone.statistics().ring_dropped_frames}
    print(json.dumps(answer | {"priorities": running, "may_hurry": may_hurry}))


if __name__ == "__main__":
    be_urgent()
    trio.run(main, json.loads(sys.argv[1])["trap"])
