"""The rest of streams.py's question: with how many streams does p99 of lateness pass 5 ms, and what does one cost?

For each contender a search: half as many again while they are in time, then halves of what is left, down to a tenth.
A count that was late is tried a second time, as once may be the machine's doing. With --sweep ours in several processes
at once, too, one for each core, which share the machine with their servers.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from .harness import Report, progress

LIMIT_MS = 5.0
STARTS = {"ours": 2_000, "sessions": 1_500, "usual": 500, "picows": 2_000, "websockets": 1_000, "aiohttp": 1_000}
"""Where the search of each begins."""
CEILING, QUICK_CEILING = 8_000, 60
TO_WITHIN = 0.1
PER_PROCESS = (500, 750, 1_000, 1_500, 2_000)
QUICK_COUNTS = (50, 100)
GOAL_STREAMS = 3_000
"""Of links and of whole sessions."""
WHAT = "streams with p99 < 5 ms, none over 256 ms"

Run = Callable[[str, int, bool], Mapping[str, float]]
"""(pipeline, streams, on a core of its own) -> the figures of streams.py."""


def search_all(report: Report, run: Run, *, quick: bool) -> None:
    """Add each contender's most streams, and what a frame cost it on the way, to the report."""
    ceiling = QUICK_CEILING if quick else CEILING
    curves: dict[str, dict[int, Mapping[str, float]]] = {}
    most: dict[str, float | None] = {}
    for number, (pipeline, start) in enumerate(STARTS.items()):
        progress(0.9 * number / len(STARTS), pipeline)
        curve = curves[pipeline] = search(partial(_alone, run, pipeline), start, ceiling)
        most[pipeline] = most_streams(curve)
        goal = GOAL_STREAMS if pipeline in ("ours", "sessions") and not quick else None
        report.at_least(f"most streams on one core, {pipeline}", most[pipeline], WHAT, goal)
        if most[pipeline] == ceiling:
            report.note(f"{pipeline}: {ceiling} streams were in time, and more were not tried")
    report.comparison("Most streams on one core with p99 < 5 ms", most, "streams", ours=("ours", "sessions"))
    add_curves(report, curves)


def _alone(run: Run, pipeline: str, streams: int) -> Mapping[str, float]:
    return run(pipeline, streams, True)


def search(run: Callable[[int], Mapping[str, float]], start: int, ceiling: int) -> dict[int, Mapping[str, float]]:
    """Figures of each count that was tried, between the most that is in time and the least that is not."""
    curve: dict[int, Mapping[str, float]] = {}
    low, high, streams = 0, ceiling + 1, min(start, ceiling)
    while streams > low:
        curve[streams] = figures = run(streams)
        if not is_in_time(figures):
            curve[streams] = figures = min(figures, run(streams), key=lambda those: those["p99_ms"])
        low, high = (streams, high) if is_in_time(figures) else (low, streams)
        if high - low <= max(1, TO_WITHIN * low):
            break
        streams = (low + high) // 2 if high <= ceiling else min(ceiling, low * 3 // 2)
    return curve


def add_curves(report: Report, curves: Mapping[str, Mapping[int, Mapping[str, float]]]) -> None:
    """What each count took."""
    x = sorted({streams for curve in curves.values() for streams in curve})
    for title, key, label, limit in (
        ("CPU for a frame as streams grow", "cpu_us", "us of CPU", None),
        ("Lateness as streams grow, p99", "p99_ms", "ms", LIMIT_MS),
    ):
        lines = {name: [curve[at][key] if at in curve else None for at in x] for name, curve in curves.items()}
        report.series(title, x, lines, x_label="streams", y_label=label, limit=limit, log=key == "p99_ms")
    for pipeline, curve in curves.items():
        most = most_streams(curve)
        if most:
            report.at_most(f"CPU of a frame at most streams, {pipeline}", curve[most]["cpu_us"], "us of CPU a frame")
        for streams, figures in sorted(curve.items()):
            report.at_most(f"{pipeline}, {streams} streams, p99", figures["p99_ms"], "ms of lateness")


def several(report: Report, run: Run, *, quick: bool) -> None:
    """As many processes as there are cores, at the same time; their servers share the machine."""
    processes = os.cpu_count() or 1
    counts = QUICK_COUNTS if quick else PER_PROCESS
    carried: dict[int, Mapping[str, float]] = {}
    for streams in counts:
        progress(0.9 + 0.1 * streams / counts[-1], f"{processes} processes, {streams} each")
        with ThreadPoolExecutor(processes) as pool:
            those = list(pool.map(lambda _, count=streams: run("ours", count, False), range(processes)))
        worst = carried[streams] = {key: max(figures[key] for figures in those) for key in those[0]}
        report.at_most(f"{processes} processes, {streams} streams each, p99", worst["p99_ms"], "ms of lateness")
        if not is_in_time(worst):
            break
    most = processes * most_streams(carried)
    report.at_least(f"most streams on {processes} cores, ours", most, f"{WHAT}; servers on the same cores")


def is_in_time(figures: Mapping[str, float]) -> bool:
    return figures["p99_ms"] < LIMIT_MS and not figures["late_frames"]


def most_streams(curve: Mapping[int, Mapping[str, float]]) -> int:
    """The largest count up to which all were in time; 0 for none."""
    most = 0
    for streams in sorted(curve):
        if not is_in_time(curve[streams]):
            break
        most = streams
    return most
