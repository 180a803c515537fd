"""What a run has shown, for people: lines of text, and one page of HTML with its curves."""

import html
import json
from collections.abc import Sequence
from typing import Any

from ravatar_audio.load.run import Progress

_HEADER = ("count", "p50", "p90", "p99", "max")


def progress_line(progress: Progress, clients: int) -> str:
    """Show one second while it runs."""
    lost = f"  {progress.lost_workers} workers lost" if progress.lost_workers else ""
    return (
        f"{progress.second:5d} s  {progress.clients_up:6d}/{clients} up  {progress.messages:7d} messages/s  "
        f"late p99 {1000 * progress.message_p99_s:8.1f} ms  own {1000 * progress.own_p99_s:7.1f} ms  "
        f"{progress.errors} errors{lost}"
    )


def text(result: dict[str, Any]) -> str:
    """Show the whole result, from its JSON."""
    lines = [f"{'phase, ms':<18}" + "".join(f"{name:>11}" for name in _HEADER)]
    for phase, figures in result["phases"].items():
        values = "".join(f"{figures[f'{name}_ms']:>11.1f}" for name in _HEADER[1:])
        lines.append(f"{phase:<18}{figures['count']:>11}{values}")
    counts = result["counts"]
    lines += ["", "  ".join(f"{name} {counts[name]}" for name in _SHOWN if name in counts)]
    lines += [f"  {name}: {count}" for name, count in counts.items() if _is_error(name)]
    for worker in result["workers"]:
        lines.append(_worker_line(worker))
    if (overload := result["generator"]["overload"]) is not None:
        lines.append(f"GENERATOR OVERLOADED: {overload}. Its times are not the platform's; use more workers.")
    for item in result["requirements"]:
        lines.append(f"{'met    ' if item['is_met'] else 'NOT MET'}  {item['requirement']}: {item['shown']}")
    if result["is_interrupted"]:
        lines.append("interrupted: the run was not finished")
    return "\n".join(lines)


_SHOWN = (
    "clients", "started", "ended", "failed", "messages", "replies", "unanswered", "reconnects", "dropped_samples",
    "unsent_samples", "sessions_unended", "lost_workers", "lost_clients",
)  # fmt: skip


def _is_error(name: str) -> bool:
    return name.startswith(("error:", "http ", "link lost:", "dropped:"))


def _worker_line(worker: dict[str, Any]) -> str:
    clock = worker["clocks"][-1] if worker["clocks"] else None
    where = worker["machine"].get("host", "?")
    words = [
        f"{worker['name']} on {where}: {worker['clients']} clients, {worker['cpu_s']:.1f} s of CPU, busiest second "
        f"{100 * worker['busiest_second_cores']:.0f} % of a core, {worker['memory_mb']:.0f} MB"
    ]
    if worker["steal_cores"] > 0.05:
        words.append(f"the hypervisor took up to {100 * worker['steal_cores']:.0f} % of a core")
    if clock:
        words.append(f"clock {clock['offset_ms']:+.1f} ± {clock['uncertainty_ms']:.1f} ms")
    if worker["lost"] is not None:
        words.append(
            f"LOST at {worker['lost_at_s']} s with {worker['lost_clients']} clients up: {worker['lost']}; "
            f"{worker['ended_in_its_place']} live sessions ended in its place, {worker['left_on_the_platform']} left"
        )
    return "; ".join(words)


def page(result: dict[str, Any]) -> str:
    """Make one file of HTML without anything from elsewhere."""
    seconds = result["seconds"]
    curves = [
        ("clients up", {"clients": [(item["second"], item["counts"].get("clients_up", 0)) for item in seconds]}),
        ("messages a second", {"messages": [(item["second"], item["counts"].get("messages", 0)) for item in seconds]}),
        ("errors a second", {"errors": [(item["second"], item["counts"].get("errors", 0)) for item in seconds]}),
        ("p99, ms: the platform's and the generator's own", _late(seconds)),
        ("first reply, ms", _of_phase(seconds, "first_reply", ("p50", "p99"))),
    ]
    drawn = "".join(f"<h2>{html.escape(title)}</h2>{_plot(lines)}" for title, lines in curves)
    run = {name: value for name, value in result["run"].items() if name != "workload"}
    return (
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Load run</title>"
        "<style>body{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
        "pre{overflow-x:auto;background:#f4f4f4;padding:1em}svg{width:100%;height:auto}</style>"
        f"<h1>Load run</h1><pre>{html.escape(json.dumps(run, indent=1))}</pre>"
        f"<pre>{html.escape(text(result))}</pre>{drawn}"
        f"<h2>Workload</h2><pre>{html.escape(json.dumps(result['run'].get('workload'), indent=1))}</pre></html>"
    )


_Points = list[tuple[int, float]]


def _of_phase(seconds: Sequence[dict[str, Any]], phase: str, percents: Sequence[str]) -> dict[str, _Points]:
    return {
        f"{phase} {percent}": [
            (item["second"], item["phases"][phase][f"{percent}_ms"]) for item in seconds if phase in item["phases"]
        ]
        for percent in percents
    }


def _late(seconds: Sequence[dict[str, Any]]) -> dict[str, _Points]:
    return _of_phase(seconds, "message_lateness", ("p99",)) | _of_phase(seconds, "own_lateness", ("p99",))


_WIDTH, _HEIGHT, _LEFT, _BELOW = 800, 180, 60, 24
_COLOURS = ("#1f5fa8", "#c0392b", "#2e7d32")


def _plot(lines: dict[str, _Points]) -> str:
    points = [point for line in lines.values() for point in line]
    if not points:
        return "<p>nothing was measured</p>"
    last, most = max(1, max(x for x, _ in points)), max(1e-9, max(y for _, y in points))
    parts = []
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(
            f"{_LEFT + x / last * (_WIDTH - _LEFT):.1f},{_HEIGHT - y / most * (_HEIGHT - 20):.1f}" for x, y in line
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{_LEFT + 8 + 190 * number}" y="14" fill="{colour}">{html.escape(name)}</text>')
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _BELOW}" font-family="sans-serif" font-size="12" role="img">'
        f'<path d="M{_LEFT} 20V{_HEIGHT}H{_WIDTH}" fill="none" stroke="#999"/>'
        f'<text x="{_LEFT - 6}" y="26" text-anchor="end">{most:.4g}</text>'
        f'<text x="{_LEFT - 6}" y="{_HEIGHT}" text-anchor="end">0</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 18}" text-anchor="end">{last} s</text>{"".join(parts)}</svg>'
    )
