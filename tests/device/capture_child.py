"""Captures from microphones and tells what came: the process that the device tests start.

Its argument is JSON: "folder", where NAME.pcm is written; "seconds"; "streams", a list of Microphone's arguments, with
"name" for the file; "hold": whether a thread holds the interpreter for 50 to 200 ms again and again; "control": a
microphone's control file and what is written there "after_s" seconds from the start; "enumerate": whether devices are
listed again and again meanwhile, in this process and by the command in others.
"""

import contextlib
import dataclasses
import json
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import trio

from ravatar_audio.capture import Microphone, list_devices


def be_urgent() -> None:
    """Keep other work of this machine from being mistaken for a fault of ours.

    Below what the package takes for the audio thread: against the Python code of its own process it stands by itself.
    """
    with contextlib.suppress(OSError):
        os.nice(-8)


def hold_interpreter(until_s: float, holds: list[float]) -> None:
    """Add numbers: one step of the interpreter each time, during which no other Python code runs."""
    chance, per_second, numbers = random.Random(1), 0.0, 1_000_000
    while time.monotonic() < until_s:
        begun_s = time.perf_counter()
        sum(range(numbers))
        holds.append(time.perf_counter() - begun_s)
        per_second = max(per_second, numbers / holds[-1])  # less is because of other work of the machine
        numbers = int(chance.uniform(0.05, 0.2) * per_second)
        time.sleep(0.02)


async def capture(stream: dict[str, Any], folder: Path, seconds: float, answer: dict[str, Any]) -> None:
    name = stream.pop("name")
    pcm = bytearray()
    opening_s = trio.current_time()
    async with Microphone(**stream) as microphone:
        begun_s = trio.current_time()
        with trio.move_on_after(seconds):
            async for frame in microphone:
                pcm += frame.pcm[: 2 * frame.length_samples]
        await microphone.stop()
        elapsed_s, open_s = trio.current_time() - begun_s, trio.current_time() - opening_s
        async for frame in microphone:
            pcm += frame.pcm[: 2 * frame.length_samples]
    (folder / f"{name}.pcm").write_bytes(pcm)
    answer[name] = dataclasses.asdict(microphone.statistics()) | {
        "rate_hz": microphone.rate_hz,
        "channels": microphone.channels,
        "format": microphone.format,
        "backend": microphone.backend,
        "elapsed_s": elapsed_s,
        "open_s": open_s,
    }


async def misbehave(after_s: float, control: str, word: str) -> None:
    await trio.sleep(after_s)
    fresh = trio.Path(control + ".new")
    await fresh.write_text(word + "\n", encoding="utf-8")
    await fresh.replace(control)


async def enumerate_devices(counts: list[int]) -> None:
    while True:
        counts.append(len(await trio.to_thread.run_sync(list_devices)))
        done = await trio.run_process([sys.executable, "-m", "ravatar_audio", "devices", "--json"], capture_stdout=True)
        counts.append(len(json.loads(done.stdout)))


def locked_kib() -> int:
    """Memory of this process that is locked, or will be when it is used."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmLck:")), 0)


async def main(request: dict[str, Any]) -> None:
    answer: dict[str, Any] = {}
    holds: list[float] = []
    if request.get("hold"):
        until_s = time.monotonic() + request["seconds"] + 2
        threading.Thread(target=hold_interpreter, args=(until_s, holds), daemon=True).start()
    counts: list[int] = []
    async with trio.open_nursery() as background:
        if request.get("enumerate"):
            background.start_soon(enumerate_devices, counts)
        async with trio.open_nursery() as nursery:
            if "control" in request:
                nursery.start_soon(misbehave, request["after_s"], *request["control"])
            for stream in request["streams"]:
                nursery.start_soon(capture, stream, Path(request["folder"]), request["seconds"], answer)
        background.cancel_scope.cancel()
    print(json.dumps({"streams": answer, "holds_s": holds, "locked_kib": locked_kib(), "listed": counts}))


if __name__ == "__main__":
    be_urgent()
    trio.run(main, json.loads(sys.argv[1]))
