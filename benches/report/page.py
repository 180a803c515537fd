"""One page of all that benches found, with everything in it, to be mailed: python -m benches.report DIR."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from . import plots
from .questions import BY_NAME, SUITE
from .results import read_all

PAGE = "report.html"
UNFOLDED_ROWS = 12
"""A bench with more figures than this shows them when asked."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that is held against something."""

    bench: str
    row: dict[str, Any]

    @property
    def share(self) -> float:
        """How much of what is allowed was used, 1.0 being all of it; above that the goal is not reached."""
        value, goal = self.row["value"], self.row["goal"]
        used, allowed = (value, goal) if self.row["goal_is"] == "at_most" else (goal, value)
        if used < 0 or allowed < 0:  # decibels: the other way round
            used, allowed = allowed, used
        return abs(used / allowed) if allowed else (0.0 if used <= 0 else 2.0)


def write_page(place: Path) -> Path:
    """Write report.html beside the JSON files of a folder (or one file); raises ValueError where there are none."""
    target = (place if place.is_dir() else place.parent) / PAGE
    target.write_text(page(read_all(place)), encoding="utf-8")
    return target


def page(found: dict[str, dict[str, Any]]) -> str:
    """The page; it fetches nothing, so it works without a network."""
    benches = sorted(found.values(), key=lambda data: (_rank(data["bench"]), data["bench"]))
    goals = [Goal(data["bench"], row) for data in benches for row in data["rows"] if row["reached"] is not None]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "signed": signed, "unit": plots.unit_in_print}
    return environment.get_template("page.html").render(
        benches=benches,
        goals=goals,
        missed=[goal for goal in goals if not goal.row["reached"]],
        pictures={data["bench"]: [(title, _inline(svg)) for title, svg in plots.pictures(data)] for data in benches},
        machine=benches[0]["machine"],
        started=min(data["started"] for data in benches),
        took_s=sum(data["took_s"] for data in benches),
        is_quick=any(data["quick"] for data in benches),
        fold_above=UNFOLDED_ROWS,
    )


def number(value: float | None) -> str:
    """Three or four digits that count."""
    if value is None:
        return "-"
    if value and not 1e-3 <= abs(value) < 1e7:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def signed(row: dict[str, Any]) -> str:
    """A row's goal: ≤ 320 us."""
    if row["goal"] is None:
        return ""
    return f"{'≤' if row['goal_is'] == 'at_most' else '≥'} {number(row['goal'])}"


def _inline(svg: str) -> markupsafe.Markup:
    """An SVG in the page's colours, light or dark. It is of our own making: nothing in it needs escaping."""
    return markupsafe.Markup(svg.replace(plots.INK, "currentColor").replace(plots.OURS, "var(--bar)"))


def _rank(bench: str) -> int:
    order = (*SUITE, *BY_NAME)
    return order.index(bench) if bench in order else len(order)


def main() -> None:
    """Write the page of the folder that is named."""
    print(f"written: {write_page(Path(sys.argv[1]))}")
