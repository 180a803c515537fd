"""`ravatar-audio explain`: a flight recording as a time line, and as a picture."""

from pathlib import Path

import click

from ravatar_audio.cli.output import echo
from ravatar_audio.observe.recorder.drawing import drawing
from ravatar_audio.observe.recorder.story import story
from ravatar_audio.observe.recorder.timeline import read_timeline
from ravatar_audio.printable import one_line


@click.command(name="explain")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--svg", type=click.Path(dir_okay=False), help="File for a picture of the longest session.")
def command(files: tuple[str, ...], svg: str | None) -> None:
    """Say what happened in flight recordings (`live --record DIR`): turns, answers, the connection, and what was lost
    or late, with the reason. Several files are those of one program; one that was cut short is read to where it ends.

    The picture shows levels, turns, connection, age of the frames and losses over time; it opens in every browser.
    """
    timeline = read_timeline(files)
    for line in story(timeline):
        echo(one_line(line))
    if svg is not None:
        Path(svg).write_text(drawing(timeline.session), encoding="utf-8")
        echo(f"the picture is in {svg}")
