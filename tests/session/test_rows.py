"""Every row of the protocol has its test: see rows.py."""

import pytest

from tests.marks import marked

from .rows import ROWS


def places() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for rows, where in marked("row").items():
        for row in rows:
            found.setdefault(row, []).extend(where)
    return found


@pytest.mark.parametrize("table", ROWS)
def test_each_row_is_named_by_a_test(table: str) -> None:
    assert [row for row in ROWS[table] if row not in places()] == []


def test_each_mark_names_a_row() -> None:
    known = {row for rows in ROWS.values() for row in rows}
    assert {row: where for row, where in places().items() if row not in known} == {}


def test_no_row_is_listed_twice() -> None:
    rows = [row for rows in ROWS.values() for row in rows]
    assert len(rows) == len(set(rows))
