"""What does a program pay that runs asyncio or threads instead of trio? A frame's way to it, and sound lost.

A microphone (a virtual one: 48 kHz, a real device stream) in a process for each contender, which take turns. What
counts is the time from when the audio thread has handed a frame over until the program has it: in trio, the package's
own loop; in asyncio, also on uvloop, and in a plain thread, which have the package's trio loop in a thread beside them;
and as a guest: trio inside the host's loop, which is the other way to do it.

Blocked, the program stands still for 200 ms, again and again. Its own look at a frame is as late as that. The sound
must not suffer.
"""

import importlib.util
import json
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

from .rig.harness import Report, interleave, percentile, progress, running, this_module
from .rig.virtual_microphone import Pcm, virtual_microphones

EXTRA_MS = {50: 1.0, 99: 3.0}
"""Goals: how much later than in trio a frame may be, by percentile."""
OURS = ("asyncio", "uvloop", "threads")
IDLE_S, IDLE_ROUNDS = 9.0, 4
BLOCKED_S = 8.0


def run(contender: str, seconds: float, is_blocked: bool, environment: dict[str, str]) -> dict[str, Any]:
    """One turn of one contender."""
    done = subprocess.run(
        this_module("embedding_child", contender, seconds, int(is_blocked)),
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{contender} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def add_rows(report: Report, load: str, answers: dict[str, list[dict[str, Any]]]) -> None:
    lags_ms = {name: [lag_s * 1e3 for answer in turns for lag_s in answer["lags_s"]] for name, turns in answers.items()}
    for name, turns in answers.items():
        report.percentiles(f"frame to program, {load}, {name}", lags_ms[name], "ms", plot=f"Frame to program, {load}")
        lost_samples = sum(answer["lost_samples"] for answer in turns)
        report.at_most(f"lost, {load}, {name}", lost_samples, "samples", 0 if name in OURS else None)
    if load != "idle":
        return
    for name in OURS:
        if name in lags_ms:
            for percent, goal_ms in EXTRA_MS.items():
                more_ms = percentile(lags_ms[name], percent) - percentile(lags_ms["trio"], percent)
                report.at_most(
                    f"frame to program, idle, {name}: later than in trio, p{percent}", more_ms, "ms", goal_ms
                )


def main() -> None:
    with running("embedding", __doc__) as (report, options):
        contenders = ["trio", *OURS, "guest"]
        if importlib.util.find_spec("uvloop") is None:
            contenders.remove("uvloop")
            report.lacks("uvloop", "it is not installed: pip install uvloop")
        seconds, rounds, blocked_s = (3.0, 1, 3.0) if options.quick else (IDLE_S, IDLE_ROUNDS, BLOCKED_S)
        with virtual_microphones(Pcm(exclusive=False)) as microphones:

            def turn(name: str, seconds: float, is_blocked: bool) -> Callable[[], dict[str, Any]]:
                return partial(run, name, seconds, is_blocked, microphones.environment)

            idle = interleave({name: turn(name, seconds, False) for name in contenders}, rounds, warm_up=0)
            add_rows(report, "idle", idle)
            blocked = interleave({name: turn(name, blocked_s, True) for name in contenders}, 1, warm_up=0)
            add_rows(report, "blocked", blocked)
        progress(1.0)


if __name__ == "__main__":
    main()
