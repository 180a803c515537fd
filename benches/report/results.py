"""What a bench found: figures with goals, distributions, series, stages, comparisons; and the JSON of all that."""

import argparse
import json
import math
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import jsonschema

from .distribution import PERCENTS, Distribution
from .machine import fingerprint, load

SCHEMA_FILE = Path(__file__).with_name("schema.json")
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `goal` is what it is held against, None where there is none; `reached` follows from it."""

    figure: str
    value: float | None
    unit: str
    goal: float | None = None
    goal_is: Literal["at_least", "at_most"] = "at_most"
    repeats: tuple[float, ...] = ()
    """The figure of each repeat, where it was measured several times: their spread is its noise."""

    @property
    def reached(self) -> bool | None:
        """Whether the value meets its goal; None where there is no goal or no value."""
        if self.goal is None or self.value is None:
            return None
        return self.value >= self.goal if self.goal_is == "at_least" else self.value <= self.goal


@dataclass(slots=True)
class Report:
    """Collects what a bench finds, prints its figures as a table and writes all as JSON and as plots."""

    bench: str
    question: str = ""
    is_quick: bool = False
    rows: list[Row] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)
    all_series: list[dict[str, Any]] = field(default_factory=list)
    all_stages: list[dict[str, Any]] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=fingerprint)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _began_s: float = field(default_factory=time.monotonic)

    def at_most(
        self, figure: str, value: float | None, unit: str, goal: float | None = None, repeats: Iterable[float] = ()
    ) -> None:
        """Add a figure that is good when it is small. `repeats`: it, once for each repeat of the measurement."""
        self.rows.append(Row(figure, value, unit, goal, "at_most", tuple(repeats)))

    def at_least(
        self, figure: str, value: float | None, unit: str, goal: float | None = None, repeats: Iterable[float] = ()
    ) -> None:
        """Add a figure that is good when it is large."""
        self.rows.append(Row(figure, value, unit, goal, "at_least", tuple(repeats)))

    def distribution(
        self, name: str, values: Iterable[float] | Mapping[float, int] | Any, unit: str, *, plot: str = ""
    ) -> Distribution:
        """Keep all measured values (>= 0): a sequence, {value: count}, or an HdrHistogram in ns or thousandths.

        Distributions with the same `plot` title share a picture of percentile curves; default: those of one unit.
        """
        made = Distribution.of(name, values, unit, plot)
        self.distributions.append(made)
        return made

    def percentiles(
        self,
        name: str,
        values: Iterable[float] | Mapping[float, int] | Any,
        unit: str,
        goals: Mapping[float, float] | None = None,
        *,
        plot: str = "",
    ) -> Distribution:
        """distribution(), and a figure for each percentile that the count supports and for the maximum (100).

        `goals` holds some of them to a limit: {50: 320, 99: 450}.
        """
        made = self.distribution(name, values, unit, plot=plot)
        for percent in (*PERCENTS, 100.0):
            if made.count and (percent == 100 or percent <= 90 or made.count * (100 - percent) > 99.99):
                label = "max" if percent == 100 else f"p{percent:g}"
                self.at_most(f"{name}, {label}", made.percentile(percent), unit, (goals or {}).get(percent))
        return made

    def series(
        self,
        title: str,
        x: Sequence[float],
        lines: Mapping[str, Sequence[float | None]],
        *,
        x_label: str,
        y_label: str,
        limit: float | None = None,
        log: bool = False,
    ) -> None:
        """Keep values over time, or over whatever `x` is; labels have the unit. `limit` is drawn as a dashed line."""
        self.all_series.append(
            {
                "title": title,
                "x_label": x_label,
                "y_label": y_label,
                "limit": limit,
                "log": log,
                "x": [float(value) for value in x],
                "lines": {name: [_number(value) for value in values] for name, values in lines.items()},
            }
        )

    def stages(self, title: str, cases: Mapping[str, Mapping[str, float]], unit: str) -> None:
        """Keep what a whole is made of: {case: {stage: value}}, a bar for each case, its stages in their order."""
        made = {case: {stage: float(value) for stage, value in stages.items()} for case, stages in cases.items()}
        self.all_stages.append({"title": title, "unit": unit, "cases": made})

    def comparison(
        self,
        title: str,
        values: Mapping[str, float | None],
        unit: str,
        *,
        ours: Iterable[str] = ("ours",),
        limit: float | None = None,
    ) -> None:
        """Keep contenders side by side: {contender: value}, None for one that is missing; ours are highlighted."""
        made = {name: _number(value) for name, value in values.items()}
        self.comparisons.append({"title": title, "unit": unit, "values": made, "ours": list(ours), "limit": limit})

    def note(self, text: str) -> None:
        """Say something that the table cannot: a run that was disturbed, how something was counted."""
        self.notes.append(text)

    def lacks(self, what: str, why: str) -> None:
        """Name a contender or a part that could not be measured here, and why."""
        self.missing.append({"what": what, "why": why})

    def as_dict(self) -> dict[str, Any]:
        """The JSON of every bench; schema.json defines it."""
        rows = [
            asdict(row) | {"value": _number(row.value), "repeats": list(row.repeats), "reached": row.reached}
            for row in self.rows
        ]
        return {
            "schema": SCHEMA_VERSION,
            "bench": self.bench,
            "question": self.question,
            "command": shlex.join(["python", "-m", f"benches.{self.bench}", *_shown(sys.argv[1:])]),
            "quick": self.is_quick,
            "started": self.started.isoformat(timespec="seconds"),
            "took_s": round(time.monotonic() - self._began_s, 2),
            "machine": self.machine | {"load_after": load()},
            "rows": rows,
            "distributions": [made.as_dict() for made in self.distributions],
            "series": self.all_series,
            "stages": self.all_stages,
            "comparisons": self.comparisons,
            "notes": self.notes,
            "missing": self.missing,
        }

    def finish(self, options: argparse.Namespace) -> None:
        """Print the table; write --json FILE and --plot DIR if asked."""
        self.question = self.question or question(options.description)
        self.is_quick = options.quick
        print(table(self.rows))
        for gap in self.missing:
            print(f"missing: {gap['what']}: {gap['why']}")
        for note in self.notes:
            print(f"note: {note}")
        data = check(self.as_dict())
        if options.json:
            write(data, Path(options.json))
        if options.plot:
            from .plots import draw_all  # matplotlib is slow to load, and not needed to measure

            for file in draw_all(data, Path(options.plot)):
                print(f"drawn: {file}")


def table(rows: Iterable[Row]) -> str:
    """The figures in columns, with their goals."""
    rows = list(rows)
    width = max((len(row.figure) for row in rows), default=0)
    lines = []
    for row in rows:
        value = "missing" if row.value is None else f"{row.value:,.4g}"
        sign = {"at_least": "≥", "at_most": "≤"}[row.goal_is]
        goal = "" if row.goal is None else f"  goal {sign} {row.goal:g}"
        verdict = {None: "", True: "  reached", False: "  NOT reached"}[row.reached]
        lines.append(f"{row.figure:<{width}}  {value:>10} {row.unit}{goal}{verdict}")
    return "\n".join(lines)


def question(description: str | None) -> str:
    """The first sentence, or question, of a docstring."""
    text = " ".join((description or "").split("\n\n")[0].split())
    ends = [at for mark in ("? ", ". ", "?", ".") if (at := text.find(mark)) >= 0]
    return text[: min(ends) + 1] if ends else text


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of a bench's file."""
    read: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return read


def check(data: Any) -> dict[str, Any]:
    """The data itself; raises ValueError, naming the place, where they are not what schema.json says."""
    try:
        jsonschema.validate(data, schema())
    except jsonschema.ValidationError as error:
        where = "/".join(map(str, error.absolute_path)) or "the top"
        raise ValueError(f"not a bench's JSON, at {where}: {error.message[:200]}") from None
    checked: dict[str, Any] = data
    return checked


def write(data: dict[str, Any], file: Path) -> None:
    """Check and write one bench's JSON."""
    text = json.dumps(check(data), indent=1, allow_nan=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="utf-8")


def read(file: Path) -> dict[str, Any]:
    """One bench's JSON; raises ValueError where the file is not one."""
    try:
        return check(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def read_all(place: Path) -> dict[str, dict[str, Any]]:
    """All benches' JSON of a folder, or the one of a file, by the bench's name; raises ValueError if there is none."""
    files = sorted(place.glob("*.json")) if place.is_dir() else [place]
    found = {data["bench"]: data for data in map(read, files)}
    if not found:
        raise ValueError(f"{place} has no bench's JSON; make some with: scripts/bench --json {place}")
    return found


def _number(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: they are values that there are not."""
    return None if value is None or not math.isfinite(value) else float(value)


def _shown(words: list[str]) -> list[str]:
    """A command's arguments without those that say where its results go."""
    shown, skip = [], False
    for word in words:
        if not skip and word.split("=")[0] not in ("--json", "--plot"):
            shown.append(word)
        skip = word in ("--json", "--plot")
    return shown
