"""Sphinx builds the documentation with this: scripts/docs.

Three reference pages are written from the code each time, so that they are never out of date: reference/generated/.
"""

import dataclasses
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import click
from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

import ravatar_audio  # noqa: E402
from ravatar_audio.cli import cli  # noqa: E402

project = "ravatar-audio"
author = "The ravatar-audio authors"
copyright = author
version = release = ravatar_audio.__version__
html_title = f"ravatar-audio {version}"
html_theme = "furo"
html_static_path: list[str] = []
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["figures"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
nitpicky = False
suppress_warnings = ["myst.xref_missing"] if "linkcheck" in sys.argv else []

MODULES = {
    "ravatar_audio": "The names that a program uses, for trio.",
    "ravatar_audio.errors": "The tree of errors. Each has a code, a message, advice, and whether to try again.",
    "ravatar_audio.asyncio": "The same names for asyncio. Only what differs is described here.",
    "ravatar_audio.blocking": "The same names for threads. Only what differs is described here.",
    "ravatar_audio.emulator": "A platform on this machine.",
    "ravatar_audio.testing": "A microphone that is made up.",
}


def public_names(module: ModuleType) -> list[str]:
    """What the module exports; without a list of that, the classes it defines."""
    found = getattr(module, "__all__", None)
    if found is None:
        found = [name for name, item in vars(module).items() if getattr(item, "__module__", "") == module.__name__]
    return sorted((name for name in found if not name.startswith("_")), key=str.lower)


def api_page() -> str:
    """Every public name of each public module, by its docstring; a name is described where it was first named."""
    parts = ["# Python\n\nMade from the docstrings.\n"]
    described: set[int] = set()
    for module_name, text in MODULES.items():
        module = importlib.import_module(module_name)
        parts.append(f"## {module_name}\n\n{text}\n")
        for name in public_names(module):
            item = getattr(module, name)
            kind = "exception" if isinstance(item, type) and issubclass(item, BaseException) else "class"
            kind = kind if isinstance(item, type) else "function" if callable(item) else "data"
            if kind != "data" and id(item) in described:
                continue
            described.add(id(item))
            parts.append(f"```{{eval-rst}}\n.. auto{kind}:: {module_name}.{name}\n```\n")
    return "\n".join(parts)


def settings_page() -> str:
    """Every setting, by the one declaration that the program reads too."""
    rows = [
        "# Settings\n\nMade from the code. A command's argument counts before the environment, that before a TOML file,"
        " that before the default. The environment's name is `RAVATAR_` and the setting's in capitals.\n",
    ]
    for item in dataclasses.fields(ravatar_audio.Settings):
        about = item.metadata
        if about["replaced_by"]:
            continue
        low, high = about["low"], about["high"]
        allowed = ", ".join(f"`{value}`" for value in about["one_of"])
        allowed = allowed or (f"{low:,} to {high:,}" if low is not None and high is not None else "")
        secret = " Never shown or logged." if about["is_secret"] else ""
        rows.append(f"## {item.name}\n\n{about['help']}{secret}\n")
        default = (
            ""
            if item.default is None
            else f"`{item.default!r}`"
            if isinstance(item.default, str)
            else f"`{item.default}`"
        )
        rows.append(f"- default: {default or 'none'}\n- environment: `RAVATAR_{item.name.upper()}`")
        rows.append(f"- allowed: {allowed}\n" if allowed else "")
    return "\n".join(rows)


def commands_page() -> str:
    """What each command's --help says."""
    parts = ["# Commands\n\nWhat `--help` says.\n"]
    context = click.Context(cli, info_name="ravatar-audio", terminal_width=100, max_content_width=100)
    parts.append(f"```text\n{cli.get_help(context)}\n```\n")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context, terminal_width=100, max_content_width=100)
        parts.append(f"## ravatar-audio {name}\n\n```text\n{command.get_help(inner)}\n```\n")
    return "\n".join(parts)


def write_reference(app: Sphinx) -> None:
    """Written anew; left alone where nothing changed, so that Sphinx need not read it again."""
    folder = HERE / "reference" / "generated"
    folder.mkdir(exist_ok=True)
    for name, text in {"api": api_page(), "settings": settings_page(), "commands": commands_page()}.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def as_markup(app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]) -> None:
    """Docstrings are written for help(): code is what is indented under a colon, and a trailing _ is no link."""
    for at, line in enumerate(lines):
        following = next((later for later in lines[at + 1 :] if later.strip()), "")
        indent = len(line) - len(line.lstrip())
        is_code = line.endswith(":") and not line.endswith("::") and len(following) - len(following.lstrip()) > indent
        lines[at] = re.sub(r"(?<![`\w])(\w+)_(?!\w)", r"\1\\_", line) + (":" if is_code else "")


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", as_markup)
    app.connect("builder-inited", write_reference)
