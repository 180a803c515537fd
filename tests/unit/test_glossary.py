"""docs/explanation/glossary.md: it has every word that data consists of, and every name in it is one of the code's."""

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest

from ravatar_audio import Settings, TurnEventKind, TurnMode
from ravatar_audio.diagnosis import Status

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "glossary.md"
TEXT = PAGE.read_text(encoding="utf-8")
CODE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
TERMS = re.findall(r"^\| ([^|]+?) \|", TEXT, re.MULTILINE)
LOSSES = ("device", "ring", "outbox", "in_flight", "refused")
SUFFIXES = re.compile(r"_(s|ms|ns|hz|samples|bytes|dbfs|db|ppm)")


def names() -> set[str]:
    """All that stands in backticks but units, patterns of selectors, and dotted names, which are looked up in parts."""
    found = set()
    for name in re.findall(r"`([^`]+)`", TEXT):
        if not SUFFIXES.fullmatch(name) and ":" not in name:
            found |= set(name.split("."))
    return found


@pytest.mark.parametrize("word", [*TurnEventKind, *TurnMode, *get_args(Status), *LOSSES])
def test_each_word_that_data_consists_of_is_in_it(word: str) -> None:
    assert f"`{word}`" in TEXT


@pytest.mark.parametrize("name", sorted(names()))
def test_each_name_in_it_is_one_of_the_code(name: str) -> None:
    settings = {item.name for item in dataclasses.fields(Settings) if not item.metadata["replaced_by"]}
    assert name in settings or re.search(rf"\b{re.escape(name)}\b", CODE), f"{name} is no name of the code any more"


def test_each_term_is_explained_once() -> None:
    terms = [term for term in TERMS if term not in ("term", "---")]
    assert len(terms) == len(set(terms)) > 50


def test_it_is_what_the_readme_links_to() -> None:
    assert "docs/explanation/glossary.md" in (ROOT / "README.md").read_text(encoding="utf-8")
