"""How long does one block keep the audio thread? Ours in C, beside PyAudio's Python callback that does the same job.

Both capture from a virtual ALSA microphone (48 kHz, stereo, int16) through a real PortAudio stream with 10 ms blocks,
in processes of their own, by turns. The job: stereo to mono, to 16 kHz (the Python one with python-soxr, HQ), to int16,
to frames of 4,096 samples. Ours is timed by the core, around all of its callback; the Python one from its first line to
its last, so the wait for the interpreter, which it also has, is left out in its favour. Each is measured with an idle
interpreter and with a thread that computes in Python all the time.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from typing import Any

import numpy as np
import pyaudio
import soxr
import trio

from ravatar_audio.capture import Microphone

from .harness import Report, percentile, running, this_module
from .virtual_microphone import Pcm, VirtualMicrophones, virtual_microphones

RATE_HZ, CHANNELS, BLOCK_SAMPLES = 48_000, 2, 480
SHARE_GOAL_PERCENT = 0.1
CONTENDERS = ("core", "python")
LOADS = ("idle", "busy")

Durations = list[tuple[float, int]]


async def core(seconds: float) -> dict[str, Any]:
    """Our own stream; its histogram of durations."""
    async with Microphone(rate_hz=RATE_HZ, channels=CHANNELS, backend="portaudio") as microphone:
        with trio.move_on_after(seconds):
            async for _ in microphone:
                pass
        durations, longest_s = microphone.block_durations_s(), microphone.statistics().longest_block_s
    return {"durations_s": durations, "longest_s": longest_s}


def python(seconds: float) -> dict[str, Any]:
    """PyAudio's callback, as one writes it by hand."""
    durations: list[float] = []
    resampler = soxr.ResampleStream(RATE_HZ, 16_000, 1, dtype="float32", quality="HQ")
    frames: deque[bytes] = deque(maxlen=8)
    pending = bytearray()

    def on_block(block: bytes, samples: int, clock: object, flags: int) -> tuple[None, int]:
        begun_s = time.perf_counter()
        mono = np.frombuffer(block, "<i2").reshape(-1, CHANNELS).mean(axis=1, dtype=np.float32) / np.float32(32_768)
        resampled = resampler.resample_chunk(mono)
        pending.extend(np.clip(np.rint(resampled * 32_768), -32_768, 32_767).astype("<i2").tobytes())
        if len(pending) >= 8_192:
            frames.append(bytes(pending[:8_192]))
            del pending[:8_192]
        durations.append(time.perf_counter() - begun_s)
        return None, pyaudio.paContinue

    portaudio = pyaudio.PyAudio()
    stream = portaudio.open(
        rate=RATE_HZ,
        channels=CHANNELS,
        format=pyaudio.paInt16,
        input=True,
        frames_per_buffer=BLOCK_SAMPLES,
        stream_callback=on_block,
    )
    time.sleep(seconds)
    stream.close()
    portaudio.terminate()
    return {"durations_s": [(duration, 1) for duration in durations], "longest_s": max(durations, default=0.0)}


def compute_forever() -> None:
    """A thread that wants the interpreter all the time."""
    total = 0
    while True:
        for number in range(10_000):
            total += number


def child(contender: str, load: str, seconds: float) -> None:
    """One run in this process; the answer is printed."""
    with contextlib.suppress(OSError):
        os.nice(-15)  # what else this machine does is not the question
    if load == "busy":
        threading.Thread(target=compute_forever, daemon=True).start()
    print(json.dumps(trio.run(core, seconds) if contender == "core" else python(seconds)))


def run(microphones: VirtualMicrophones, contender: str, load: str, seconds: float) -> dict[str, Any]:
    """The same in a process that has the virtual microphone."""
    command = this_module("callback", "--run", contender, load, seconds)
    done = subprocess.run(
        command, env=microphones.environment, capture_output=True, text=True, timeout=seconds + 60, check=True
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


def measure(report: Report, microphones: VirtualMicrophones, rounds: int, seconds: float) -> None:
    """All contenders and loads by turns, then their figures."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for load in LOADS:
            for contender in CONTENDERS:
                runs.setdefault((contender, load), []).append(run(microphones, contender, load, seconds))
    for (contender, load), answers in sorted(runs.items()):
        durations: Durations = [(value, count) for answer in answers for value, count in answer["durations_s"]]
        values_s = [value for value, count in durations for _ in range(count)]
        for percent in (50.0, 99.0, 99.9):
            report.at_most(f"{contender}_{load}_p{percent:g}_us", percentile(values_s, percent) * 1e6, "us")
        report.at_most(f"{contender}_{load}_max_us", max(answer["longest_s"] for answer in answers) * 1e6, "us")
        share = 100 * sum(values_s) / len(values_s) / (BLOCK_SAMPLES / RATE_HZ)
        report.at_most(
            f"{contender}_{load}_share_percent",
            share,
            "% of 10 ms",
            SHARE_GOAL_PERCENT if contender == "core" else None,
        )
    for load in LOADS:
        medians = [
            percentile(
                [
                    value
                    for answer in runs[contender, load]
                    for value, count in answer["durations_s"]
                    for _ in range(count)
                ],
                50,
            )
            for contender in CONTENDERS
        ]
        report.at_least(f"python_over_core_{load}_p50", medians[1] / medians[0], "times")


def main() -> None:
    """Build the microphone, measure, report."""
    if "--run" in sys.argv:
        contender, load, seconds = sys.argv[2:]
        child(contender, load, float(seconds))
        return
    with running("callback", __doc__) as (report, options):
        with virtual_microphones(Pcm("usbmic", (RATE_HZ,), (CHANNELS, CHANNELS))) as microphones:
            measure(report, microphones, *((1, 4.0) if options.quick else (4, 10.0)))
        report.note("durations of core are the lower bounds of buckets 1/16 of an octave wide")


if __name__ == "__main__":
    main()
