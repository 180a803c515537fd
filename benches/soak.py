"""Does capture stay as it is for days? Memory, files, counters and the clock's drift over many hours.

Virtual hours by default (24): the real microphone around a made-up device, in virtual time. The device's clock
is 23 ppm fast, its blocks come up to 3 ms late, and in each hour it is unplugged for 5 s, stalls for 3 s, loses 100 ms
and fails with an error. `--real` takes real hours: the capture thread on a virtual ALSA microphone (its clock 50 ppm
fast, one unplug in each ten minutes), or `--device NAME` on hardware, left alone.
"""

import argparse
import itertools
import json
import logging
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

from ravatar_audio.capture import Microphone
from ravatar_audio.testing import FakeDevice, FakeMicrophone

from .rig.harness import Report, progress, running, this_module
from .rig.virtual_microphone import Pcm, virtual_microphones

RATE_HZ = 48_000
HOUR_S = 3_600
DRIFT_PPM = 23
REAL_DRIFT_PPM = 50
REAL_UNPLUG_EVERY_S = 600
UNPLUGGED_S = 5
SAMPLES_OF_MEMORY = 100
# Device seconds within each hour, and what happens there.
HOURLY = {
    600: "unplug",
    600 + UNPLUGGED_S: "ok",
    1_500: "stall",
    1_503: "ok",
    2_400: f"lose {RATE_HZ // 10}",
    3_000: "eio",
}


@dataclass
class Watch:
    """What the frames say, and what the process holds as they come."""

    seconds: float
    frames: int = 0
    samples: int = 0
    out_of_order: int = 0
    gaps: int = 0
    first_end_s: float = 0.0
    last_end_s: float = 0.0
    at_hours: list[float] = field(default_factory=list)
    resident_kib: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def add(self, frame: Any) -> None:
        self.out_of_order += frame.seq != self.frames or frame.position_samples != self.samples
        self.gaps += frame.discontinuity
        self.frames += 1
        self.samples += frame.length_samples
        self.first_end_s = self.first_end_s or frame.captured_s
        self.last_end_s = frame.captured_s
        elapsed_s = frame.captured_s - self.first_end_s
        if elapsed_s >= len(self.files) * self.seconds / SAMPLES_OF_MEMORY:
            self.at_hours.append(elapsed_s / HOUR_S)
            self.resident_kib.append(resident_kib())
            self.files.append(len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0)
            progress(elapsed_s / self.seconds, f"{elapsed_s / HOUR_S:.1f} h")


def resident_kib() -> float:
    """Memory of this process."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 1024
    except OSError:
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


async def listen(microphone: Microphone, seconds: float) -> dict[str, Any]:
    """Take the frames for so long."""
    watch = Watch(seconds)
    async with microphone:
        with trio.move_on_after(seconds + 30):
            async for frame in microphone:
                watch.add(frame)
                if watch.last_end_s - watch.first_end_s >= seconds - 0.256:
                    break
        await microphone.stop()
        async for frame in microphone:
            watch.add(frame)
    counts = microphone.statistics()
    return {
        "frames": watch.frames,
        "out_of_order": watch.out_of_order,
        "gaps": watch.gaps,
        "reopenings": microphone.reopenings,
        "elapsed_s": watch.last_end_s - watch.first_end_s,
        "since_first_samples": watch.samples - 4_096 + counts.device_lost_samples,
        "unaccounted": counts.captured_samples - watch.samples - counts.ring_dropped_samples,
        "ring_dropped": counts.ring_dropped_samples,
        "lost": counts.device_lost_samples,
        "drift_ppm": counts.drift_ppm,
        "hours": watch.at_hours,
        "resident_kib": watch.resident_kib,
        "files": watch.files,
    }


def virtual(hours: float, block_s: float) -> dict[str, Any]:
    """So many hours of virtual time in this process."""
    script = {
        (hour * HOUR_S + second) * RATE_HZ: word
        for hour in range(int(hours) + 1)
        for second, word in HOURLY.items()
        if hour * HOUR_S + second < hours * HOUR_S
    }
    device = FakeDevice("tone", rate_hz=RATE_HZ, drift_ppm=DRIFT_PPM, jitter_s=0.003, script=script)
    microphone = FakeMicrophone(device, block_s=block_s, reopen_s=10)
    return trio.run(listen, microphone, hours * HOUR_S, clock=trio.testing.MockClock(autojump_threshold=0))


async def real(selector: str, hours: float, control: str) -> dict[str, Any]:
    """So many real hours in this process; the virtual device's unplugs come by its control file."""

    async def unplug() -> None:
        path = trio.Path(control)
        while True:
            await trio.sleep(REAL_UNPLUG_EVERY_S)
            for word, seconds in (("unplug", UNPLUGGED_S), ("ok", 0)):
                await path.with_suffix(".new").write_text(word + "\n", encoding="utf-8")
                await path.with_suffix(".new").replace(path)
                await trio.sleep(seconds)

    async with trio.open_nursery() as nursery:
        if control:
            nursery.start_soon(unplug)
        answer = await listen(Microphone(selector or None), hours * HOUR_S)
        nursery.cancel_scope.cancel()
    return answer


def real_on_virtual_device(hours: float) -> dict[str, Any]:
    """In a process that has the virtual microphone."""
    with virtual_microphones(Pcm(rates=(RATE_HZ,), ppm=REAL_DRIFT_PPM)) as microphones:
        command = this_module("soak", "--child", "alsa:usbmic", hours, microphones.control_file("usbmic"))
        # What it says of its progress goes through this one.
        done = subprocess.run(command, env=microphones.environment, stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


def tell(report: Report, answer: dict[str, Any], drift_ppm: float | None, gaps: int | None) -> None:
    """The figures and their goals."""
    report.at_least("captured", answer["elapsed_s"] / HOUR_S, "h")
    report.at_most("frames out of order", answer["out_of_order"], "frames", 0)
    report.at_most("samples that no counter has", abs(answer["unaccounted"]), "samples", 0)
    report.at_most("dropped by the ring", answer["ring_dropped"], "samples", 0)
    report.at_most("lost by the device", answer["lost"], "samples")
    if gaps is not None:
        report.at_most("gaps untold, or told twice", abs(answer["gaps"] - gaps), "gaps", 0)
    # Heard and lost make up the time, by the device's clock but for the gaps; each gap is right to within a block.
    known_ppm = answer["drift_ppm"] if drift_ppm is None else drift_ppm
    heard = answer["since_first_samples"] - answer["lost"]
    due = (answer["elapsed_s"] * 16_000 - answer["lost"]) * (1 + (known_ppm or 0) * 1e-6)
    report.at_most("heard and lost against the time", abs(heard - due), "samples", 160.0 * max(1, answer["gaps"]))
    report.at_most("clock's drift as reported", answer["drift_ppm"], "ppm")
    if drift_ppm is not None and answer["drift_ppm"] is not None:
        report.at_most("error of that", abs(answer["drift_ppm"] - drift_ppm), "ppm", 0.5)
    # From a tenth on: allocators settle in the beginning.
    settled = len(answer["files"]) // 10
    memory_kib, files = answer["resident_kib"][settled:], answer["files"][settled:]
    report.at_most("memory grown", max(memory_kib) - memory_kib[0], "KiB", 1_024)
    report.at_most("memory at the end", memory_kib[-1] / 1024, "MiB")
    report.at_most("files grown", max(files) - files[0], "files", 1)  # one while a device is waited for
    report.series(
        "Memory over time",
        answer["hours"],
        {"resident": [kib / 1024 for kib in answer["resident_kib"]]},
        x_label="hours",
        y_label="MiB",
    )


def expected_gaps(hours: float) -> int:
    """Gaps that the script makes."""
    starts = [second for second, word in HOURLY.items() if word != "ok"]
    return sum(hour * HOUR_S + start < hours * HOUR_S - 10 for hour, start in itertools.product(range(99), starts))


def main() -> None:
    """Listen, report."""
    if sys.argv[1:2] == ["--child"]:
        selector, real_hours, control = sys.argv[2:]
        print(json.dumps(trio.run(real, selector, float(real_hours), control)))
        return

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--hours", type=float, help="how long (default: 24, with --quick a half; --real: 1)")
        parser.add_argument("--real", action="store_true", help="real hours on a virtual ALSA microphone")
        parser.add_argument("--device", help="real hours on this microphone")
        parser.add_argument("--block-ms", type=float, default=32.0, help="virtual: length of a block")

    logging.getLogger("ravatar_audio").setLevel(logging.ERROR)  # the faults are ours
    with running("soak", __doc__, extend) as (report, options):
        begun_s = time.monotonic()
        if options.device:
            answer = trio.run(real, options.device, options.hours or 1.0, "")
            tell(report, answer, None, None)
        elif options.real:
            answer = real_on_virtual_device(options.hours or 1.0)
            tell(report, answer, REAL_DRIFT_PPM, None)
        else:
            hours: float = options.hours or (0.5 if options.quick else 24.0)
            answer = virtual(hours, options.block_ms / 1000)
            tell(report, answer, DRIFT_PPM, expected_gaps(hours))
            report.at_least("speed", hours * HOUR_S / (time.monotonic() - begun_s), "times real time")


if __name__ == "__main__":
    main()
