"""How long a frame takes from the core to the socket, and how old its sound is when it has been written.

One live session from a virtual USB microphone (48 kHz, a real PortAudio stream in a process of its own) to an emulator
in another process, over ws and wss, idle and with a thread that holds the interpreter 50 ms at a time. "Ready" is when
the core handed the frame over on the audio thread, "written" when the socket had taken the whole message. Age counts
from the moment when a frame's newest (or oldest) sample was at the microphone, so it holds the device's block and the
filter's delay.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio
import trustme

from ravatar_audio import Frame, LiveSession, Microphone, Settings
from ravatar_audio.frames import RATE_HZ
from tests.device.microphones import Pcm, VirtualMicrophones, build_shared

from .harness import Report, arguments, percentile, this_module

BLOCK_S = 0.010
WARM_UP_FRAMES = 4


def main() -> None:
    options = arguments("latency", __doc__, lambda parser: parser.add_argument("--inside", help=argparse.SUPPRESS))
    if options.inside:
        print(json.dumps(trio.run(measure, json.loads(options.inside))))
        return
    report = Report("latency")
    seconds = 15 if options.quick else 60
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = microphone_environment(folder)
        certificate = make_certificate(folder)
        for scheme, held in (("ws", False), ("wss", False), ("wss", True)):
            with emulator(folder, certificate if scheme == "wss" else None) as url:
                request = {"url": url, "ca_file": str(folder / "ca.pem"), "seconds": seconds, "held": held}
                child = subprocess.run(
                    this_module("latency", "--inside", json.dumps(request)),
                    env=environment,
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
            add_rows(
                report,
                f"{scheme}{', interpreter held 50 ms at a time' if held else ''}",
                json.loads(child.stdout),
                held,
            )
    report.finish(options)


def add_rows(report: Report, case: str, measured: dict[str, Any], held: bool) -> None:
    ready_us = [value * 1e6 for value in measured["ready_to_written_s"]]
    age_ms = [value * 1e3 for value in measured["age_newest_s"]]
    longest_hold_ms = measured["longest_hold_s"] * 1e3
    if not held:
        report.at_most(f"ready to written, {case}, p50", percentile(ready_us, 50), "us", 320)
        report.at_most(f"ready to written, {case}, p99", percentile(ready_us, 99), "us", 450)
        report.at_most(f"ready to written, {case}, max", max(ready_us), "us")
    bound_ms = (BLOCK_S + measured["group_delay_s"]) * 1e3
    goal_ms = bound_ms + longest_hold_ms + 5 if held else bound_ms + 2
    report.at_most(f"age of the newest sample at send, {case}, p50", percentile(age_ms, 50), "ms")
    report.at_most(f"age of the newest sample at send, {case}, p99", percentile(age_ms, 99), "ms", round(goal_ms, 2))
    report.at_most(f"age of the newest sample at send, {case}, max", max(age_ms), "ms")
    report.at_most(f"age of the oldest sample at send, {case}, p50", percentile(age_ms, 50) + 4096e3 / RATE_HZ, "ms")
    report.at_most(f"samples lost, {case}", measured["lost_samples"], "samples", 0)
    report.note(f"{case}: {len(ready_us)} frames; longest hold {longest_hold_ms:.0f} ms")


def microphone_environment(folder: Path) -> dict[str, str]:
    plugin = folder / "libasound_module_pcm_virtual_microphone.so"
    source = Path(__file__).parents[1] / "tests" / "device" / "virtual_microphone.c"
    build_shared(source, plugin, "-lasound")
    return VirtualMicrophones(folder, plugin, (Pcm(),)).environment


def make_certificate(folder: Path) -> Path:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    bundle = folder / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(bundle)
    return bundle


@contextmanager
def emulator(folder: Path, certificate: Path | None) -> Iterator[str]:
    command = [sys.executable, "-m", "ravatar_audio", "emulator", "--port", "0", "--wav-dir", str(folder / "heard")]
    if certificate:
        command += ["--tls", str(certificate)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process.stderr.readline().split()[2]
        finally:
            process.terminate()


async def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Inside the process that has the microphone: one live session, each frame's times."""
    times: list[tuple[float, float]] = []

    def note(frame: Frame) -> None:
        now_s = time.monotonic()
        times.append((now_s - frame.finished_s, now_s - frame.captured_s))

    holds = hold_interpreter() if request["held"] else []
    with tempfile.TemporaryDirectory() as state_dir:
        ca_file = request["ca_file"] if request["url"].startswith("https") else None
        settings = Settings(api_url=request["url"], ca_file=ca_file, state_dir=state_dir)
        async with Microphone() as microphone, LiveSession(settings, microphone, on_sent=note) as live:
            group_delay_s = microphone.group_delay_s
            await trio.sleep(request["seconds"])
            await microphone.stop()
            await live.wait_finished()
        capture, sent = microphone.statistics(), live.statistics()
    used = times[WARM_UP_FRAMES:-1]  # the last one was flushed
    return {
        "ready_to_written_s": [ready for ready, _ in used],
        "age_newest_s": [age for _, age in used],
        "group_delay_s": group_delay_s,
        "longest_hold_s": max(holds, default=0.0),
        "lost_samples": capture.captured_samples + capture.device_lost_samples - sent.sent_samples,
    }


def hold_interpreter() -> list[float]:
    """A thread that sorts 50 ms at a time, during which no other Python code runs, and then lets go as long."""
    holds: list[float] = []

    def hold() -> None:
        values = [((index * 7919) % 1_000_003) for index in range(100_000)]
        began_s = time.perf_counter()
        sorted(values)
        values *= max(1, round(0.05 / (time.perf_counter() - began_s)))
        while True:
            began_s = time.perf_counter()
            sorted(values)
            holds.append(time.perf_counter() - began_s)
            time.sleep(0.05)

    threading.Thread(target=hold, daemon=True).start()
    return holds


if __name__ == "__main__":
    if hasattr(os, "nice") and os.geteuid() == 0:
        os.nice(-15)  # other work of the machine is not what is measured
    main()
