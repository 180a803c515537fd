"""Microphone to wire to server, one stream: how long each stage takes, and how old the sound is when it is written.

A live session from a virtual USB microphone (48 kHz, a real device stream in a process of its own) over wss to a server
in another process; beside it the usual pipeline on trio (rivals/baselines). Idle, contenders take turns of some
seconds, each in a process of its own with the machine to itself, in several rounds whose messages are pooled; under the
loads both run at the same time: a thread that holds the interpreter 50 ms at a time; other processes that want every
core; a server that reads nothing for 1 s every 4 s. The server may not interrupt whoever writes to it: a platform is on
another machine.

Stages: `framing` is the 256 ms of sound in a message: by so much its oldest sample is older than its newest, and no
program can change that. `block_and_filter` is from the newest sample at the microphone until the core has handed the
frame over: the device's block and the resampler's group delay. `wake_up` is until the trio task has the frame, `encode`
until the message is there, `write` until the socket has it and the call has returned, `server` until the server has
read all of it (0 where it was faster than the call's return). "Ready" is when the core handed over; in the usual
pipeline, when its callback was called with the block that completes the message. What counts is ready to server: a call
may return before or after the sound has left, as its library likes. It is compared twice: without the usual pipeline's
conversion, as ours was done before "ready", and with it, as who uses that pipeline has to wait for it. Age counts from
the moment when the newest sample was at the microphone. The first second of each turn does not count.

Idle, the floors are measured too, at the same rhythm: `floor` is a program of C, one thread that fires and one that
wakes, makes the message by the core's own source and writes it to the same server (floor.c); `trio` is an empty eventfd
and a task that waits for it.
`large_pages` is ours with the interpreter's memory in pages of 2 MiB, by GLIBC_TUNABLES and PYTHONMALLOC.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from .latency_child import DEVICE_RATE_HZ, FRAME_S, WARM_UP_FRAMES
from .latency_measured import STAGES, Measured, Runs, add_ratios, pooled
from .rig.arrivals import Arrivals, running_arrivals
from .rig.floor import lacking
from .rig.harness import Report, interleave, percentile, progress, running, this_module
from .rig.loads import be_urgent, hogged
from .rig.virtual_microphone import Pcm, virtual_microphones
from .rivals.baselines.microphones import BLOCK_S

STALL_S, STALL_EVERY_S = 1.0, 4.0
SECONDS = {"held": 28.0, "hogged": 10.0, "stalled": 12.0}
TURNS = {
    ("ours", "wss"): 8.0,
    ("usual", "wss"): 8.0,
    ("floor", "wss"): 4.0,
    ("large_pages", "wss"): 4.0,
    ("ours", "ws"): 3.0,
    ("trio", "ws"): 3.0,
}
"""How long each has the idle machine to itself in a round."""
ROUNDS = 6  # a percentile of 99 takes more than 100 messages
QUICK_S, QUICK_ROUNDS = 2.5, 2
LARGE_PAGES = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def main() -> None:
    with running("latency", __doc__) as (report, options), tempfile.TemporaryDirectory() as scratch:
        be_urgent()
        measure_all(report, Path(scratch), quick=options.quick)


def measure_all(report: Report, folder: Path, *, quick: bool) -> None:
    """All contenders under each load."""
    turns = dict.fromkeys(TURNS, QUICK_S) if quick else dict(TURNS)
    if (reason := lacking()) is not None:
        report.lacks("floor", reason)
        del turns["floor", "wss"]
    plan = {"held": QUICK_S} if quick else SECONDS
    rounds = QUICK_ROUNDS if quick else ROUNDS
    whole_s, done_s = rounds * sum(turns.values()) + sum(plan.values()), 0.0
    pcm = Pcm(rates=(DEVICE_RATE_HZ,), channels=(1, 1), exclusive=False)
    with virtual_microphones(pcm) as microphones, platform(folder) as api_url:

        def turn(contender: tuple[str, str]) -> Measured:
            nonlocal done_s
            progress(done_s / whole_s, f"idle, {' '.join(contender)}")
            done_s += turns[contender]
            return measure("idle", [contender], turns[contender], folder, api_url, microphones.environment)[contender]

        contenders = {" ".join(contender): partial(turn, contender) for contender in turns}
        kept = interleave(contenders, rounds, warm_up=0, show_progress=False)
        by_turn = dict(zip(turns, kept.values(), strict=True))
        idle = {contender: pooled(those) for contender, those in by_turn.items()}
        trio_alone = idle.pop(("trio", "ws"))
        add_rows(report, "idle", idle)
        add_ratios(report, by_turn)
        add_floors(report, idle, trio_alone)
        for load, seconds in plan.items():
            progress(done_s / whole_s, load)
            both = [("ours", "wss"), ("usual", "wss")]
            add_rows(report, load, measure(load, both, seconds, folder, api_url, microphones.environment))
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
                    Path(tempfile.mkdtemp(dir=folder), "stamps"),
                    secure=scheme == "wss",
                    stall_s=stall_s,
                    every_s=STALL_EVERY_S,
                )
            )
            for _, scheme in contenders
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
        sent_us, arrived_us = (
            [value * 1e6 for value in values] for values in (run.ready_to_written_s, run.ready_to_server_s)
        )
        report.percentiles(f"ready to written, {case}", sent_us, "us", plot=f"Ready to written, {load}")
        report.percentiles(f"ready to server, {case}", arrived_us, "us", plot=f"Ready to server, {load}")
        if contender == "usual":
            whole_us = [value * 1e6 for value in run.ready_to_server_with_conversion_s]
            name = f"ready to server, {case} with its conversion"
            report.percentiles(name, whole_us, "us", plot=f"Ready to server, {load}")
        if contender == "ours":
            add_ages(report, case, load, run)
    ours, usual = runs["ours", "wss"], runs["usual", "wss"]
    if load == "held":
        report.note(f"held: the longest hold was {ours.longest_hold_s * 1e3:.0f} ms")
    if load != "idle" or not usual.times:
        return
    stages_us = {name: medians_us(runs[name, "wss"]) for name in ("ours", "usual", "floor") if (name, "wss") in runs}
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
    ours_us, large_us = (percentile(runs[name, "wss"].ready_to_written_s, 50) * 1e6 for name in ("ours", "large_pages"))
    report.at_most("ready to written, idle, wss, large pages to small ones, p50", large_us / ours_us, "ratio")
    if ("floor", "wss") in runs:
        ours, floor = medians_us(runs["ours", "wss"]), medians_us(runs["floor", "wss"])
        shares_us = {
            "wake-up of a thread, in C": floor["wake_up"],
            "from there to a task of trio": task_us - floor["wake_up"],
            "frame out of the ring, session": ours["wake_up"] - task_us,
            "encode, in C": floor["encode"],
            "encode, what Python adds": ours["encode"] - floor["encode"],
            "write, in C": floor["write"],
            "write, what Python adds": ours["write"] - floor["write"],
        }
        shown_us = {name: max(0.0, value) for name, value in shares_us.items()}
        report.stages("Ready to written, idle, wss: whose share", {"ours": shown_us}, "us")
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
