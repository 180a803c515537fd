"""Draws what a bench's JSON holds: percentile curves, series, stages, comparisons; one SVG each."""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .distribution import Distribution

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f")
"""Okabe and Ito's, which people with any colour vision can tell apart (https://jfly.uni-koeln.de/color/)."""
OURS, OTHERS, LIMIT = "#0072b2", "#a9b4bf", "#c0392b"
INK = "#808488"
"""Of axes and words: readable on white and on black, as a page may be either."""
WIDTH_IN, WIDE_IN = 7.4, 9.0
BESIDE: Any = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.02)}
"""Where a legend hides no line."""
STYLE: Any = {
    "font.size": 9,
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "svg.hashsalt": "ravatar-audio",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "axes.prop_cycle": cycler(color=COLOURS),
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def draw_all(data: dict[str, Any], folder: Path) -> list[Path]:
    """Write each picture as BENCH-TITLE.svg into the folder, and give the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for title, svg in pictures(data):
        files.append(folder / file_name(data["bench"], title))
        files[-1].write_text(svg, encoding="utf-8")
    return files


def file_name(bench: str, title: str) -> str:
    """What a picture's file is called: latency-ready-to-written-idle.svg."""
    return f"{bench}-{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}.svg"


def pictures(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Title and SVG of each picture of one bench, in a fixed order."""
    for stages in data["stages"]:
        yield stages["title"], _svg(partial(draw_stages, stages=stages), 0.9 + 0.42 * len(stages["cases"]), WIDE_IN)
    groups: dict[tuple[str, str], list[Distribution]] = {}
    for made in map(Distribution.from_dict, data["distributions"]):
        if made.count:
            groups.setdefault((made.plot, made.unit), []).append(made)
    for (title, unit), group in groups.items():
        yield title or f"Percentiles, {unit}", _svg(partial(draw_percentiles, group=group), 3.2)
    for series in data["series"]:
        yield series["title"], _svg(partial(draw_series, series=series), 2.9)
    for comparison in data["comparisons"]:
        height = 0.8 + 0.26 * len(comparison["values"])
        yield comparison["title"], _svg(partial(draw_comparison, comparison=comparison), height, WIDE_IN)


def draw_percentiles(axes: Axes, group: Sequence[Distribution]) -> None:
    """Value over percentile, the percentiles spread by their nines, as tails are what counts."""
    most_nines = 1.0
    for made, label in zip(group, _without_common_start([made.name for made in group]), strict=True):
        curve = made.curve()
        xs = [-math.log10(1 - percent / 100) for percent, _ in curve]
        most_nines = max(most_nines, xs[-1])
        (line,) = axes.plot(xs, [value for _, value in curve], label=label)
        axes.plot([xs[-1]], [made.max], marker="o", markersize=3.5, color=line.get_color())
    ticks = {0.0: "0", -math.log10(0.5): "50", 1.0: "90", 2.0: "99", 3.0: "99.9", 4.0: "99.99", 5.0: "99.999"}
    shown = {at: text for at, text in ticks.items() if at <= most_nines + 0.01}
    axes.set_xticks(list(shown), list(shown.values()))
    axes.set_xlabel("percentile; the dot is the maximum")
    axes.set_ylabel(unit_in_print(group[0].unit))
    _scale(axes, [value for made in group for value in (made.percentile(50), made.max)])
    axes.legend(**BESIDE)


def draw_series(axes: Axes, series: dict[str, Any]) -> None:
    """Lines over time, or whatever x is."""
    for name, values in series["lines"].items():
        marker = "o" if len(values) < 30 else None
        points = [math.nan if value is None else value for value in values]
        axes.plot(series["x"][: len(points)], points, label=name, marker=marker, markersize=3.5)
    _limit(axes.axhline, series["limit"])
    axes.set_xlabel(series["x_label"])
    axes.set_ylabel(series["y_label"])
    if series["log"]:
        axes.set_yscale("log")
    if len(series["lines"]) > 1:
        axes.legend(**BESIDE)


def draw_stages(axes: Axes, stages: dict[str, Any]) -> None:
    """A stacked bar for each case."""
    names = list(dict.fromkeys(stage for case in stages["cases"].values() for stage in case))
    cases = list(stages["cases"])
    left = [0.0] * len(cases)
    for name in names:
        widths = [stages["cases"][case].get(name, 0.0) for case in cases]
        label = f"{name.replace('_', ' ')}: {' · '.join(map(_short, widths))}"
        axes.barh(cases, widths, left=left, height=0.6, label=label)
        left = [begin + width for begin, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(unit_in_print(stages["unit"]))
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.42 / max(1, len(cases)) - 0.25), ncols=2)


def draw_comparison(axes: Axes, comparison: dict[str, Any]) -> None:
    """A bar for each contender, ours in colour."""
    names = list(comparison["values"])
    values = [comparison["values"][name] for name in names]
    colours = [OURS if name in comparison["ours"] else OTHERS for name in names]
    bars = axes.barh(names, [value or 0.0 for value in values], color=colours, height=0.66)
    axes.bar_label(
        bars, [" missing" if value is None else f" {_short(value)}" for value in values], color=INK, fontsize=8
    )
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(unit_in_print(comparison["unit"]))
    _limit(axes.axvline, comparison["limit"])
    axes.margins(x=0.12)


def _without_common_start(names: Sequence[str]) -> list[str]:
    """Names without the words, up to a comma, that all of them begin with."""
    parts = [name.split(", ") for name in names]
    if len(names) < 2:
        return list(names)
    common = next(
        (at for at, words in enumerate(zip(*parts, strict=False)) if len(set(words)) > 1), min(map(len, parts))
    )
    return [", ".join(words[min(common, len(words) - 1) :]) for words in parts]


def unit_in_print(unit: str) -> str:
    """A unit as it is printed: µs for us."""
    return re.sub(r"\bus\b", "µs", unit)


def _svg(draw: Callable[[Axes], None], height_in: float, width_in: float = WIDTH_IN) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width_in, height_in))
        draw(figure.subplots())
        target = io.StringIO()
        figure.savefig(target, format="svg", bbox_inches="tight", pad_inches=0.05, metadata={"Date": None})
    svg = target.getvalue()
    return re.sub(r"<metadata>.*?</metadata>\n?", "", svg[svg.index("<svg") :], flags=re.DOTALL)


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis where one decade and a half lie between the values."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 30 * min(positive):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)


def _limit(line: Callable[..., object], limit: float | None) -> None:
    if limit is not None:
        line(limit, color=LIMIT, linestyle="--", linewidth=1.1, label=f"goal {limit:g}")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
