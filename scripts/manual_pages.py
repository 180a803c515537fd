"""The manual pages, made of what --help says, so that they cannot differ from it:

python scripts/manual_pages.py DIR         ravatar-audio.1, one page for each command, and ravatar-audio.toml.5
"""

import dataclasses
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import click

from ravatar_audio._version import __version__
from ravatar_audio.cli import COMMANDS, cli
from ravatar_audio.settings import Settings

NAME = "ravatar-audio"


def escaped(text: str) -> str:
    """Text as troff takes it: nothing in it is a command of its own."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("\N{EN DASH}", r"\(en").replace("\u2019", "'")
    return "\n".join(r"\&" + line if line.startswith((".", "'")) else line for line in text.split("\n"))


def paragraphs(text: str) -> str:
    """A docstring of click's: paragraphs, those after a line of \\b as they are."""
    parts = []
    for part in re.split(r"\n\s*\n", text.strip()):
        if part.lstrip().startswith("\b"):
            kept = part.lstrip().removeprefix("\b").strip("\n")
            parts.append(f".nf\n{escaped(kept)}\n.fi")
        else:
            parts.append(escaped(" ".join(part.split())))
    return "\n.PP\n".join(parts)


def header(title: str, section: int) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    return f'.TH {escaped(title.upper())} {section} {day} "{NAME} {__version__}" "{NAME}"\n'


def definition(term: str, text: str) -> str:
    return f".TP\n\\fB{escaped(term)}\\fR\n{escaped(' '.join(text.split()))}\n"


def options(context: click.Context) -> str:
    """By section, in the order of --help."""
    sections: dict[str, list[tuple[str, str]]] = {"Options": []}
    for option in context.command.get_params(context):
        if record := option.get_help_record(context):
            sections.setdefault(getattr(option, "section", "Options"), []).append(record)
    return "".join(
        f".SH {escaped(section.upper())}\n" + "".join(definition(*record) for record in records)
        for section, records in sections.items()
        if records
    )


def commands(group: click.Group, context: click.Context) -> str:
    """The commands of a group: those of the program by name, as each has a page, others with their options."""
    if group is cli:
        return "".join(definition(name, text) for name, text in sorted(COMMANDS.items()))
    parts = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name)
        parts.append(definition(name, (command.help or "").replace("\n\n", " ")) + ".RS\n")
        parts += [
            definition(*record) for option in command.get_params(inner) if (record := option.get_help_record(inner))
        ]
        parts.append(".RE\n")
    return "".join(parts)


def page(command: click.Command, path: list[str], summary: str, also: list[str]) -> str:
    """One command's page."""
    words = " ".join(path)
    context = click.Context(command, info_name=words, **cli.context_settings)
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [
        header("-".join(path), 1),
        f".SH NAME\n{escaped('-'.join(path))} \\- {escaped(summary)}\n",
        f".SH SYNOPSIS\n\\fB{escaped(words)}\\fR {escaped(usage)}\n",
        f".SH DESCRIPTION\n{paragraphs(command.help or summary)}\n",
    ]
    if isinstance(command, click.Group):
        parts.append(".SH COMMANDS\n" + commands(command, context))
    parts.append(options(context))
    if command.epilog:
        title, _, rest = command.epilog.partition("\n")[2].partition("\n")
        parts.append(f".SH {escaped(title.rstrip(':').upper())}\n.nf\n{escaped(rest)}\n.fi\n")
    parts.append(".SH FILES\n" + definition("/etc/ravatar-audio.toml", "The service's settings."))
    parts.append(".SH SEE ALSO\n" + ",\n".join(f"\\fB{escaped(name)}\\fR({number})" for name, number in seen(also)))
    return "".join(parts) + "\n"


def seen(names: list[str]) -> list[tuple[str, int]]:
    return [*((name, 1) for name in names), (f"{NAME}.toml", 5)]


def settings_page() -> str:
    """Every setting with its type, range, default and text."""
    parts = [
        header(f"{NAME}.toml", 5),
        f".SH NAME\n{escaped(NAME)}.toml \\- {escaped('settings of ' + NAME)}\n",
        ".SH DESCRIPTION\nA TOML file of settings, each on a line of its own: \\fIname\\fR = \\fIvalue\\fR.\n"
        "The service reads "
        "\\fB/etc/ravatar\\-audio.toml\\fR; every command reads the file that \\fB\\-\\-settings\\fR or\n"
        "\\fBRAVATAR_SETTINGS\\fR names. An option, or a variable \\fBRAVATAR_\\fR\\fINAME\\fR, goes before it.\n",
        ".SH SETTINGS\n",
    ]
    shown = [item for item in dataclasses.fields(Settings) if not item.metadata["replaced_by"]]
    parts += [definition(f"{item.name} = {shape(item)}", f"{item.metadata['help']}{default(item)}") for item in shown]
    return "".join(parts) + f".SH SEE ALSO\n\\fB{escaped(NAME)}\\fR(1)\n"


def shape(item: "dataclasses.Field[Any]") -> str:
    if one_of := item.metadata["one_of"]:
        return " | ".join(f'"{word}"' for word in one_of)
    kind = str(getattr(item.type, "__name__", item.type)) if isinstance(item.type, type) else str(item.type)
    word = {"str": '"text"', "int": "number", "float": "number", "bool": "true | false"}[kind.split(" ")[0]]
    low, high = item.metadata["low"], item.metadata["high"]
    return word if low is None else f"{word} from {low} to {high}"


def default(item: "dataclasses.Field[Any]") -> str:
    if item.default is None or "default:" in item.metadata["help"]:
        return ""
    value = str(item.default).lower() if isinstance(item.default, bool) else item.default
    return f" Default: {value}."


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pages = [f"{NAME}-{name}" for name in sorted(COMMANDS)]
    summary = "real-time voice front end for the RAVATAR avatar platform"
    (folder / f"{NAME}.1").write_text(page(cli, [NAME], summary, pages), encoding="utf-8")
    for name, text in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        short = text.rstrip(".")
        (folder / f"{NAME}-{name}.1").write_text(page(command, [NAME, name], short, [NAME]), encoding="utf-8")
    (folder / f"{NAME}.toml.5").write_text(settings_page(), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
