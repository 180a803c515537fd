"""What all benches share: arguments, the machine's fingerprint, figures with goals, the table and the JSON."""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `goal` is what it is held against, None where there is none; `reached` follows from it."""

    figure: str
    value: float | None
    unit: str
    goal: float | None = None
    goal_is: Literal["at_least", "at_most"] = "at_most"

    @property
    def reached(self) -> bool | None:
        """Whether the value meets its goal; None where there is no goal or no value."""
        if self.goal is None or self.value is None:
            return None
        return self.value >= self.goal if self.goal_is == "at_least" else self.value <= self.goal


@dataclass(slots=True)
class Report:
    """Collects a bench's rows, prints them as a table and writes them as JSON."""

    bench: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def at_most(self, figure: str, value: float | None, unit: str, goal: float | None = None) -> None:
        """Add a figure that is good when it is small."""
        self.rows.append(Row(figure, value, unit, goal, "at_most"))

    def at_least(self, figure: str, value: float | None, unit: str, goal: float | None = None) -> None:
        """Add a figure that is good when it is large."""
        self.rows.append(Row(figure, value, unit, goal, "at_least"))

    def note(self, text: str) -> None:
        """Say something that the table cannot: a contender that is missing, a run that was disturbed."""
        self.notes.append(text)

    def as_dict(self) -> dict[str, object]:
        """The JSON schema of every bench."""
        rows = [
            {key: value for key, value in asdict(row).items() if key != "goal_is"} | {"reached": row.reached}
            for row in self.rows
        ]
        return {"bench": self.bench, "machine": fingerprint(), "rows": rows, "notes": self.notes}

    def finish(self, options: argparse.Namespace) -> None:
        """Print the table and write --json FILE if asked."""
        width = max((len(row.figure) for row in self.rows), default=0)
        for row in self.rows:
            value = "missing" if row.value is None else f"{row.value:,.4g}"
            sign = {"at_least": "≥", "at_most": "≤"}[row.goal_is]
            goal = "" if row.goal is None else f"  goal {sign} {row.goal:g}"
            verdict = {None: "", True: "  reached", False: "  NOT reached"}[row.reached]
            print(f"{row.figure:<{width}}  {value:>10} {row.unit}{goal}{verdict}")
        for note in self.notes:
            print(f"note: {note}")
        if options.json:
            Path(options.json).write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")


def fingerprint() -> dict[str, object]:
    """What the figures depend on: processor, kernel, versions, and the load at the moment."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = models[0] if models else cpu
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "governor": governor.read_text().strip() if governor.exists() else None,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": sys.version.split()[0],
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def arguments(
    bench: str, description: str | None, extend: Callable[[argparse.ArgumentParser], object] | None = None
) -> argparse.Namespace:
    """Parse the options that every bench has, and what `extend` adds."""
    parser = argparse.ArgumentParser(prog=f"python -m benches.{bench}", description=description)
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; figures are rougher")
    if extend:
        extend(parser)
    return parser.parse_args()


def percentile(values: Iterable[float], percent: float) -> float:
    """The value below which `percent` of the values lie: nearest rank, so it is one of them. NaN for none."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered) + 0.5) - 1))]


def median(values: Iterable[float]) -> float:
    """The median; raises statistics.StatisticsError for no values."""
    return statistics.median(values)
