"""How every command runs: trio with clean interruption, expected failures unwrapped, settings from options."""

import dataclasses
import json
import logging
import math
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import click
import trio

from ravatar_audio.capture.host.stderr_capture import catching_chatter
from ravatar_audio.cli.output import echo
from ravatar_audio.errors import RavatarError
from ravatar_audio.observe.journal import JournalHandler, is_journal
from ravatar_audio.printable import one_line
from ravatar_audio.setting_values import plain_type
from ravatar_audio.settings import Settings

_HANGUPS = [getattr(signal, name) for name in ("SIGHUP", "SIGQUIT") if hasattr(signal, name)]
INTERRUPTS: Final = [
    *(signal.SIGINT, signal.SIGTERM),
    *(number for number in _HANGUPS if signal.getsignal(number) is not signal.SIG_IGN),
]
"""What ends a command in order. A terminal that is closed counts as well, unless that was to be survived (nohup)."""


class Seconds(click.FloatRange):
    """A number of seconds in a range; no infinity, and no NaN, which is in every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the value as a float; usage errors for what is none in the range."""
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value} is no length of time.", param, ctx)
        return seconds


def stamped(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line of --json with its time."""
    return {"time": datetime.now(UTC).isoformat(timespec="milliseconds")} | line


def error_line(error: RavatarError) -> dict[str, str]:
    """Return a failure as the last line of --json."""
    return {"event": "error", "code": error.code, "message": error.message, "advice": error.advice}


def json_lines(is_asked_for: bool) -> Callable[[dict[str, Any]], None]:
    """Return what writes a line of --json, with its time; nothing where that was not asked for."""

    def emit(line: dict[str, Any]) -> None:
        if is_asked_for:
            echo(json.dumps(stamped(line)))

    return emit


def run_reporting(work: Callable[[], Awaitable[None]], emit: Callable[[dict[str, Any]], None]) -> None:
    """Run as run() does; a failure is reported as well, as the last line."""
    try:
        run(work)
    except RavatarError as error:
        emit(error_line(error))
        raise


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` under trio. A signal of INTERRUPTS cancels it, so that it leaves cleanly; then exit with 128 + signal.

    A second signal ends the program at once: what could not be ended is kept for the next start. Of several failures at
    once the first RavatarError is raised, as the others follow from it.
    """
    received: list[int] = []

    async def until_interrupted() -> None:
        with trio.open_signal_receiver(*INTERRUPTS) as signals:
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()

                async def watch() -> None:
                    async for number in signals:
                        if received:
                            os._exit(128 + number)
                        received.append(number)
                        scope.cancel()

                nursery.start_soon(watch)
                with scope:
                    await work()
                nursery.cancel_scope.cancel()

    try:
        with catching_chatter():
            trio.run(until_interrupted)
    except BaseExceptionGroup as group:
        raise_expected(group)
    if received:
        sys.exit(128 + received[0])


def raise_expected(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise the first failure of a group that holds nothing unexpected; else the group.

    Expected are a RavatarError and an OSError: an output that is full or closed, a file that may not be written.
    """
    expected, unexpected = group.split((RavatarError, OSError))
    if unexpected is not None or expected is None:
        raise group
    leaf: BaseException = expected
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    raise leaf


class SettingOption(click.Option):
    """An option for a setting, shown under the heading of its section."""

    def __init__(self, *arguments: Any, section: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help shows its own options first, then the settings by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for option in self.get_params(ctx):
            if record := option.get_help_record(ctx):
                sections.setdefault(getattr(option, "section", "Options"), []).append(record)
        for name, records in sections.items():
            with formatter.section(name):
                formatter.write_dl(records)


class SectionedGroup(SectionedCommand, click.Group):
    """A SectionedCommand that has commands of its own besides."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write its options, then its commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def settings_options(**sections: Sequence[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make options of a SectionedCommand for settings, by section, with the help and the default that Settings has.

    A setting's old names are options too, but not shown.
    """
    known = {item.name: item for item in dataclasses.fields(Settings)}
    old = {name: [item for item in known.values() if item.metadata["replaced_by"] == name] for name in known}

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        listed = [(section, name) for section, names in sections.items() for name in names]
        for section, item in reversed([(where, item) for where, name in listed for item in (known[name], *old[name])]):
            name = item.name
            one_of = item.metadata["one_of"]
            flag = f"--{name.removesuffix('_hz').removesuffix('_db').removesuffix('_s').replace('_', '-')}"
            kind: Any = click.Choice([str(word) for word in one_of]) if one_of else _click_type(item.type)
            shown = f"  [default: {item.default}]" if item.default is not None and item.type is not bool else ""
            options: dict[str, Any] = {"is_flag": True} if item.type is bool else {"type": kind}
            options |= {"cls": SettingOption, "section": section.capitalize(), "help": item.metadata["help"] + shown}
            options["hidden"] = bool(item.metadata["replaced_by"])
            function = click.option(flag, *item.metadata["flags"], name, default=None, **options)(function)
        return click.option(
            "--settings", "settings_file", type=click.Path(), help="TOML file of settings; default: RAVATAR_SETTINGS."
        )(function)

    return decorate


def load_settings(settings_file: str | None, given: dict[str, Any], *, log_level: int = logging.WARNING) -> Settings:
    """Load a command's settings; the log goes to standard error from `log_level` on, with debug = true all of it."""
    settings = Settings.load(settings_file, **given)
    log_to_stderr(logging.DEBUG if settings.debug else log_level)
    return settings


class LineFormatter(logging.Formatter):
    """A record of the log on one line of its own, whoever wrote it and whatever is in it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return it as the format says, with the message made safe."""
        record.message = one_line(record.message)
        return super().formatMessage(record)


def log_to_stderr(level: int) -> None:
    """Let the log go to standard error, from `level` on; with INFO or less each line has its time."""
    handler: logging.Handler
    if is_journal(sys.stderr):  # which has the time itself
        handler = JournalHandler()
        handler.setFormatter(LineFormatter("%(message)s"))
    else:
        long = "%(asctime)s.%(msecs)03d %(name)s %(message)s"
        # In a terminal a meter may stand in the line.
        text = ("\r\x1b[K" if sys.stderr.isatty() else "") + (long if level < logging.WARNING else "%(message)s")
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LineFormatter(text, datefmt="%H:%M:%S"))
    # WARNING is for other packages; the HTTP library would log addresses, tokens and all.
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("ravatar_audio").setLevel(level)


def _click_type(annotation: Any) -> type:
    kind = plain_type(annotation)
    return kind if kind in (int, float) else str
