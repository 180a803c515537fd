"""Brings the figures of docs/ up to date from a run: python -m benches.readme RUN_DIR [SECOND_RUN_DIR]

The second run is another machine's, or another kernel's (RAVATAR_AUDIO_KERNEL): where it meets a goal that the first
does not, or the other way round, its table shows both. Without RUN_DIR from what is kept in docs/figures. That
folder keeps of a run what the tables show, as JSON, and the pictures that docs/*.md refer to, as SVG. A region between
two marks is written anew:

    <!-- figures: goals -->  …  <!-- /figures -->
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .report import plots
from .report.results import read_all, write

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("docs/explanation/figures.md", "docs/explanation/latency.md", "docs/explanation/resampler.md")
MARKS = re.compile(r"(?P<begin><!-- figures: (?P<region>\w+) -->\n).*?(?P<end><!-- /figures -->)", re.DOTALL)
PICTURE = re.compile(r"\((?:\.\./)?figures/([\w-]+)\.svg\)")

SECOND = "second"
"""The folder in docs/figures of another machine's run."""

Run = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table of figures: one bench's figures, shown with a slash between them."""

    what: str
    bench: str
    figures: tuple[str, ...]


X86_KERNELS = ("sse2", "avx2", "avx512")

LINES = (
    Line(
        "ready → the server has it, over the usual trio pipeline's, p50 / p99",
        "latency",
        tuple(f"ready to server, idle, wss, ours to usual, {p}" for p in ("p50", "p99")),
    ),
    Line(
        "the same with the usual pipeline's conversion, p50 / p99",
        "latency",
        tuple(f"ready to server, idle, wss, ours to usual with its conversion, {p}" for p in ("p50", "p99")),
    ),
    Line(
        "ready → the server has it, one wss stream, p50 / p99",
        "latency",
        tuple(f"ready to server, idle, wss, ours, {p}" for p in ("p50", "p99")),
    ),
    Line(
        "ready → written, over a C program that wakes, encodes and writes, p50",
        "latency",
        ("ready to written, idle, wss, ours over the floor, p50",),
    ),
    Line(
        "ready → written, one wss stream, p50 / p99",
        "latency",
        tuple(f"ready to written, idle, wss, ours, {p}" for p in ("p50", "p99")),
    ),
    Line("wake-up of a trio task by the audio thread, p50", "wakeup", ("eventfd, idle, p50",)),
    Line("wake-up, over that by trio's own thread entry, p50", "wakeup", ("eventfd to from_thread, idle, p50",)),
    Line(
        "age of the newest sample at send, idle, p99",
        "latency",
        ("age of the newest sample at send, idle, wss, ours, p99",),
    ),
    Line(
        "age of the newest sample at send, interpreter held 50 ms at a time, p99",
        "latency",
        ("age of the newest sample at send, held, wss, ours, p99",),
    ),
    Line(
        "samples lost while it is held: ours / the usual pipeline",
        "latency",
        ("lost, held, wss, ours", "lost, held, wss, usual"),
    ),
    Line("CPU per message, wss, over a C program that encodes and writes it", "message", ("wss_ours_to_floor",)),
    Line("CPU per message, wss: ours / that C program", "message", ("wss_ours", "wss_floor")),
    Line("CPU per message, wss, over the usual pipeline's", "message", ("wss_ours_to_usual",)),
    Line("2,000 wss streams on one core: lateness, p99 / max", "streams", ("ours_2000_p99", "ours_2000_max")),
    Line(
        "most wss streams on one core at p99 < 5 ms: our links / whole sessions",
        "streams",
        ("most streams on one core, ours", "most streams on one core, sessions"),
    ),
    Line(
        "the same of others: uvloop + picows / websockets / aiohttp / trio-websocket",
        "streams",
        tuple(f"most streams on one core, {name}" for name in ("picows", "websockets", "aiohttp", "usual")),
    ),
    Line("one live wss stream: CPU", "footprint", ("CPU, ours, wss",)),
    Line("one live wss stream: resident memory", "footprint", ("resident memory, ours, wss",)),
    Line("one live wss stream: threads", "footprint", ("threads, ours, wss",)),
    Line("start to first frame captured", "footprint", ("start to first frame captured, ours, wss",)),
    Line(
        "button released → last message on the wire, beyond the tail, worst: ALSA / PortAudio",
        "turn",
        (
            "ptt on the real path, alsa, flush_at: last message on the wire after the tail, max",
            "ptt on the real path, portaudio, flush_at: last message on the wire after the tail, max",
        ),
    ),
    Line(
        "connection reset → link up again, worst: ours / the usual asyncio pipeline",
        "reconnect",
        ("link back, reset, ours, worst", "link back, reset, usual, asyncio, worst"),
    ),
    Line(
        "samples lost by that, median: ours / the usual asyncio pipeline",
        "reconnect",
        ("lost, reset, ours, p50", "lost, reset, usual, asyncio, p50"),
    ),
    Line(
        "samples lost by a server's restart, 1 s long, median: ours / the usual asyncio pipeline",
        "reconnect",
        ("lost, server restart, ours, p50", "lost, server restart, usual, asyncio, p50"),
    ),
    Line(
        "age of the oldest sound that came after it: ours / the usual asyncio pipeline",
        "reconnect",
        ("latest, server restart, ours", "latest, server restart, usual, asyncio"),
    ),
    Line("one 10 ms block, 48 kHz stereo: share of its time", "callback", ("share of 10 ms, core, idle",)),
    Line(
        "the block in Python, over that: PyAudio / sounddevice",
        "callback",
        ("pyaudio to core, idle, p50", "sounddevice to core, idle, p50"),
    ),
    Line(
        "resampling speed over soxr HQ's, int16 48 kHz",
        "resample",
        ("int16 48 kHz, balanced: times the speed of soxr HQ",),
    ),
    *(
        Line(
            f"the same by kernel, {what}: sse2 / avx2 / avx512",
            "resample",
            tuple(f"int16 48 kHz, {profile}, {kernel}: times the speed of {soxr}" for kernel in X86_KERNELS),
        )
        for what, profile, soxr in (
            ("`balanced` over Debian's soxr", "balanced", "soxr HQ"),
            ("`balanced` over soxr built for this machine", "balanced", "soxr HQ built for this machine"),
            ("`high`, whose stop band is HQ's, over Debian's soxr", "high", "soxr HQ"),
        )
    ),
)


FLOORS = {
    "latency": (
        "ready to written, idle, wss, ours, p50",
        "ready to written, idle, wss, floor, p50",
        "stage, floor, wake_up, p50",
        "floor: wake-up of a trio task, p50",
        "stage, floor, encode, p50",
        "stage, floor, write, p50",
        "ready to written, idle, wss, large pages to small ones, p50",
    ),
    "message": ("wss_ours", "wss_floor", "wss_ours_to_floor", "wss_usual"),
    "resample": (
        "48 kHz int16, cold caches, balanced: mean call",
        "48 kHz int16, cold caches but warm code, balanced: mean call",
        "48 kHz int16, cold caches, soxr HQ: mean call",
        "48 kHz int16, cold caches: a call that only copies the block",
        "48 kHz int16, cold caches: mean over soxr HQ's, were our code free",
        "48 kHz int16, multiplied as int16: one call over balanced's",
        "48 kHz int16, multiplied as int16, cold caches: mean call over balanced's",
        "ring between two threads, per block: over the bare hand-off's time",
        "ring between two threads, per block: the most that any ring could be over PortAudio's",
        "ring between two threads, per block: the most that any ring could be over JACK's",
        "one call from Python, numpy array",
        "one call from Python, bytes",
        "one call from Python, of no sound: the interpreter's share",
        "one call from Python, python-soxr's stream",
        "int16 48 kHz, balanced: one call of 10 ms",
    ),
}
"""What docs/*.md show beneath the goals: what a part takes, and what stands in the way of more."""


def goals(run: Run, second: Run) -> Iterator[str]:
    """The table of figures, and what it was measured on; a line on which the second machine differs shows both."""
    yield "| figure | measured | goal | | command |\n| --- | --- | --- | --- | --- |\n"
    for line in LINES:
        rows, others = (_found(line, those) for those in (run, second))
        verdict, other = _verdict(line, rows), _reached(others)
        if None not in (other, _reached(rows)) and other is not _reached(rows):
            verdict += f"; {_values(others)} and {_verdict(line, others)} on {_processor(second[line.bench])}"
        measured = _values(rows) if rows else "-"
        cells = [line.what, measured, _goal(rows), verdict, f"`python -m benches.{line.bench}`"]
        yield f"| {' | '.join(cells)} |\n"
    yield from machines(run, "Measured on")
    yield from machines(second, "Compared with")


def machines(run: Run, what: str) -> Iterator[str]:
    """Each processor with what ran on it, and what else the machine did meanwhile."""
    benches: dict[str, list[str]] = {}
    for bench, data in run.items():
        benches.setdefault(_machine(data), []).append(bench)
    for machine, names in benches.items():
        loads = [load for name in names if (load := run[name]["machine"]["load"]) is not None]
        yield f"\n{what} {machine}"
        if loads:
            yield f", load {min(loads):.1f} to {max(loads):.1f}"
        if len(benches) > 1:
            yield f" ({', '.join(names)})"
        yield ", quick: rough figures.\n" if any(run[name]["quick"] for name in names) else ".\n"


def stages(run: Run, _: Run) -> Iterator[str]:
    """What each stage of a message's way takes."""
    for made in run.get("latency", {}).get("stages", []):
        cases = list(made["cases"])
        names = dict.fromkeys(stage for case in cases for stage in made["cases"][case])
        yield f"**{made['title']}** ({_unit(made['unit'])})\n\n"
        yield f"| stage | {' | '.join(cases)} |\n| --- |{' --- |' * len(cases)}\n"
        for name in names:
            values = (made["cases"][case].get(name) for case in cases)
            shown = " | ".join("" if value is None else _number(value) for value in values)
            yield f"| {name.replace('_', ' ')} | {shown} |\n"
        yield "\n"


def floors(run: Run, _: Run) -> Iterator[str]:
    """What the machine and trio take by themselves, beside ours."""
    yield "| figure | measured | command |\n| --- | --- | --- |\n"
    for bench in ("latency", "message"):
        rows = _rows(run, bench)
        for figure in FLOORS[bench]:
            if figure in rows and rows[figure]["value"] is not None:
                what = f"CPU per message, {figure}" if bench == "message" else figure
                yield f"| {what.replace('_', ' ')} | {_values([rows[figure]])} | `python -m benches.{bench}` |\n"


def resampler(run: Run, _: Run) -> Iterator[str]:
    """All goals of the resampler's bench, and the floors under those that are out of reach."""
    rows = _rows(run, "resample")
    yield "| figure | measured | goal | |\n| --- | --- | --- | --- |\n"
    for row in rows.values():
        if row["goal"] is not None and row["value"] is not None:
            verdict = "reached" if row["reached"] else "**not reached**"
            yield f"| {row['figure']} | {_values([row])} | {_goal([row])} | {verdict} |\n"
    yield "\n| what a part takes, and the floors | measured |\n| --- | --- |\n"
    for figure in FLOORS["resample"]:
        if figure in rows and rows[figure]["value"] is not None:
            yield f"| {figure} | {_values([rows[figure]])} |\n"


REGIONS: dict[str, Callable[[Run, Run], Iterator[str]]] = {
    "goals": goals,
    "stages": stages,
    "floors": floors,
    "resampler": resampler,
}


def rendered(text: str, run: Run, second: Run) -> str:
    """A document with its regions written anew; raises KeyError for a region that there is not."""

    def region(match: re.Match[str]) -> str:
        return match["begin"] + "".join(REGIONS[match["region"]](run, second)) + match["end"]

    return MARKS.sub(region, text)


def kept(root: Path) -> tuple[Run, Run]:
    """What docs/figures has of the run, and of the second one: nothing where there was none."""
    folder = root / "docs" / "figures"
    second = folder / SECOND
    return read_all(folder), read_all(second) if second.is_dir() else {}


def lacking(run: Run) -> list[str]:
    """What the table of figures should show and the run has not."""
    found = {bench: _rows(run, bench) for bench in {line.bench for line in LINES}}
    return [
        f"{line.bench}: {figure}"
        for line in LINES
        for figure in line.figures
        if found[line.bench].get(figure, {}).get("value") is None
    ]


def slim(data: dict[str, Any]) -> dict[str, Any]:
    """What documents show of one bench: its goals, the figures that are named, and stages."""
    named = {figure for line in LINES if line.bench == data["bench"] for figure in line.figures}
    named |= set(FLOORS.get(data["bench"], ()))
    rows = [row | {"repeats": []} for row in data["rows"] if row["goal"] is not None or row["figure"] in named]
    return data | {"rows": rows, "distributions": [], "series": [], "comparisons": []}


def keep_second(run: dict[str, dict[str, Any]], root: Path) -> None:
    """Put another machine's small JSON beside the first's."""
    for bench, data in run.items():
        write(slim(data), root / "docs" / "figures" / SECOND / f"{bench}.json")


def keep(run: dict[str, dict[str, Any]], root: Path) -> None:
    """Put the run's small JSON and the pictures that documents refer to into docs/figures."""
    folder = root / "docs" / "figures"
    wanted = {
        name for page in (root / "docs").rglob("*.md") for name in PICTURE.findall(page.read_text(encoding="utf-8"))
    }
    for bench, data in run.items():
        write(slim(data), folder / f"{bench}.json")
        for title, svg in plots.pictures(data):
            name = plots.file_name(bench, title)
            if name.removesuffix(".svg") in wanted:
                (folder / name).write_text(svg, encoding="utf-8")


def _rows(run: Run, bench: str) -> dict[str, dict[str, Any]]:
    return {row["figure"]: row for row in run.get(bench, {}).get("rows", [])}


def _found(line: Line, run: Run) -> list[dict[str, Any]]:
    """The line's figures that the run has."""
    found = _rows(run, line.bench)
    return [row for row in map(found.get, line.figures) if row is not None and row["value"] is not None]


def _verdict(line: Line, rows: list[dict[str, Any]]) -> str:
    reached = _reached(rows)
    if len(rows) < len(line.figures) and reached is not False:
        return "**not all measured**" if rows else "**not measured**"
    return {None: "", True: "reached", False: "**not reached**"}[reached]


def _processor(data: Mapping[str, Any]) -> str:
    """Its name, and the kernel of the core's inner loops, where the run says which."""
    kernel = data["machine"].get("kernel")
    return f"{data['machine']['cpu']} ({kernel})" if kernel else str(data["machine"]["cpu"])


def _machine(data: Mapping[str, Any]) -> str:
    machine = data["machine"]
    return f"{_processor(data)}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}"


def _reached(rows: list[dict[str, Any]]) -> bool | None:
    verdicts = [row["reached"] for row in rows if row["reached"] is not None]
    return all(verdicts) if verdicts else None


def _values(rows: list[dict[str, Any]]) -> str:
    return f"{' / '.join(_number(row['value']) for row in rows)} {_unit(rows[0]['unit'])}".strip()


def _goal(rows: list[dict[str, Any]]) -> str:
    held = [row for row in rows if row["goal"] is not None]
    if not held:
        return ""
    sign = "≤" if held[0]["goal_is"] == "at_most" else "≥"
    return f"{sign} {' / '.join(_number(row['goal']) for row in held)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _unit(unit: str) -> str:
    """As in print: µs for us, and nothing for a ratio; what comes after "of" is in the line's name."""
    unit = plots.unit_in_print(unit.split(" of lateness")[0].split(" with p99")[0].split(" of CPU")[0])
    return {"ratio": "", "x": "times"}.get(unit, unit)


def main() -> None:
    """Keep the runs that are named, and write all regions; exit code 1 where the run lacks a figure."""
    for place, keep_it in zip(sys.argv[1:3], (keep, keep_second), strict=False):
        keep_it(read_all(Path(place)), ROOT)
    run, second = kept(ROOT)
    for name in DOCUMENTS:
        document = ROOT / name
        document.write_text(rendered(document.read_text(encoding="utf-8"), run, second), encoding="utf-8")
    gaps = lacking(run)
    for gap in gaps:
        print(f"not in the run, so not in the table: {gap}", file=sys.stderr)
    sys.exit(bool(gaps))


if __name__ == "__main__":
    main()
