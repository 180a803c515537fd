"""Microphone to wire to server, one stream: how long each stage takes, and how old the sound is when it is written.

A live session from a virtual USB microphone (48 kHz, a real device stream in a process of its own) over wss to a server
in another process; beside it, at the same time, the usual pipeline on trio (benches/baselines). Loads, one after the
other: idle; a thread that holds the interpreter 50 ms at a time; other processes that want every core; a server that
reads nothing for 1 s every 4 s.

Stages: `framing` is the 256 ms of sound in a message: by so much its oldest sample is older than its newest, and no
program can change that. `block_and_filter` is from the newest sample at the microphone until the core has handed the
frame over: the device's block and the resampler's group delay. `wake_up` is until the trio task has the frame, `encode`
until the message is there, `write` until the socket has it and the call has returned, `server` until the server has
read all of it (0 where it was faster than the call's return). "Ready" is when the core handed over; in the usual
pipeline, when its callback was called with the block that completes the message, and its conversion is left out of the
comparison. Age counts from the moment when the newest sample was at the microphone. The first second does not count.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from unittest import mock

import trio

from ravatar_audio import Frame, LiveSession, Microphone, Settings
from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ
from ravatar_audio.session import live as live_module

from .arrivals import Arrivals, running_arrivals
from .baselines import trio_pipeline
from .baselines.microphones import BLOCK_S, OnBlock, PyAudioSource
from .baselines.ticket import take_ticket
from .baselines.timing import Passage
from .harness import Report, percentile, progress, running, this_module
from .loads import Holder, be_urgent, hogged
from .ticker import Ticker
from .virtual_microphone import Pcm, virtual_microphones
from .wakeup import floor

WARM_UP_FRAMES = 4
START_LIMIT_S = 20.0
HOLD_S = 0.05
STALL_S, STALL_EVERY_S = 1.0, 4.0
DEVICE_RATE_HZ = 48_000
FRAME_S = FRAME_SAMPLES / RATE_HZ
STAGES = {
    "ours": ("block_and_filter", "wake_up", "encode", "write", "server"),
    "usual": ("wake_up", "convert", "encode", "write", "server"),
}
SECONDS = {"idle": 42.0, "held": 28.0, "hogged": 14.0, "stalled": 14.0}
"""Each load's share of two minutes."""

Times = list[list[float]]
"""Of each message: when it entered its first stage, and when it left each."""


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
        if self.contender == "ours":
            return [written - finished for _, finished, _, _, written, _ in self.times]
        return [written - came - (framed - awake) for came, awake, framed, _, written, _ in self.times]

    @property
    def ready_to_server_s(self) -> list[float]:
        return [sent + (times[-1] - times[-2]) for sent, times in zip(self.ready_to_written_s, self.times, strict=True)]


def main() -> None:
    if "--inside" in sys.argv:
        request = json.loads(sys.argv[2])
        print(json.dumps(trio.run(CHILDREN[request["contender"]], request)))
        return
    with running("latency", __doc__) as (report, options), tempfile.TemporaryDirectory() as scratch:
        be_urgent()
        measure_all(report, Path(scratch), {"idle": 3.0, "held": 3.0} if options.quick else SECONDS)


def measure_all(report: Report, folder: Path, plan: Mapping[str, float]) -> None:
    """All contenders under each load, for so many seconds."""
    pcm = Pcm(rates=(DEVICE_RATE_HZ,), channels=(1, 1), exclusive=False)
    with virtual_microphones(pcm) as microphones, platform(folder) as api_url:
        for number, (load, seconds) in enumerate(plan.items()):
            progress(number / len(plan), load)
            runs, floor_s = measure(load, seconds, folder, api_url, microphones.environment)
            add_rows(report, load, runs)
            if floor_s:
                add_floor(report, floor_s, runs)


def measure(
    load: str, seconds: float, folder: Path, api_url: str, environment: dict[str, str]
) -> tuple[dict[tuple[str, str], "Measured"], list[float]]:
    """All contenders at the same time, and the floor's wake-ups when idle."""
    contenders = [("ours", "wss"), ("usual", "wss")]
    if load == "idle":
        contenders += [("ours", "ws"), ("floor", "ws")]
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
        runs = {
            (name, scheme): take(name, answer, server)
            for (name, scheme), answer, server in zip(contenders, answers, servers, strict=True)
            if name != "floor"
        }
    return runs, answers[-1].get("wake_up_s", [])


def take(contender: str, answer: dict[str, Any], server: Arrivals) -> Measured:
    """The child's answer and the server's stamps, message by message."""
    arrived_s = server.read_s()
    times = [[*passed, arrived] for passed, arrived in zip(answer["times"], arrived_s, strict=False)]
    used = times[WARM_UP_FRAMES:-1]  # the last one was flushed
    return Measured(contender, used, answer["lost_samples"], answer["group_delay_s"], answer["longest_hold_s"])


def add_rows(report: Report, load: str, runs: dict[tuple[str, str], Measured]) -> None:
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
    stages_us = {
        run.contender: {name: percentile(run.stage_s(name), 50) * 1e6 for name in STAGES[run.contender]}
        for run in (ours, usual)
    }
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


def add_floor(report: Report, wake_up_s: list[float], runs: dict[tuple[str, str], Measured]) -> None:
    report.percentiles("floor: wake-up", [value * 1e6 for value in wake_up_s], "us", plot="Ready to written, idle")
    report.note("floor: an empty eventfd and a trio task, at the same rhythm; no audio, no message")
    values = {f"{name}, {scheme}": percentile(run.ready_to_written_s, 50) * 1e6 for (name, scheme), run in runs.items()}
    values["floor: a wake-up alone"] = percentile(wake_up_s, 50) * 1e6
    report.comparison("Ready to written, idle, p50", values, "us", ours=("ours, wss", "ours, ws"))


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
    command = this_module("latency", "--inside", json.dumps(request))
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(child: "subprocess.Popen[str]", limit_s: float) -> dict[str, Any]:
    """The child's answer; what the sound libraries say on stderr is shown only when it failed."""
    output, errors = child.communicate(timeout=limit_s)
    if child.returncode:
        raise RuntimeError(f"a contender failed:\n{errors}")
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


# In the child processes.


class _Watched:
    """A source that notes when each frame was taken from it; the microphone may be opened later."""

    is_real_time = True

    def __init__(self) -> None:
        self.microphone: Microphone | None = None
        self.is_open = trio.Event()
        self.taken_s: dict[int, float] = {}

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> Frame:
        await self.is_open.wait()
        assert self.microphone is not None
        frame = await anext(self.microphone)
        self.taken_s[frame.seq] = time.monotonic()
        return frame


class _TimedEncoder(AudioEncoder):
    encoded_s = 0.0
    """When the newest message was there, whichever session's it was."""

    def frame(self, pcm: bytes, lost_samples: int = 0) -> memoryview:
        made = super().frame(pcm, lost_samples)
        type(self).encoded_s = time.monotonic()
        return made


async def ours(request: dict[str, Any]) -> dict[str, Any]:
    """One live session of this package."""
    times: Times = []

    def note(frame: Frame) -> None:
        written_s = time.monotonic()
        taken_s = watched.taken_s.pop(frame.seq)
        times.append([frame.captured_s, frame.finished_s, taken_s, _TimedEncoder.encoded_s, written_s])

    with ExitStack() as stack:
        state_dir = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(mock.patch.object(live_module, "AudioEncoder", _TimedEncoder))
        holder = stack.enter_context(Holder(HOLD_S)) if request["held"] else None
        settings = Settings(
            api_url=request["api_url"], ws_url=request["ws_url"], ca_file=request["ca_file"], state_dir=state_dir
        )
        watched = _Watched()
        async with LiveSession(settings, watched, on_sent=note) as live, Microphone() as microphone:
            group_delay_s = microphone.group_delay_s
            watched.microphone = microphone
            watched.is_open.set()
            await trio.sleep(request["seconds"])
            await microphone.stop()
            await live.wait_finished()
        capture, sent = microphone.statistics(), live.statistics()
    return {
        "times": times,
        "lost_samples": capture.captured_samples + capture.device_lost_samples - sent.sent_samples,
        "group_delay_s": group_delay_s,
        "longest_hold_s": holder.longest_s if holder else 0.0,
    }


class _Counted(PyAudioSource):
    """PyAudio's callback, which also counts what came: sound that nobody got shows by the clock."""

    def __init__(self) -> None:
        super().__init__(DEVICE_RATE_HZ, 1)
        self._blocks = 0
        self._count_from_s = time.monotonic() + WARM_UP_FRAMES * FRAME_S
        self._first_s = self._last_s = 0.0

    def feeding(self, on_block: OnBlock) -> Self:
        def counted(block: bytes, came_s: float) -> None:
            if came_s > self._count_from_s:
                self._blocks += 1
                self._first_s, self._last_s = self._first_s or came_s, came_s
            on_block(block, came_s)

        return super().feeding(counted)

    @property
    def lost_samples(self) -> float:
        """At 16 kHz, to within a block: less than two blocks count as nothing."""
        lost_s = self._last_s - self._first_s - (self._blocks - 1) * BLOCK_S
        return round(lost_s * RATE_HZ) if lost_s > 2 * BLOCK_S else 0


async def usual(request: dict[str, Any]) -> dict[str, Any]:
    """One stream of the usual pipeline."""
    passages: list[Passage] = []
    take_one = lambda: take_ticket(  # noqa: E731
        request["api_url"], f"usual-{os.getpid()}", ca_file=request["ca_file"], ws_url=request["ws_url"]
    )
    ticket = await trio.to_thread.run_sync(take_one)
    source = _Counted()

    def note(passage: Passage) -> None:
        if not passages:
            scope.deadline = trio.current_time() + request["seconds"]
        passages.append(passage)

    holding = Holder(HOLD_S) if request["held"] else nullcontext()
    with holding as holder, trio.move_on_after(request["seconds"] + START_LIMIT_S) as scope:
        await trio_pipeline.stream(source, ticket, note)
    return {
        "times": [[item.came_s, item.awake_s, item.framed_s, item.encoded_s, item.written_s] for item in passages],
        "lost_samples": source.lost_samples,
        "group_delay_s": 0.0,
        "longest_hold_s": holder.longest_s if holder else 0.0,
    }


async def wake_up_floor(request: dict[str, Any]) -> dict[str, Any]:
    """What the machine takes for a wake-up, and nothing else."""
    count = max(2, int(request["seconds"] / FRAME_S))
    return {"wake_up_s": (await floor(Ticker(), count, FRAME_S))[1:]}


CHILDREN = {"ours": ours, "usual": usual, "floor": wake_up_floor}


if __name__ == "__main__":
    main()
