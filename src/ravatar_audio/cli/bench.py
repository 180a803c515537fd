"""`ravatar-audio bench`: the latency benchmarks, on the machine that they are to tell about."""

import importlib
from pathlib import Path
from types import ModuleType

import click

from ravatar_audio.cli.output import echo

NEEDS_EXTRA = "The benches need packages that are not installed: pip install 'ravatar-audio[bench]'"


@click.command(
    name="bench",
    epilog="""\b
Also:
  ravatar-audio bench report DIR          one page, report.html, of the JSON in DIR
  ravatar-audio bench compare BASE HEAD   what became slower between two JSON files or folders""",
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="Seconds instead of minutes; rougher figures.")
@click.option("--json", "json_dir", type=click.Path(path_type=Path), help="Keep each bench's JSON in this folder.")
@click.option("--plot", "plot_dir", type=click.Path(path_type=Path), help="Draw SVG files into this folder.")
@click.option("--list", "is_list", is_flag=True, help="Name the benches and what each of them asks.")
def command(names: tuple[str, ...], quick: bool, json_dir: Path | None, plot_dir: Path | None, is_list: bool) -> None:
    """Measure this machine, and hold the figures against their goals.

    Without names the ten questions of --list run, in half an hour. What this machine lacks is named as missing.
    """
    match names:
        case ("report", place):
            echo(f"written: {_benches('report.page').write_page(Path(place))}")
        case ("compare", base, head):
            _benches("compare").compare(Path(base), Path(head))
        case ("report" | "compare" as word, *_):
            raise click.UsageError({"report": "report takes a folder", "compare": "compare takes two places"}[word])
        case _ if is_list:
            echo(_benches("suite").listing())
        case _:
            _benches("suite").run(names, quick=quick, json_dir=json_dir, plot_dir=plot_dir)


def _benches(module: str) -> ModuleType:
    """A module of the benches, which are no room of the package: they use all of it from outside."""
    try:
        return importlib.import_module(f"ravatar_audio.benches.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ravatar_audio"):
            raise
        raise click.ClickException(f"{NEEDS_EXTRA} ({error.name} is missing)") from None
