"""The documentation: nothing public is without a text, every page can be reached, every example is run by a test."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import pytest

from ravatar_audio import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MODULES = (
    *("ravatar_audio", "ravatar_audio.asyncio", "ravatar_audio.blocking", "ravatar_audio.errors"),
    *("ravatar_audio.emulator", "ravatar_audio.testing"),
)
PAGES = sorted(path for path in DOCS.rglob("*.md") if "generated" not in path.parts)
RUN_BY = {
    "README.md": "tests/session/test_readme.py",
    "docs/howto/echo.md": "tests/cli/test_pages.py",
    "docs/howto/embedding.md": "tests/cli/test_pages.py",
    "docs/howto/emulator.md": "tests/cli/test_pages.py",
    "docs/howto/metrics.md": "tests/session/test_metrics.py",
    "docs/howto/playing-replies.md": "tests/cli/test_pages.py",
    "docs/howto/load.md": "tests/cli/test_load.py",
    "docs/howto/turns.md": "tests/session/test_turns_page.py",
    "docs/howto/voice-activity.md": "tests/cli/test_pages.py",
    "docs/tutorial/tests.md": "tests/cli/test_pages.py",
}
"""Which test executes the Python examples of a page."""


def undocumented(module_name: str) -> list[str]:
    module = importlib.import_module(module_name)
    assert module.__doc__, module_name
    found = []
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    for name in names:
        item = getattr(module, name)
        if not (isinstance(item, type) or inspect.isfunction(item)):
            continue
        if not getattr(item, "__module__", "").startswith("ravatar_audio"):
            continue
        if not inspect.getdoc(item):
            found.append(name)
        for member, value in vars(item).items() if isinstance(item, type) else ():
            is_described = isinstance(value, (property, classmethod, staticmethod)) or inspect.isfunction(value)
            if is_described and not member.startswith("_") and not inspect.getdoc(getattr(item, member)):
                found.append(f"{name}.{member}")
    return found


@pytest.mark.parametrize("module_name", MODULES)
def test_every_public_name_has_a_docstring(module_name: str) -> None:
    assert undocumented(module_name) == []


def test_every_setting_says_what_it_is() -> None:
    for item in dataclasses.fields(Settings):
        assert len(item.metadata["help"]) > 10, item.name
        assert item.metadata["help"].endswith("."), item.name


def test_every_example_is_executed_by_a_test() -> None:
    with_examples = {
        str(page.relative_to(ROOT))
        for page in [ROOT / "README.md", *PAGES]
        if re.search(r"^```python$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert with_examples == set(RUN_BY)
    for page, test in RUN_BY.items():
        assert page in (ROOT / test).read_text(encoding="utf-8"), f"{test} does not read {page}"


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    for page in PAGES:
        name = page.relative_to(DOCS).with_suffix("")
        assert str(name) in index or f"{name.parent}/*" in index or str(name) == "index", (
            f"{page.name} is in no toctree"
        )


def test_every_program_of_examples_that_a_page_shows_exists() -> None:
    for page in PAGES:
        for shown in re.findall(r"\{literalinclude\} (\S+)", page.read_text(encoding="utf-8")):
            assert (page.parent / shown).is_file(), f"{page.name}: {shown}"
