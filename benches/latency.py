"""Microphone to wire to server, one stream: how long each stage takes, and how old the sound is when it is written.

A live session from a virtual USB microphone (48 kHz, a real device stream in a process of its own) over wss to a server
in another process; beside it the usual pipeline on trio (benches/baselines). Idle, each has the machine to itself, one
after the other; under the loads both run at the same time: a thread that holds the interpreter 50 ms at a time; other
processes that want every core; a server that reads nothing for 1 s every 4 s. The server may not interrupt whoever
writes to it: a platform is on another machine.

Stages: `framing` is the 256 ms of sound in a message: by so much its oldest sample is older than its newest, and no
program can change that. `block_and_filter` is from the newest sample at the microphone until the core has handed the
frame over: the device's block and the resampler's group delay. `wake_up` is until the trio task has the frame, `encode`
until the message is there, `write` until the socket has it and the call has returned, `server` until the server has
read all of it (0 where it was faster than the call's return). "Ready" is when the core handed over; in the usual
pipeline, when its callback was called with the block that completes the message, and its conversion is left out of the
comparison. Age counts from the moment when the newest sample was at the microphone. The first second does not count.

Idle, the floors are measured too, at the same rhythm: `bare` is a program of C, one thread that fires and one that
wakes and writes a ready message to the same server (bare.c); `trio` is an empty eventfd and a task that waits for it.
`large_pages` is ours with the interpreter's memory in pages of 2 MiB, by GLIBC_TUNABLES and PYTHONMALLOC.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arrivals import Arrivals, running_arrivals
from .baselines.microphones import BLOCK_S
from .harness import Report, percentile, progress, running, this_module
from .latency_child import DEVICE_RATE_HZ, FRAME_S, WARM_UP_FRAMES, Times
from .loads import be_urgent, hogged
from .virtual_microphone import Pcm, virtual_microphones

STALL_S, STALL_EVERY_S = 1.0, 4.0
STAGES = {
    "ours": ("block_and_filter", "wake_up", "encode", "write", "server"),
    "usual": ("wake_up", "convert", "encode", "write", "server"),
    "bare": ("wake_up", "write", "server"),
    "trio": ("wake_up", "server"),
}
STAGES["large_pages"] = STAGES["ours"]
SECONDS = {"held": 28.0, "hogged": 10.0, "stalled": 12.0}
TURNS = {
    ("ours", "wss"): 28.0,  # a percentile of 99 takes more than 100 messages
    ("usual", "wss"): 28.0,
    ("large_pages", "wss"): 8.0,
    ("ours", "ws"): 6.0,
    ("bare", "wss"): 6.0,
    ("trio", "ws"): 6.0,
}
"""How long each has the idle machine to itself."""
QUICK_S = 3.0
LARGE_PAGES = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender's run."""

    contender: str
    times: Times
    lost_samples: float
    group_delay_s: float
    longest_hold_s: float

    def stage_s(self, name: str) -> list[float]:
        at = STAGES[self.contender].index(name)
        return [max(0.0, times[at + 1] - times[at]) for times in self.times]

    @property
    def ready_to_written_s(self) -> list[float]:
        """Without the usual pipeline's conversion, as ours has been done by then."""
        if self.contender != "usual":
            return [times[-2] - times[STAGES[self.contender].index("wake_up")] for times in self.times]
        return [written - came - (framed - awake) for came, awake, framed, _, written, _ in self.times]

    @property
    def ready_to_server_s(self) -> list[float]:
        return [sent + (times[-1] - times[-2]) for sent, times in zip(self.ready_to_written_s, self.times, strict=True)]


Runs = dict[tuple[str, str], Measured]
"""By contender and scheme."""


def main() -> None:
    with running("latency", __doc__) as (report, options), tempfile.TemporaryDirectory() as scratch:
        be_urgent()
        measure_all(report, Path(scratch), quick=options.quick)


def measure_all(report: Report, folder: Path, *, quick: bool) -> None:
    """All contenders under each load."""
    turns = dict.fromkeys(TURNS, QUICK_S) if quick else TURNS
    plan = {"held": QUICK_S} if quick else SECONDS
    whole_s, done_s = sum(turns.values()) + sum(plan.values()), 0.0
    pcm = Pcm(rates=(DEVICE_RATE_HZ,), channels=(1, 1), exclusive=False)
    with virtual_microphones(pcm) as microphones, platform(folder) as api_url:
        idle: Runs = {}
        for contender, seconds in turns.items():
            progress(done_s / whole_s, f"idle, {' '.join(contender)}")
            idle |= measure("idle", [contender], seconds, folder, api_url, microphones.environment)
            done_s += seconds
        floor = idle.pop(("trio", "ws"))
        add_rows(report, "idle", idle)
        add_floors(report, idle, floor)
        for load, seconds in plan.items():
            progress(done_s / whole_s, load)
            contenders = [("ours", "wss"), ("usual", "wss")]
            add_rows(report, load, measure(load, contenders, seconds, folder, api_url, microphones.environment))
            done_s += seconds


def measure(
    load: str,
    contenders: Sequence[tuple[str, str]],
    seconds: float,
    folder: Path,
    api_url: str,
    environment: dict[str, str],
) -> Runs:
    """These contenders at the same time, over ws or wss."""
    stall_s = STALL_S if load == "stalled" else 0.0
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                running_arrivals(
                    folder / f"{load}-{name}-{scheme}", secure=scheme == "wss", stall_s=stall_s, every_s=STALL_EVERY_S
                )
            )
            for name, scheme in contenders
        ]
        stack.enter_context(hogged() if load == "hogged" else nullcontext())
        children = [
            start(name, api_url, server, seconds, load == "held", environment)
            for (name, _), server in zip(contenders, servers, strict=True)
        ]
        answers = [finish(child, seconds + 60) for child in children]
        return {
            contender: take(contender[0], answer, server)
            for contender, answer, server in zip(contenders, answers, servers, strict=True)
        }


def take(contender: str, answer: dict[str, Any], server: Arrivals) -> Measured:
    """The child's answer and the server's stamps, message by message."""
    if contender == "trio":
        return Measured(contender, answer["times"], 0, 0.0, 0.0)
    arrived_s = server.read_s()
    times = [[*passed, arrived] for passed, arrived in zip(answer["times"], arrived_s, strict=False)]
    used = times[WARM_UP_FRAMES:-1]  # the last one was flushed
    return Measured(contender, used, answer["lost_samples"], answer["group_delay_s"], answer["longest_hold_s"])


def add_rows(report: Report, load: str, runs: Runs) -> None:
    for (contender, scheme), run in runs.items():
        case = f"{load}, {scheme}, {contender}"
        report.note(f"{case}: {len(run.times)} messages")
        report.at_most(f"lost, {case}", run.lost_samples, "samples", 0 if contender == "ours" else None)
        if not run.times:  # the interpreter was held while its sound came
            report.lacks(case, "no message was complete in the time")
            continue
        goals = {50.0: 320.0, 99.0: 450.0} if (contender, load, scheme) == ("ours", "idle", "wss") else {}
        sent_us, arrived_us = (
            [value * 1e6 for value in values] for values in (run.ready_to_written_s, run.ready_to_server_s)
        )
        report.percentiles(f"ready to written, {case}", sent_us, "us", goals, plot=f"Ready to written, {load}")
        report.percentiles(f"ready to server, {case}", arrived_us, "us", plot=f"Ready to server, {load}")
        if contender == "ours":
            add_ages(report, case, load, run)
    ours, usual = runs["ours", "wss"], runs["usual", "wss"]
    if load == "held":
        report.note(f"held: the longest hold was {ours.longest_hold_s * 1e3:.0f} ms")
    if load != "idle" or not usual.times:
        return
    for percent in (50, 99):
        ratio = percentile(ours.ready_to_written_s, percent) / percentile(usual.ready_to_written_s, percent)
        report.at_most(f"ready to written, idle, wss, ours to usual, p{percent}", ratio, "ratio", 0.6)
    stages_us = {run.contender: medians_us(run) for run in (ours, usual, runs["bare", "wss"])}
    for contender, stages in stages_us.items():
        for name, value in stages.items():
            report.at_most(f"stage, {contender}, {name}, p50", value, "us")
    report.at_most("stage, both, framing", FRAME_S * 1e6, "us")
    captured_us = stages_us["ours"].pop("block_and_filter")
    report.stages("From the audio thread to the server, idle, wss, medians", stages_us, "us")
    whole_ms = {"framing": FRAME_S * 1e3, "block_and_filter": captured_us / 1e3} | {
        name: value / 1e3 for name, value in stages_us["ours"].items()
    }
    report.stages("Age of a message's oldest sample when the server has it, idle, wss", {"ours": whole_ms}, "ms")


def medians_us(run: Measured) -> dict[str, float]:
    return {name: percentile(run.stage_s(name), 50) * 1e6 for name in STAGES[run.contender]}


def add_floors(report: Report, runs: Runs, trio_floor: Measured) -> None:
    """What stands in the way of less: the machine's own share of each stage, and trio's."""
    task_us = percentile(trio_floor.ready_to_written_s, 50) * 1e6
    report.percentiles(
        "floor: wake-up of a trio task",
        [value * 1e6 for value in trio_floor.ready_to_written_s],
        "us",
        plot="Ready to written, idle",
    )
    ours, bare = medians_us(runs["ours", "wss"]), medians_us(runs["bare", "wss"])
    floor_us = percentile(runs["bare", "wss"].ready_to_written_s, 50) * 1e6
    ours_us, large_us = (percentile(runs[name, "wss"].ready_to_written_s, 50) * 1e6 for name in ("ours", "large_pages"))
    report.at_most("ready to written, idle, wss, ours over bare C, p50", ours_us / floor_us, "ratio")
    report.at_most("ready to written, idle, wss, large pages to small ones, p50", large_us / ours_us, "ratio")
    shares_us = {
        "wake-up of a thread, in C": bare["wake_up"],
        "from there to a task of trio": task_us - bare["wake_up"],
        "frame out of the ring, session": ours["wake_up"] - task_us,
        "encode": ours["encode"],
        "write, in C": bare["write"],
        "write, what Python adds": ours["write"] - bare["write"],
    }
    report.stages(
        "Ready to written, idle, wss: whose share", {"ours": {k: max(0.0, v) for k, v in shares_us.items()}}, "us"
    )
    values = {f"{name}, {scheme}": percentile(run.ready_to_written_s, 50) * 1e6 for (name, scheme), run in runs.items()}
    values["floor: a task's wake-up alone"] = task_us
    report.comparison("Ready to written, idle, p50", values, "us", ours=("ours, wss", "ours, ws", "large_pages, wss"))


def add_ages(report: Report, case: str, load: str, run: Measured) -> None:
    ages_ms = [(written - captured) * 1e3 for captured, _, _, _, written, _ in run.times]
    bound_ms = (BLOCK_S + run.group_delay_s) * 1e3
    goals = {"idle": bound_ms + 2, "held": bound_ms + run.longest_hold_s * 1e3 + 5}
    limits = {99.0: round(goals[load], 2)} if load in goals else {}
    report.percentiles(
        f"age of the newest sample at send, {case}", ages_ms, "ms", limits, plot="Age of the newest sample"
    )
    oldest_ms = [age_ms + FRAME_S * 1e3 for age_ms in ages_ms]
    report.percentiles(f"age of the oldest sample at send, {case}", oldest_ms, "ms", plot="Age of the oldest sample")
    if load != "idle":
        first_s = run.times[0][0]
        at_s = [times[0] - first_s for times in run.times]
        arrived_ms = [(times[-1] - times[0]) * 1e3 for times in run.times]
        lines = {"written": ages_ms, "with the server": arrived_ms}
        report.series(f"Age of the newest sample, {case}", at_s, lines, x_label="seconds", y_label="age, ms")


@contextmanager
def platform(folder: Path) -> Iterator[str]:
    """The emulator's HTTP half, in a process of its own; the sound goes to servers that only note the time."""
    command = [sys.executable, "-m", "ravatar_audio", "emulator", "--port", "0", "--slots", "99"]
    command += ["--wav-dir", str(folder / "heard")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process.stderr.readline().split()[2]
        finally:
            process.terminate()


def start(
    contender: str, api_url: str, server: Arrivals, seconds: float, held: bool, environment: dict[str, str]
) -> "subprocess.Popen[str]":
    request = {
        "contender": contender,
        "api_url": api_url,
        "ws_url": server.url,
        "ca_file": server.ca_file,
        "seconds": seconds,
        "held": held,
    }
    command = this_module("latency_child", json.dumps(request))
    if contender == "large_pages":
        environment = environment | LARGE_PAGES
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(child: "subprocess.Popen[str]", limit_s: float) -> dict[str, Any]:
    """The child's answer; what the sound libraries say on stderr is shown only when it failed."""
    output, errors = child.communicate(timeout=limit_s)
    if child.returncode:
        raise RuntimeError(f"a contender failed:\n{errors}")
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


if __name__ == "__main__":
    main()
