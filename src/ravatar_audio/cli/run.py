"""How every command runs: trio with clean interruption, expected failures unwrapped, settings from options."""

import dataclasses
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import click
import trio

from ravatar_audio.errors import RavatarError
from ravatar_audio.settings import Settings

INTERRUPTS = [signal.SIGINT, signal.SIGTERM]


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` under trio. SIGINT and SIGTERM cancel it, so that it leaves cleanly; then exit with 128 + signal.

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
        trio.run(until_interrupted)
    except BaseExceptionGroup as group:
        raise_expected(group)
    if received:
        sys.exit(128 + received[0])


def raise_expected(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise the first failure of a group that holds nothing unexpected; else the group.

    Expected are a RavatarError and a BrokenPipeError: whoever read our output has gone.
    """
    expected, unexpected = group.split((RavatarError, BrokenPipeError))
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


def settings_options(**sections: Sequence[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of a SectionedCommand for settings, by section, with the help and the default that Settings has."""
    known = {item.name: item for item in dataclasses.fields(Settings)}

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for section, name in reversed([(section, name) for section, names in sections.items() for name in names]):
            item = known[name]
            one_of = item.metadata["one_of"]
            flag = f"--{name.removesuffix('_hz').removesuffix('_db').replace('_', '-')}"
            kind: Any = click.Choice(one_of) if one_of else _click_type(item.type)
            shown = f"  [default: {item.default}]" if item.default is not None and item.type is not bool else ""
            options: dict[str, Any] = {"is_flag": True} if item.type is bool else {"type": kind}
            options |= {"cls": SettingOption, "section": section.capitalize(), "help": item.metadata["help"] + shown}
            function = click.option(flag, name, default=None, **options)(function)
        return click.option(
            "--settings", "settings_file", type=click.Path(), help="TOML file of settings; default: RAVATAR_SETTINGS."
        )(function)

    return decorate


def load_settings(settings_file: str | None, given: dict[str, Any], *, log_level: int = logging.WARNING) -> Settings:
    """Settings of a command; the log goes to standard error from `log_level` on, with debug = true all of it."""
    settings = Settings.load(settings_file, **given)
    _log_to_stderr(logging.DEBUG if settings.debug else log_level)
    return settings


def _log_to_stderr(level: int) -> None:
    long = "%(asctime)s.%(msecs)03d %(name)s %(message)s"
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,  # of other packages; the HTTP library would tell addresses, tokens and all
        # In a terminal a meter may stand in the line.
        format=("\r\x1b[K" if sys.stderr.isatty() else "") + (long if level < logging.WARNING else "%(message)s"),
        datefmt="%H:%M:%S",
    )
    logging.getLogger("ravatar_audio").setLevel(level)


def _click_type(annotation: Any) -> type:
    kinds = [kind for kind in getattr(annotation, "__args__", (annotation,)) if kind is not type(None)]
    return kinds[0] if kinds[0] in (int, float) else str
