"""What became slower between two runs, beyond noise: python -m benches.compare BASE HEAD [--floor PERCENT]

BASE and HEAD are JSON files of one bench, or folders of several. A figure counts as worse when it moved the wrong way
by more than the floor, and by more than its noise in both runs: for figures with repeats, three standard errors of
their medians' difference; for percentiles, when their 95 % intervals do not overlap. A figure of which the noise is not
known is shown when it moved, and never counts. Exit code 1 when something became worse.

Wall-clock figures belong to a machine: compare runs of the same one, in the same state.
"""

import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from .report.distribution import PERCENTS, Distribution
from .report.results import read_all

FLOOR_PERCENT = 10.0
"""What two runs of the same code differ by on a machine that does nothing else."""
STANDARD_ERRORS = 3.0
MAD_TO_SIGMA = 1.4826
"""Of a normal distribution: 1 / Φ⁻¹(3/4)."""
MEDIAN_ERROR = math.sqrt(math.pi / 2)
"""The median's standard error over the mean's, for normal noise and many repeats."""

Verdict = Literal["worse", "better", "moved", "same"]


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in both runs; `noise` is what it may differ by without meaning anything, None where not known."""

    bench: str
    figure: str
    unit: str
    base: float
    head: float
    noise: float | None
    good_is: Literal["at_least", "at_most"]
    floor_percent: float = FLOOR_PERCENT

    @property
    def percent(self) -> float:
        """How much it moved, of the base."""
        if self.base == self.head:
            return 0.0
        return 100 * (self.head - self.base) / abs(self.base) if self.base else math.copysign(math.inf, self.head)

    @property
    def verdict(self) -> Verdict:
        """Whether the move means something."""
        if abs(self.percent) <= self.floor_percent:
            return "same"
        if self.noise is None:
            return "moved"
        if abs(self.head - self.base) <= self.noise:
            return "same"
        return "worse" if (self.head > self.base) == (self.good_is == "at_most") else "better"


def changes(
    base: Mapping[str, Mapping[str, Any]], head: Mapping[str, Mapping[str, Any]], floor_percent: float = FLOOR_PERCENT
) -> Iterator[Change]:
    """Each figure and percentile that both runs have, by bench."""
    for bench in sorted(base.keys() & head.keys()):
        old, new = base[bench], head[bench]
        before = {row["figure"]: row for row in old["rows"]}
        curves = _paired(old["distributions"], new["distributions"])
        curve_rows = {f"{name}, {label}" for name in curves for label in ("max", *(f"p{p:g}" for p in PERCENTS))}
        for row in new["rows"]:
            was = before.get(row["figure"])
            if was is None or row["figure"] in curve_rows or None in (was["value"], row["value"]):
                continue
            noise = repeats_noise(was["repeats"], row["repeats"])
            yield Change(
                bench, row["figure"], row["unit"], was["value"], row["value"], noise, row["goal_is"], floor_percent
            )
        for name, (was_curve, curve) in curves.items():
            for percent in (50.0, 99.0):
                if min(was_curve.count, curve.count) * (100 - percent) >= 1000:  # ten values beyond it
                    noise = intervals_noise(was_curve.interval(percent), curve.interval(percent))
                    values = was_curve.percentile(percent), curve.percentile(percent)
                    yield Change(bench, f"{name}, p{percent:g}", curve.unit, *values, noise, "at_most", floor_percent)


def repeats_noise(base: Sequence[float], head: Sequence[float]) -> float | None:
    """Three standard errors of the medians' difference, from the median absolute deviations; None for few repeats."""
    if min(len(base), len(head)) < 3:
        return None
    return STANDARD_ERRORS * math.hypot(_median_error(base), _median_error(head))


def intervals_noise(base: tuple[float, float], head: tuple[float, float]) -> float:
    """What two percentiles may differ by: infinite while their intervals overlap, nothing otherwise."""
    return math.inf if base[0] <= head[1] and head[0] <= base[1] else 0.0


def _median_error(values: Sequence[float]) -> float:
    middle = statistics.median(values)
    deviation = statistics.median(abs(value - middle) for value in values)
    return MEDIAN_ERROR * MAD_TO_SIGMA * deviation / math.sqrt(len(values))


def _paired(
    base: Sequence[Mapping[str, object]], head: Sequence[Mapping[str, object]]
) -> dict[str, tuple[Distribution, Distribution]]:
    before = {made["name"]: made for made in base}
    pairs = {str(made["name"]): (before[made["name"]], made) for made in head if made["name"] in before}
    return {name: (Distribution.from_dict(was), Distribution.from_dict(now)) for name, (was, now) in pairs.items()}


def compare(base: Path, head: Path, floor_percent: float = FLOOR_PERCENT) -> None:
    """Print what moved; exit with 1 where something became worse beyond noise. Raises click.UsageError for no JSON."""
    try:
        runs = read_all(base), read_all(head)
    except (OSError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    if not runs[0].keys() & runs[1].keys():
        raise click.UsageError("the two have no bench in common")
    for bench in sorted(runs[0].keys() & runs[1].keys()):
        for warning in _unlike(runs[0][bench], runs[1][bench]):
            click.echo(f"{bench}: {warning}", err=True)
    found = list(changes(*runs, floor_percent))
    for verdict, heading in (("worse", "Worse"), ("better", "Better"), ("moved", "Moved, noise not known")):
        some = [change for change in found if change.verdict == verdict]
        if some:
            click.echo(f"{heading}:")
        for change in sorted(some, key=lambda change: -abs(change.percent)):
            move = f"{change.base:,.4g} → {change.head:,.4g} {change.unit}"
            click.echo(f"  {change.percent:+7.1f} %  {change.bench}: {change.figure}: {move}")
    worse = sum(change.verdict == "worse" for change in found)
    click.echo(f"{len(found)} figures compared, {worse} worse beyond noise and {floor_percent:g} %")
    sys.exit(1 if worse else 0)


def _unlike(base: Mapping[str, Any], head: Mapping[str, Any]) -> Iterator[str]:
    """Why the two cannot well be compared."""
    for name in ("cpu", "cores", "governor", "python"):
        if base["machine"].get(name) != head["machine"].get(name):
            yield f"{name} differs: {base['machine'].get(name)}, {head['machine'].get(name)}"
    if base["quick"] != head["quick"]:
        yield "only one of them is a quick run"


@click.command()
@click.argument("base", type=click.Path(exists=True, path_type=Path))
@click.argument("head", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--floor", "floor_percent", default=FLOOR_PERCENT, show_default=True, help="Smaller moves are no news, in %."
)
def command(base: Path, head: Path, floor_percent: float) -> None:
    """What became slower between two runs, beyond noise; exit code 1 if something did."""
    compare(base, head, floor_percent)


if __name__ == "__main__":
    command(prog_name="python -m benches.compare")
