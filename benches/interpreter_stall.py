"""What does a busy interpreter cost? Samples lost and lateness, ours beside what one does in Python.

Each contender captures from a virtual ALSA microphone (48 kHz, stereo, int16; a ramp that tells each sample's position)
in a process of its own, while other Python code of that process either holds the interpreter for 50 to 200 ms again and
again ("hold": sorting lists), or wants it all the time from two threads ("busy"). Periods of 10 and 5 ms.

"alsa" and "portaudio" are this package's Microphone; "pyaudio_callback", "pyaudio_read" and "sounddevice_raw" take
blocks in Python as the libraries' examples do, with the libraries' own low latency. Lost is what the device made and
nobody got, of all that it made. Lateness is from the moment when the newest sample was at the microphone to the moment
when the program had it, over the blocks (ours: frames) that did come.
"""

import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pyaudio
import trio

from ravatar_audio.capture import Microphone
from ravatar_audio.choices import Backend

from .rig.harness import Report, progress, running, this_module
from .rig.virtual_microphone import Pcm, VirtualMicrophones, virtual_microphones

RATE_HZ, CHANNELS = 48_000, 2
OURS = ("alsa", "portaudio")
THEIRS = ("pyaudio_callback", "pyaudio_read", "sounddevice_raw")
LOADS = ("hold", "busy")
PERIODS_MS = (10, 5)


def hold(end: threading.Event) -> None:
    """Hold the interpreter for 50 to 200 ms, rest for 50, and again."""
    chance = random.Random(1)
    values = [chance.random() for _ in range(400_000)]
    begun_s = time.perf_counter()
    sorted(values[:50_000])
    per_second = 50_000 / (time.perf_counter() - begun_s)
    while not end.is_set():
        some = values[: int(chance.uniform(0.05, 0.2) * per_second)]
        sorted(some)
        time.sleep(0.05)


def compute(end: threading.Event) -> None:
    """Want the interpreter all the time."""
    total = 0
    while not end.is_set():
        for number in range(10_000):
            total += number


class Heard:
    """What a Python contender got: the ramp's position of each block's last sample, and when."""

    def __init__(self) -> None:
        self.blocks: list[tuple[float, int, int]] = []

    def take(self, block: Any) -> None:
        arrived_s = time.monotonic()
        samples = np.frombuffer(block, "<i2").reshape(-1, CHANNELS)
        if len(samples):
            self.blocks.append((arrived_s, int(samples[-1, 0]) | int(samples[-1, 1]) << 15, len(samples)))

    def answer(self) -> dict[str, Any]:
        first, last = self.blocks[0], self.blocks[-1]
        made = last[1] - first[1] + first[2]
        got = sum(count for _, _, count in self.blocks)
        # The block that came soonest after its last sample is the clock's zero: what is later than that is late.
        offsets_s = [arrived_s - position / RATE_HZ for arrived_s, position, _ in self.blocks]
        soonest_s = min(offsets_s)
        return {"made": made, "lost": made - got, "late_s": [offset_s - soonest_s for offset_s in offsets_s]}


async def ours(backend: str, period_s: float, seconds: float) -> dict[str, Any]:
    """Microphone; what the device or the ring lost is in its counters, which the tests prove."""
    late_s: list[float] = []
    name = "alsa:usbmic" if backend == "alsa" else "usbmic"
    async with Microphone(name, backend=cast(Backend, backend), block_s=period_s, reopen_s=10) as microphone:
        with trio.move_on_after(seconds):
            async for frame in microphone:
                late_s.append(time.monotonic() - frame.captured_s)  # noqa: PERF401 - the time is now, not then
        await microphone.stop()
    counts = microphone.statistics()
    lost = counts.device_lost_samples + counts.ring_dropped_samples
    return {
        "made": counts.captured_samples + counts.device_lost_samples,
        "lost": lost,
        "late_s": late_s,
        "why": f"{counts.device_lost_samples} samples lost in {counts.device_overruns} overruns of the device, "
        f"as the audio thread got no processor; {counts.ring_dropped_samples} by the ring",
    }


def pyaudio_stream(period_s: float, on_block: Callable[..., Any] | None) -> tuple[Any, Any]:
    """An open PyAudio input stream, and the library."""
    library = pyaudio.PyAudio()
    return library.open(
        rate=RATE_HZ,
        channels=CHANNELS,
        format=pyaudio.paInt16,
        input=True,
        frames_per_buffer=round(period_s * RATE_HZ),
        stream_callback=on_block,
    ), library


def pyaudio_callback(period_s: float, seconds: float) -> dict[str, Any]:
    """PyAudio calls Python for each block."""
    heard = Heard()

    def on_block(block: bytes, samples: int, clock: object, flags: int) -> tuple[None, int]:
        heard.take(block)
        return None, pyaudio.paContinue

    stream, library = pyaudio_stream(period_s, on_block)
    time.sleep(seconds)
    stream.close()
    library.terminate()
    return heard.answer()


def pyaudio_read(period_s: float, seconds: float) -> dict[str, Any]:
    """A loop that reads blocks."""
    heard = Heard()
    stream, library = pyaudio_stream(period_s, None)
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        heard.take(stream.read(round(period_s * RATE_HZ), exception_on_overflow=False))
    stream.close()
    library.terminate()
    return heard.answer()


def sounddevice_raw(period_s: float, seconds: float) -> dict[str, Any]:
    """python-sounddevice calls Python for each block, without numpy of its own."""
    import sounddevice

    heard = Heard()
    with sounddevice.RawInputStream(
        samplerate=RATE_HZ,
        channels=CHANNELS,
        dtype="int16",
        blocksize=round(period_s * RATE_HZ),
        latency="low",
        callback=lambda block, samples, clock, flags: heard.take(block),
    ):
        time.sleep(seconds)
    return heard.answer()


def child(contender: str, load: str, period_s: float, seconds: float) -> None:
    """One run in this process; the answer is printed."""
    with contextlib.suppress(OSError):
        os.nice(-8)  # what else this machine does is not the question
    end = threading.Event()
    threads = [threading.Thread(target=hold, args=(end,))] if load == "hold" else []
    threads = threads or [threading.Thread(target=compute, args=(end,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        if contender in OURS:
            answer = trio.run(ours, contender, period_s, seconds)
        else:
            answer = globals()[contender](period_s, seconds)
    finally:
        end.set()
    print(json.dumps(answer))


def run(microphones: VirtualMicrophones, *words: str) -> dict[str, Any]:
    """The same in a process that has the virtual microphone."""
    command = this_module("interpreter_stall", "--run", *words)
    done = subprocess.run(
        command, env=microphones.environment, capture_output=True, text=True, timeout=float(words[-1]) + 60, check=True
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


def measure(report: Report, microphones: VirtualMicrophones, options: argparse.Namespace) -> None:
    """Each contender under each load with each period."""
    contenders = [*OURS, *THEIRS]
    if importlib.util.find_spec("sounddevice") is None:
        contenders.remove("sounddevice_raw")
        report.lacks("sounddevice_raw", "sounddevice is not installed: pip install sounddevice")
    seconds: float = options.seconds or (4.0 if options.quick else 30.0)
    cases = list(itertools.product(options.load or LOADS, options.period_ms or PERIODS_MS))
    for number, (load, period_ms) in enumerate(cases):
        lost_percent = {}
        for turn, contender in enumerate(contenders):
            progress((number + turn / len(contenders)) / len(cases), f"{contender}, {load}, {period_ms} ms")
            answer = run(microphones, contender, load, str(period_ms / 1000), str(seconds))
            name = f"{contender}_{load}_{period_ms}ms"
            lost = lost_percent[contender] = 100 * answer["lost"] / answer["made"]
            report.at_most(f"{name}_lost_percent", lost, "% of samples", 0.0 if contender in OURS else None)
            if lost and "why" in answer:
                report.note(f"{name}: {answer['why']}")
            late_ms = [1e3 * late_s for late_s in answer["late_s"]]
            report.percentiles(f"{name}_late", late_ms, "ms", plot=f"Lateness: {load}, {period_ms} ms")
        report.comparison(f"Samples lost: {load}, {period_ms} ms", lost_percent, "% of samples", ours=OURS)


def main() -> None:
    """Build the microphone, measure, report."""
    if "--run" in sys.argv:
        contender, load, period_s, seconds = sys.argv[2:]
        child(contender, load, float(period_s), float(seconds))
        return
    usb = Pcm("usbmic", (RATE_HZ,), (CHANNELS, CHANNELS))

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seconds", type=float, help="of each run (default: 30, with --quick 4); there are 20")
        parser.add_argument("--load", choices=LOADS, action="append", help="this one only; may be repeated")
        parser.add_argument("--period-ms", type=int, choices=PERIODS_MS, action="append", help="likewise")

    with running("interpreter_stall", __doc__, extend) as (report, options), virtual_microphones(usb) as microphones:
        measure(report, microphones, options)


if __name__ == "__main__":
    main()
