"""Runs benches one after the other, each in a process of its own, and sums them up.

    python -m benches.suite [NAME…] [--quick] [--json DIR] [--plot DIR]

`ravatar-audio bench` is the same for an installed package, and scripts/bench in a checkout.
"""

import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from .report.questions import BY_NAME, SUITE
from .report.results import Row, question, read
from .rig import harness

HERE = Path(__file__).parent


def available() -> list[str]:
    """The benches that there are."""
    return [name for name in (*SUITE, *BY_NAME) if (HERE / f"{name}.py").exists()]


def listing() -> str:
    """Each bench with what it asks."""
    lines = []
    for name in available():
        docstring = ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8")))
        mark = "  [only by name]" if name in BY_NAME else ""
        lines.append(f"{name:<18} {question(docstring)}{mark}")
    return "\n".join(lines)


@click.command(name="bench")
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--quick", is_flag=True, help="Seconds instead of minutes; rougher figures.")
@click.option("--json", "json_dir", type=click.Path(path_type=Path), help="Keep each bench's JSON in this folder.")
@click.option("--plot", "plot_dir", type=click.Path(path_type=Path), help="Draw SVG files into this folder.")
def command(names: Sequence[str], quick: bool, json_dir: Path | None, plot_dir: Path | None) -> None:
    """Measure, and hold the figures against their goals."""
    run(names, quick=quick, json_dir=json_dir, plot_dir=plot_dir)


def run(names: Sequence[str], *, quick: bool, json_dir: Path | None, plot_dir: Path | None) -> None:
    """Run the benches (default: SUITE), show their progress, end with a table. Exits with 1 when one broke down."""
    known = available()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.UsageError(f"there is no bench {', '.join(unknown)}; there are: {', '.join(known)}")
    broken = {}
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = json_dir or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names or SUITE:
            words = [*(["--quick"] if quick else []), *(["--plot", str(plot_dir)] if plot_dir else [])]
            file = folder / f"{name}.json"
            file.unlink(missing_ok=True)
            error = run_one(name, [*words, "--json", str(file)], is_alone=len(names) == 1)
            if error is None:
                found.append(read(file))
            else:
                broken[name] = error
    if len(names) != 1:
        click.echo(summary(found))
    for name, error in broken.items():
        click.echo(f"{name} broke down: {error}", err=True)
    if broken:
        sys.exit(1)


def run_one(name: str, words: Sequence[str], *, is_alone: bool) -> str | None:
    """Run a bench with a progress bar; what went wrong where no JSON came of it. Alone, it shows its own table."""
    reader, writer = os.pipe()
    file = Path(words[-1])
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            harness.this_module("rig.one", name, *words),
            stdout=None if is_alone else output,
            stderr=output,
            env=os.environ | {harness.PROGRESS_FD: str(writer)},
            pass_fds=(writer,),
        )
        os.close(writer)
        try:
            _show_progress(name, reader)
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if file.exists():
            return None
        output.seek(0)
        lines = output.read().strip().splitlines()
    return f"exit code {process.returncode}, {lines[-1] if lines else 'without a word'}"


def _show_progress(name: str, reader: int) -> None:
    with (
        os.fdopen(reader, encoding="utf-8", errors="replace") as lines,
        click.progressbar(
            length=1000, label=f"{name:<18}", item_show_func=lambda what: what, file=sys.stderr, show_eta=True
        ) as bar,
    ):
        for line in lines:
            share, _, what = line.rstrip("\n").partition(" ")
            bar.update(max(0, round(1000 * float(share)) - bar.pos), what[:30])
        bar.update(1000 - bar.pos, "")


def summary(found: Sequence[dict[str, Any]]) -> str:
    """One line for each bench: goals reached, and the goals that were not."""
    lines = [f"{'bench':<18} {'goals':>7}  {'took':>6}  "]
    for data in found:
        rows = [Row(**{key: row[key] for key in Row.__slots__}) for row in data["rows"]]
        goals = [row for row in rows if row.reached is not None]
        reached = sum(bool(row.reached) for row in goals)
        remarks = [*_not_reached(goals), *(f"missing: {gap['what']}" for gap in data["missing"])]
        score = f"{reached}/{len(goals)}" if goals else "-"
        first, *rest = remarks or [""]
        lines.append(f"{data['bench']:<18} {score:>7}  {data['took_s']:>4.0f} s  {first}".rstrip())
        lines += [f"{'':<35} {remark}" for remark in rest[:3]]
        if len(rest) > 3:
            lines.append(f"{'':<35} and {len(rest) - 3} more")
    return "\n".join(lines)


def _not_reached(goals: Sequence[Row]) -> Iterator[str]:
    for row in goals:
        if row.reached is False:
            sign = {"at_least": "≥", "at_most": "≤"}[row.goal_is]
            yield f"NOT reached: {row.figure}: {row.value:.4g} {row.unit} (goal {sign} {row.goal:g})"


if __name__ == "__main__":
    command(prog_name="python -m benches.suite")
