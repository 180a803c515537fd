"""The rest of streams.py's question, by --sweep: where does p99 of lateness pass 5 ms, and what does a stream cost?

Each pipeline is run with more and more streams until they are too late, twice in a row; then ours in several processes
at once, one for each core, which share the machine with their servers.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from .harness import Report, progress

LIMIT_MS = 5.0
COUNTS = {
    "ours": (250, 500, 1_000, 1_500, 2_000, 2_500, 3_000, 3_500, 4_000),
    "sessions": (250, 500, 1_000, 1_500, 2_000, 2_500),
    "usual": (250, 500, 750, 1_000, 1_250, 1_500),
}
PER_PROCESS = (500, 750, 1_000, 1_500, 2_000)
QUICK_COUNTS = (50, 100)
GOAL_STREAMS = 2_000
WHAT = "streams with p99 <= 5 ms, none over 256 ms"

Run = Callable[[str, int, bool], Mapping[str, float]]
"""(pipeline, streams, on a core of its own) -> the figures of streams.py."""


def sweep(report: Report, run: Run, *, quick: bool) -> None:
    """Add most streams and costs to the report."""
    counts = {name: QUICK_COUNTS if quick else those for name, those in COUNTS.items()}
    curves: dict[str, dict[int, Mapping[str, float]]] = {}
    for number, (pipeline, those) in enumerate(counts.items()):
        curves[pipeline] = {}
        for streams in those:
            progress((number + streams / those[-1]) / (len(counts) + 1), f"{pipeline}, {streams}")
            figures = run(pipeline, streams, True)
            if not is_in_time(figures):  # once may be the machine's doing
                figures = min(figures, run(pipeline, streams, True), key=lambda those: those["p99_ms"])
            curves[pipeline][streams] = figures
            if not is_in_time(figures):
                break
        most = most_streams(curves[pipeline])
        goal = GOAL_STREAMS if pipeline == "ours" and not quick else None
        report.at_least(f"most streams on one core, {pipeline}", most, WHAT, goal)
    x = sorted({streams for curve in curves.values() for streams in curve})
    for title, key, label, limit in (
        ("CPU for a frame as streams grow", "cpu_us", "us of CPU", None),
        ("Lateness as streams grow, p99", "p99_ms", "ms", LIMIT_MS),
    ):
        lines = {name: [curve[at][key] if at in curve else None for at in x] for name, curve in curves.items()}
        report.series(title, x, lines, x_label="streams", y_label=label, limit=limit, log=key == "p99_ms")
    for pipeline, curve in curves.items():
        for streams, figures in curve.items():
            report.at_most(f"{pipeline}, {streams} streams, CPU", figures["cpu_us"], "us of CPU a frame")
            report.at_most(f"{pipeline}, {streams} streams, p99", figures["p99_ms"], "ms of lateness")
    several(report, run, QUICK_COUNTS if quick else PER_PROCESS)


def several(report: Report, run: Run, counts: tuple[int, ...]) -> None:
    """As many processes as there are cores, at the same time; their servers share the machine."""
    processes = os.cpu_count() or 1
    carried: dict[int, Mapping[str, float]] = {}
    for streams in counts:
        progress(0.75 + 0.25 * streams / counts[-1], f"{processes} processes, {streams} each")
        with ThreadPoolExecutor(processes) as pool:
            those = list(pool.map(lambda _, count=streams: run("ours", count, False), range(processes)))
        worst = carried[streams] = {key: max(figures[key] for figures in those) for key in those[0]}
        report.at_most(f"{processes} processes, {streams} streams each, p99", worst["p99_ms"], "ms of lateness")
        if not is_in_time(worst):
            break
    most = processes * most_streams(carried)
    report.at_least(f"most streams on {processes} cores, ours", most, f"{WHAT}; servers on the same cores")


def is_in_time(figures: Mapping[str, float]) -> bool:
    return figures["p99_ms"] <= LIMIT_MS and not figures["late_frames"]


def most_streams(curve: Mapping[int, Mapping[str, float]]) -> int:
    """The largest count up to which all were in time; 0 for none."""
    most = 0
    for streams in sorted(curve):
        if not is_in_time(curve[streams]):
            break
        most = streams
    return most
