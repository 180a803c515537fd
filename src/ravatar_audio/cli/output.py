"""What commands write: the one way to the terminal, on which nothing foreign can act."""

import sys

import click

from ravatar_audio import printable

_CLEAR_LINE = "\r\x1b[K"


def echo(text: object = "", *, err: bool = False) -> None:
    """Write text and a line end. Of control characters only line ends pass; a value that may hold some goes through
    `printable.one_line` before it becomes a part of the text."""
    click.echo(printable.lines(text), err=err)


def echo_over_meter(text: object) -> None:
    """Print as `echo` does, where a meter may stand in the terminal's line."""
    over = _CLEAR_LINE if sys.stderr.isatty() and sys.stdout.isatty() else ""
    click.echo(over + printable.lines(text))
