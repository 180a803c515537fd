"""Captures for two seconds with trap.c in place, and tells what it caught. Its argument is JSON: "trap", its path."""

import ctypes
import json
import sys

import pyaudio
import trio

from ravatar_audio.capture import Microphone


async def main(path: str) -> None:
    trap = ctypes.CDLL(path)
    pyaudio._portaudio.__file__ = path  # where the core looks PortAudio up
    springs = (ctypes.c_long * 2)()
    trap.trap_springs(springs)
    async with Microphone(ring_s=0.256) as microphone:
        # The ring overruns in between: that way must not allocate either.
        await trio.sleep(1.0)
        with trio.move_on_after(1.0):
            async for _ in microphone:
                microphone.request_flush()
    counts = (ctypes.c_long * 3)()
    trap.trap_counts(counts)
    answer = dict(zip(("callbacks", "allocations", "locks"), counts, strict=True))
    print(json.dumps(answer | {"springs": list(springs), "dropped": microphone.statistics().ring_dropped_frames}))


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1])["trap"])
