"""How soon is a turn over: from the button's release, or the last word, to the turn's last message on the wire?

First the design alone: a capture at 16 kHz in blocks of 10 ms runs through the real chain and a gate on a simulated
clock that their work does not move on, at many phases of the release against blocks and frames. Then the real path: a
virtual USB microphone (48 kHz, a real device stream on its own thread, in a process of its own) whose turns a live
session sends over wss to a server in another process. Releases and words come at random phases.

Each last message has two times, of one clock. "On the wire" is when the call that wrote it to the socket has returned,
in the process that has the microphone: the goals are held against this one. "At the server" is when the other process
has read its last byte, decrypted; that is also a matter of when the system lets that process run. The release is when
the button is told to be up; the last word is the last loud sample at the microphone. `full frame` is the same without
Gate.flush_at: what waiting for 256 ms costs. Tail and hangover are taken off: what is left is what the program, the
device and the network add, the filter's delay among it.
"""

import json
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import trio

from ravatar_audio import LiveSession, Microphone, Settings, TurnSource
from ravatar_audio.energy import EnergyDetector
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.native import Chain
from ravatar_audio.turns import Gate, Outcome, TurnEvent, TurnEventKind, TurnMode, TurnRules

from .rig.arrivals import running_arrivals
from .rig.harness import Report, median, percentile, progress, running, this_module
from .rig.loads import be_urgent
from .rig.virtual_microphone import Pcm, virtual_microphones

BLOCK_SAMPLES = 160
BLOCK_S = BLOCK_SAMPLES / RATE_HZ
RULES = TurnRules()
HELD_SAMPLES = 40_000
WAITS = {TurnMode.PTT: "tail", TurnMode.VAD: "hangover"}
WAITS_S = {TurnMode.PTT: RULES.tail_ms / 1_000, TurnMode.VAD: RULES.hangover_ms / 1_000}


def ends(mode: TurnMode, press: int, *, early: bool) -> tuple[float, float]:
    """When the turn's first frame and its end are known, in seconds after the press and after the release."""
    gate = Gate(mode, RULES, detector=EnergyDetector(margin_db=0.0))
    release = press + HELD_SAMPLES
    rng = np.random.default_rng(press)
    sound = rng.normal(0, 30, release + RATE_HZ * 2).astype(np.int16)
    sound[press:release] = rng.normal(0, 3_000, release - press)
    controls = [(press, gate.press), (release, gate.release)] if mode is TurnMode.PTT else []
    first_s = None
    with Chain(rate_hz=RATE_HZ, capacity_frames=64) as chain:
        for end in range(BLOCK_SAMPLES, len(sound), BLOCK_SAMPLES):
            now_s = end / RATE_HZ
            while controls and controls[0][0] <= end:
                position, tell = controls.pop(0)
                tell(position / RATE_HZ)
                if early:
                    chain.flush_at(gate.flush_at)
            chain.push(sound[end - BLOCK_SAMPLES : end].tobytes(), now_s)
            for outcome in fed(gate, chain, early=early):
                if isinstance(outcome, Frame) and first_s is None:
                    first_s = now_s - press / RATE_HZ
                if isinstance(outcome, TurnEvent) and outcome.kind is TurnEventKind.ENDED:
                    assert first_s is not None
                    return first_s, now_s - release / RATE_HZ
    raise AssertionError("the turn did not end")


def fed(gate: Gate, chain: Chain, *, early: bool) -> Iterator[Outcome]:
    for frame in chain.take_all():
        yield from gate.feed(frame)
    if early:
        chain.flush_at(gate.flush_at)


def cost_s(mode: TurnMode, *, in_step: bool) -> float:
    """Time that a gate takes for one frame of an open turn."""
    with Chain(rate_hz=RATE_HZ, capacity_frames=1_024) as chain:
        chain.push(np.random.default_rng(0).normal(0, 3_000, 1_000 * FRAME_SAMPLES).astype(np.int16).tobytes(), 256.0)
        frames = list(chain.take_all())
    gate = Gate(mode, TurnRules(press_cap_ms=None))
    press = 0 if in_step else 100
    gate.feed(frames[0])
    gate.press(frames[1].captured_s - (FRAME_SAMPLES - press - 1) / RATE_HZ)
    begin = time.perf_counter()
    for frame in frames[1:]:
        gate.feed(frame)
        gate.flush_at  # noqa: B018 - a caller asks for it
    return (time.perf_counter() - begin) / len(frames[1:])


# The real path.

DEVICE_RATE_HZ = 48_000
LOUD = 2_000
WORD_S, LEAST_PAUSE_S, MORE_PAUSE_S = 0.25, 0.97, 0.1
HELD_S = 0.21
APART_S = 0.1
"""Between two turns of push-to-talk, at least; up to a frame's length is added at random."""
FULL_FRAME_TURNS = 12
NAMES = {True: "flush_at", False: "full frame"}


class _Unflushed(Microphone):
    """Frames end when they are full: what a program does that knows of no flush."""

    def request_flush(self) -> None:
        pass

    def flush_at(self, position_samples: int | None) -> None:
        pass


class _Words:
    """When the last loud sample of each word was at the microphone, from the frames that are heard."""

    def __init__(self) -> None:
        self.last_s = 0.0

    def hear(self, frame: Frame) -> None:
        loud = np.flatnonzero(np.abs(np.frombuffer(frame.pcm, "<i2")[: frame.length_samples].astype(int)) >= LOUD)
        if len(loud):
            self.last_s = frame.captured_s - (frame.length_samples - 1 - int(loud[-1])) / RATE_HZ


async def take_turns(request: dict[str, Any]) -> dict[str, Any]:
    """Inside the process that has the microphone: for each turn when it should be over, and its last message's number.

    Tail and hangover are in the times: both are what the user has asked for.
    """
    mode = TurnMode(request["mode"])
    wait_s = WAITS_S[mode]
    over: list[tuple[float, int]] = []
    written_s: list[float] = []
    release_s = 0.0
    phases = np.random.default_rng(2)
    words, ended = _Words(), trio.Event()

    def note(event: TurnEvent) -> None:
        if event.kind is TurnEventKind.ENDED:
            over.append(
                (wait_s + (release_s if mode is TurnMode.PTT else words.last_s), live.statistics().taken_frames - 1)
            )
            ended.set()

    with tempfile.TemporaryDirectory() as state_dir:
        settings = Settings(
            api_url=request["api_url"],
            ws_url=request["ws_url"],
            ca_file=request["ca_file"],
            state_dir=state_dir,
            mode=request["mode"],
        )
        microphone = (Microphone if request["early"] else _Unflushed)(request["device"])
        turns = TurnSource.from_settings(settings, microphone, on_event=note, on_frame=words.hear)
        live = LiveSession(settings, turns, on_sent=lambda frame: written_s.append(time.monotonic()))
        async with turns, live:
            group_delay_s = microphone.group_delay_s
            for _ in range(request["turns"]):
                ended = trio.Event()
                if mode is TurnMode.PTT:
                    await trio.sleep(APART_S + phases.uniform(0, FRAME_SAMPLES / RATE_HZ))
                    turns.press()
                    await trio.sleep(HELD_S)
                    turns.release(release_s := time.monotonic())
                await ended.wait()
            await microphone.stop()
            await live.wait_finished()
            assert not sum(live.statistics().dropped_samples.values())
    return {"over": [(due_s, written_s[number], number) for due_s, number in over], "group_delay_s": group_delay_s}


def measure_real(report: Report, folder: Path, turns: int) -> None:
    """One case after the other; together they would disturb each other."""
    words = [piece for _ in range(turns) for piece in word_and_pause()]
    with wave.open(str(folder / "words.wav"), "wb") as file:
        file.setparams((1, 2, DEVICE_RATE_HZ, 0, "NONE", ""))
        file.writeframes(np.concatenate(words).astype("<i2").tobytes())
    pcm = Pcm(rates=(DEVICE_RATE_HZ,), channels=(1, 1), source=str(folder / "words.wav"), exclusive=False)
    runs = [
        ("alsa", TurnMode.PTT, True),
        ("portaudio", TurnMode.PTT, True),
        ("alsa", TurnMode.VAD, True),
        ("alsa", TurnMode.PTT, False),
    ]
    with virtual_microphones(pcm) as microphones, platform(folder) as api_url:
        for number, (backend, mode, early) in enumerate(runs):
            name = f"{mode} on the real path, {backend}, {NAMES[early]}"
            progress(0.3 + 0.7 * number / len(runs), name)
            count = turns if early else min(turns, FULL_FRAME_TURNS)
            written_ms, arrived_ms, delay_s = real_run(
                folder / f"run{number}", api_url, microphones.environment, backend, mode, early, count
            )
            goals = {100.0: goal_ms(mode)} if early else {}
            what = f"after the {WAITS[mode]}"
            report.percentiles(f"{name}: last message on the wire {what}", written_ms, "ms", goals, plot="on the wire")
            report.percentiles(f"{name}: last message at the server {what}", arrived_ms, "ms", plot="at the server")
            report.note(
                f"{name}: {len(written_ms)} turns; the filter's delay of {delay_s * 1e3:.1f} ms is in the figures"
            )


def word_and_pause() -> Iterator[np.ndarray]:
    """Noise as loud as speech, then a silence that is long enough to end a turn; at the microphone's rate."""
    rng = np.random.default_rng()
    yield rng.integers(-8_000, 8_000, round(WORD_S * DEVICE_RATE_HZ))
    yield np.zeros(round(rng.uniform(LEAST_PAUSE_S, LEAST_PAUSE_S + MORE_PAUSE_S) * DEVICE_RATE_HZ), int)


def real_run(
    file: Path, api_url: str, environment: dict[str, str], backend: str, mode: TurnMode, early: bool, turns: int
) -> tuple[list[float], list[float], float]:
    """How long after each turn should be over its last message was written, and read; and the filter's delay."""
    with running_arrivals(file, secure=True) as server:
        request = {
            "api_url": api_url,
            "ws_url": server.url,
            "ca_file": server.ca_file,
            "device": "alsa:usbmic" if backend == "alsa" else "usbmic",
            "mode": mode,
            "early": early,
            "turns": turns,
        }
        child = subprocess.run(
            this_module("turn", "--inside", json.dumps(request)),
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=60 + 4 * turns,
        )
        answer = json.loads(child.stdout)
        arrived_s = server.read_s()
    written_ms = [(written_s - due_s) * 1e3 for due_s, written_s, _ in answer["over"]]
    arrived_ms = [(arrived_s[number] - due_s) * 1e3 for due_s, _, number in answer["over"]]
    return written_ms, arrived_ms, answer["group_delay_s"]


@contextmanager
def platform(folder: Path) -> Iterator[str]:
    """The emulator's HTTP half, in a process of its own; the sound goes to servers that only note the time."""
    command = [sys.executable, "-m", "ravatar_audio", "emulator", "--port", "0", "--wav-dir", str(folder / "heard")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process.stderr.readline().split()[2]
        finally:
            process.terminate()


# The design alone.


def measure_design(report: Report, step: int) -> None:
    presses = range(2 * FRAME_SAMPLES, 3 * FRAME_SAMPLES, step)
    for mode, wait_s in WAITS_S.items():
        for early in (True, False):
            progress(0.0, f"{mode} by design")
            measured = [ends(mode, press, early=early) for press in presses]
            over = [(end_s - wait_s) * 1_000 for _, end_s in measured]
            first = [first_s * 1_000 for first_s, _ in measured]
            name = f"{mode}, {NAMES[early]}"
            goal = goal_ms(mode) if early else None
            report.at_most(f"{name}: end known after the {WAITS[mode]}, median", median(over), "ms")
            report.at_most(f"{name}: end known after the {WAITS[mode]}, 99 %", percentile(over, 99), "ms")
            report.at_most(f"{name}: end known after the {WAITS[mode]}, most", max(over), "ms", goal)
            what = "press" if mode is TurnMode.PTT else "first word"
            report.at_most(f"{name}: first frame after the {what}, most", max(first), "ms")
    report.at_most("a frame in step with the turn", cost_s(TurnMode.OPEN, in_step=True) * 1e6, "us", 1_000)
    report.at_most("a frame that has to be cut anew", cost_s(TurnMode.PTT, in_step=False) * 1e6, "us", 1_000)


def goal_ms(mode: TurnMode) -> float:
    """One block and 5 ms; speech ends with a step of 16 ms, and so does the decision that its hangover is over."""
    return BLOCK_S * 1_000 + 5 + (32 if mode is TurnMode.VAD else 0)


def main() -> None:
    if "--inside" in sys.argv:
        be_urgent()
        print(json.dumps(trio.run(take_turns, json.loads(sys.argv[2]))))
        return
    with running("turn", __doc__) as (report, options), tempfile.TemporaryDirectory() as scratch:
        measure_design(report, 997 if options.quick else 127)
        be_urgent()
        measure_real(report, Path(scratch), 6 if options.quick else 24)


if __name__ == "__main__":
    main()
