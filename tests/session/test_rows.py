"""Every row of the protocol has its test: see rows.py."""

import ast
import functools
from collections import defaultdict
from pathlib import Path

import pytest

from .rows import ROWS

TESTS = Path(__file__).parents[1]


@functools.cache
def marked() -> dict[str, list[str]]:
    """The rows that tests are marked with, and where; read from the source, whichever tests are run."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row":
                for argument in node.args:
                    row = ast.literal_eval(argument)  # marks name their rows in plain words
                    places[row].append(f"{path.name}:{node.lineno}")
    return places


@pytest.mark.parametrize("table", ROWS)
def test_each_row_is_named_by_a_test(table: str) -> None:
    places = marked()
    assert [row for row in ROWS[table] if row not in places] == []


def test_each_mark_names_a_row() -> None:
    known = {row for rows in ROWS.values() for row in rows}
    assert {row: where for row, where in marked().items() if row not in known} == {}


def test_no_row_is_listed_twice() -> None:
    rows = [row for rows in ROWS.values() for row in rows]
    assert len(rows) == len(set(rows))
