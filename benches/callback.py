"""How long does one block keep the audio thread? Ours in C, beside Python callbacks that do the same job.

In a real stream: from a virtual ALSA microphone (48 kHz, stereo, int16) with blocks of 10 ms, in processes of their
own, by turns. The job: stereo to mono, to 16 kHz (in Python with python-soxr, HQ), to int16, to frames of 4,096
samples.
Ours is timed by the core, around all of its callback, in a histogram of which each bucket counts as its upper end (ours
is told up to 1/16 too long, never too short); PyAudio's and sounddevice's from their first line to their last, so the
wait for the interpreter, which they also have, is left out in their favour. Each is measured with an idle
interpreter and with a thread that computes in Python all the time.

Without a device: one block of 10 ms through the core, by rate, format, channels and kernel; hot, call after call, and
cold, after a walk over more memory than the caches hold, as a callback finds them that comes once in 10 ms.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import trio

from ravatar_audio._core import lib
from ravatar_audio.capture import Microphone

from .rig.harness import Report, median, percentile, progress, running, this_module
from .rig.kernels import supported, using_kernel
from .rig.loads import be_urgent, spinning
from .rig.pusher import Pusher
from .rig.virtual_microphone import Pcm, VirtualMicrophones, virtual_microphones
from .rivals.baselines.microphones import BlockSource, PyAudioSource, SounddeviceSource
from .rivals.baselines.sound import Framer

RATE_HZ, CHANNELS, BLOCK_SAMPLES = 48_000, 2, 480
SHARE_GOAL_PERCENT = 0.1
PYTHON: dict[str, type[BlockSource]] = {"pyaudio": PyAudioSource, "sounddevice": SounddeviceSource}
CONTENDERS = ("core", *PYTHON)
LOADS: dict[str, Callable[[], AbstractContextManager[None]]] = {"idle": nullcontext, "busy": spinning}

USUAL = {"rate_hz": RATE_HZ, "channels": CHANNELS, "format": "int16"}
CASES: dict[str, list[dict[str, Any]]] = {
    "rate": [{"rate_hz": rate_hz} for rate_hz in (8_000, 16_000, 44_100, 48_000, 96_000, 192_000)],
    "format": [{"format": format} for format in ("int16", "int24", "int32", "float32")],
    "channels": [{"channels": channels} for channels in (1, 2, 4, 8)],
    "profile": [{"profile": profile} for profile in ("balanced", "low_latency", "high")],
}

Durations = list[tuple[float, int]]


async def core(seconds: float) -> dict[str, Any]:
    """Our own stream; its histogram of durations."""
    async with Microphone(rate_hz=RATE_HZ, channels=CHANNELS, backend="portaudio") as microphone:
        with trio.move_on_after(seconds):
            async for _ in microphone:
                pass
        durations, longest_s = microphone.block_durations_s(), microphone.statistics().longest_block_s
    return {"durations_s": at_upper_ends(durations, longest_s), "longest_s": longest_s}


def at_upper_ends(durations_s: Durations, longest_s: float) -> Durations:
    """The core's buckets, each as the longest duration that it can hold."""
    begins_ns = [lib.rva_stream_bucket_ns(bucket) for bucket in range(lib.RVA_DURATION_BUCKETS)]
    ends_s = [begin_ns * 1e-9 for begin_ns in begins_ns[1:]] + [longest_s]  # the last one has no end of its own
    end_of = dict(zip(begins_ns, ends_s, strict=True))
    return [(min(longest_s, end_of[round(begin_s * 1e9)]), count) for begin_s, count in durations_s]


def python(library: str, seconds: float) -> dict[str, Any]:
    """A Python callback, with the conversion in it."""
    durations: list[float] = []
    framer = Framer(RATE_HZ, CHANNELS)

    def on_block(block: bytes, came_s: float) -> None:
        framer.push(block)
        durations.append(time.monotonic() - came_s)

    with PYTHON[library](RATE_HZ, CHANNELS).feeding(on_block):
        time.sleep(seconds)
    return {"durations_s": [(duration, 1) for duration in durations], "longest_s": max(durations, default=0.0)}


def child(contender: str, load: str, seconds: float) -> None:
    """One run in this process; the answer is printed."""
    with LOADS[load]():
        print(json.dumps(trio.run(core, seconds) if contender == "core" else python(contender, seconds)))


def run(microphones: VirtualMicrophones, contender: str, load: str, seconds: float) -> dict[str, Any]:
    """The same in a process that has the virtual microphone."""
    command = this_module("callback", "--run", contender, load, seconds)
    done = subprocess.run(
        command, env=microphones.environment, capture_output=True, text=True, timeout=seconds + 60, check=True
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


def share_percent(durations_s: Durations) -> float:
    """What blocks of 10 ms take of their time in one run; a run that a neighbour disturbed is one of several."""
    return 100 * sum(value * count for value, count in durations_s) / sum(count for _, count in durations_s) / 0.01


def measure_streams(report: Report, microphones: VirtualMicrophones, rounds: int, seconds: float) -> None:
    """All contenders and loads by turns, then their figures."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number in range(rounds):
        for at, load in enumerate(LOADS):
            progress(0.2 + 0.8 * (number + at / len(LOADS)) / rounds, load)
            for contender in CONTENDERS:
                runs.setdefault((contender, load), []).append(run(microphones, contender, load, seconds))
    medians_us: dict[str, dict[str, float]] = {load: {} for load in LOADS}
    for (contender, load), answers in runs.items():
        counts: dict[float, int] = {}
        for value, count in (pair for answer in answers for pair in answer["durations_s"]):
            counts[value * 1e6] = counts.get(value * 1e6, 0) + count
        made = report.percentiles(f"block, {contender}, {load}", counts, "us", plot=f"One block of 10 ms, {load}")
        longest_us = max(answer["longest_s"] for answer in answers) * 1e6
        report.at_most(f"block, {contender}, {load}, longest", longest_us, "us")
        shares = [share_percent(answer["durations_s"]) for answer in answers]
        goal = SHARE_GOAL_PERCENT if contender == "core" else None
        report.at_most(f"share of 10 ms, {contender}, {load}", median(shares), "%", goal, shares)
        medians_us[load][contender] = made.percentile(50)
    for load, medians in medians_us.items():
        for library in PYTHON:
            report.at_least(f"{library} to core, {load}, p50", medians[library] / medians["core"], "times")
        report.comparison(f"One block of 10 ms in a stream, {load}, p50", medians, "us", ours=("core",))


def measure_cases(report: Report, hot_calls: int, cold_calls: int) -> None:
    """One block by rate, format, channels, profile and kernel."""
    pusher = Pusher()
    for number, (what, cases) in enumerate(CASES.items()):
        progress(0.2 * number / len(CASES), what)
        named = {str(case[next(iter(case))]): USUAL | case for case in cases}
        add_cases(report, pusher, what, named, hot_calls, cold_calls)
    kernels = {kernel: USUAL | {"kernel": kernel} for kernel in supported()}
    add_cases(report, pusher, "kernel", kernels, hot_calls, cold_calls)


def add_cases(
    report: Report, pusher: Pusher, what: str, cases: dict[str, dict[str, Any]], hot_calls: int, cold_calls: int
) -> None:
    hot_us, cold_us = {}, {}
    for name, case in cases.items():
        settings = {key: value for key, value in case.items() if key != "kernel"}
        with using_kernel(case.get("kernel")):
            hot = pusher.durations_s(hot_calls, is_cold=False, **settings)
            cold = pusher.durations_s(cold_calls, is_cold=True, **settings)
        hot_us[name], cold_us[name] = percentile(hot, 50) * 1e6, percentile(cold, 50) * 1e6
        report.at_most(f"core, {what} {name}, hot, p50", hot_us[name], "us")
        report.at_most(f"core, {what} {name}, cold, p50", cold_us[name], "us")
        report.at_most(f"core, {what} {name}, cold, p95", percentile(cold, 95) * 1e6, "us")
    usual = f"{RATE_HZ} Hz, {CHANNELS} channels, int16"
    for temperature, values in (("hot", hot_us), ("cold", cold_us)):
        title = f"One block of 10 ms by {what}, {temperature}, p50 (else {usual})"
        report.comparison(title, values, "us", ours=tuple(values))


def main() -> None:
    if "--run" in sys.argv:
        contender, load, seconds = sys.argv[2:]
        child(contender, load, float(seconds))
        return
    with running("callback", __doc__) as (report, options):
        be_urgent()
        measure_cases(report, *((400, 6) if options.quick else (2_000, 60)))
        with virtual_microphones(Pcm("usbmic", (RATE_HZ,), (CHANNELS, CHANNELS))) as microphones:
            measure_streams(report, microphones, *((3, 0.5) if options.quick else (5, 2.5)))


if __name__ == "__main__":
    main()
