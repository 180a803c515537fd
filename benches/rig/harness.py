"""What all benches share: arguments, taking turns, progress, and the report's table, JSON and plots.

with running("ring", __doc__) as (report, options):
    took_s = interleave({"ours": ours, "theirs": theirs}, rounds=5 if options.quick else 30)
    report.percentiles("ours, one hand-off", [value * 1e6 for value in took_s["ours"]], "us", {99: 5.0})
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from ..report.distribution import Distribution, new_histogram
from ..report.machine import Missing, fingerprint
from ..report.results import Report, Row, question

__all__ = [
    "Distribution",
    "Missing",
    "Report",
    "Row",
    "arguments",
    "fingerprint",
    "interleave",
    "median",
    "needs_program",
    "new_histogram",
    "percentile",
    "progress",
    "running",
    "this_module",
]

Result = TypeVar("Result")
BENCHES = (__package__ or "").removesuffix(".rig")
"""The package of the benches: "benches" in a checkout, "ravatar_audio.benches" where they are installed."""
PROGRESS_FD = "RAVATAR_BENCH_PROGRESS_FD"
"""Names the file descriptor on which whoever started the bench reads how far it is: lines of `share text`."""


@contextmanager
def running(
    bench: str, description: str | None, extend: Callable[[argparse.ArgumentParser], object] | None = None
) -> Iterator[tuple[Report, argparse.Namespace]]:
    """A bench from its arguments to its report. Missing, raised within, is reported and is no failure.

    `description` is the module's docstring; its first sentence is the question that reports show.
    """
    options = arguments(bench, description, extend)
    report = Report(bench, question(description), options.quick)
    try:
        yield report, options
    except Missing as missing:
        report.lacks(bench, str(missing))
    progress(1.0)
    report.finish(options)


def arguments(
    bench: str, description: str | None, extend: Callable[[argparse.ArgumentParser], object] | None = None
) -> argparse.Namespace:
    """Parse the options that every bench has, and what `extend` adds."""
    parser = argparse.ArgumentParser(prog=f"python -m benches.{bench}", description=description)
    parser.add_argument("--json", metavar="FILE", help="write all that was found as JSON")
    parser.add_argument("--plot", metavar="DIR", help="draw it, as SVG files in this folder")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; figures are rougher")
    if extend:
        extend(parser)
    options = parser.parse_args()
    options.description = description
    return options


def interleave(
    contenders: Mapping[str, Callable[[], Result]], rounds: int, *, warm_up: int = 1, show_progress: bool = True
) -> dict[str, list[Result]]:
    """Let each contender run once in each round, and keep what it gives; the first `warm_up` rounds do not count.

    The one that begins changes from round to round, so that none always follows the same one (and finds its caches).
    """
    names = list(contenders)
    kept: dict[str, list[Result]] = {name: [] for name in names}
    for number in range(warm_up + rounds):
        first = number % len(names)
        for turn, name in enumerate(names[first:] + names[:first]):
            if show_progress:
                progress((number + turn / len(names)) / (warm_up + rounds), name)
            result = contenders[name]()
            if number >= warm_up:
                kept[name].append(result)
    return kept


def progress(share: float, what: str = "") -> None:
    """Tell whoever shows it how far this bench is, from 0 to 1, and what it is at."""
    target = os.environ.get(PROGRESS_FD)
    if target is not None:
        os.write(int(target), f"{min(1.0, max(0.0, share)):.4f} {what}\n".encode())
    elif sys.stderr.isatty():
        print(f"\r\033[K{100 * share:3.0f} % {what}" if share < 1 else "\r\033[K", end="", file=sys.stderr, flush=True)


def this_module(name: str, *words: object) -> list[str]:
    """The command that runs a bench's module in a process of its own: this_module("ring", "--run", 3)."""
    return [sys.executable, "-m", f"{BENCHES}.{name}", *map(str, words)]


def needs_program(program: str, package: str) -> None:
    """Raise Missing where a program of the system is not there; `package` is Debian's name for what has it."""
    try:
        subprocess.run([program, "--version"], capture_output=True, check=False)
    except OSError:
        raise Missing(f"{program} is not installed: sudo apt-get install {package}") from None


def percentile(values: Iterable[float], percent: float) -> float:
    """The value below which `percent` of the values lie: nearest rank, so it is one of them. NaN for none."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered) + 0.5) - 1))]


def median(values: Iterable[float]) -> float:
    """The median; raises statistics.StatisticsError for no values."""
    return statistics.median(values)
