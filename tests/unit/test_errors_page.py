"""docs/reference/errors.md says what the code does: its tables are made from the code, and each row is held against it.

`python -m tests.unit.test_errors_page` writes the tables anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ravatar_audio import errors
from ravatar_audio.api import answers, http, link_end
from ravatar_audio.api.link_end import Cause, LinkDown
from ravatar_audio.api.messages import StreamFault
from ravatar_audio.errors import RavatarError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
FINAL_UNLESS_IT_WORKED = "final*"


def table_of(text: str | None) -> list[list[str]]:
    """The rows of the table in a docstring, its head first."""
    lines = [line for line in (text or "").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if set(row[0]) != {"-"} and row[0] != "---"]


def tree(kind: type[RavatarError] = RavatarError) -> Iterator[type[RavatarError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def error_rows() -> list[list[str]]:
    head = ["code", "error", "exit code", "worth trying again", "advice, unless there is better"]
    return [head] + [
        [
            f"`{kind.code}`",
            f"`{kind.__name__}`",
            str(kind.exit_code),
            "yes" if kind.retryable else "no",
            kind.default_advice,
        ]
        for kind in tree()
    ]


def stream_rows() -> list[list[str]]:
    rows = [["kind", "the session ends with", "advice"]]
    for kind, advice in StreamFault.advice.items():
        error = StreamFault(kind=kind).error()
        ending = "nothing: only the connection is made again" if error is None else f"`{type(error).__name__}`"
        rows.append([f"`{kind}`", ending, advice])
    return rows


TABLES = {
    "errors": error_rows,
    "http": lambda: table_of(http.__doc__),
    "link": lambda: table_of(link_end.__doc__),
    "stream": stream_rows,
}


def written(page: str) -> str:
    """The page with its tables as they should be."""
    for name, rows in TABLES.items():
        head, *body = rows()
        lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]
        table = "\n".join(lines).replace("final**", r"final\*\*").replace("final* ", r"final\* ")
        before, mark, rest = page.partition(f"<!-- table: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert mark, name
        page = f"{before}{mark}{table}\n{end}{after}"
    return page


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == written(text), "write it anew: python -m tests.unit.test_errors_page"


def test_each_error_says_what_it_is() -> None:
    kinds = list(tree())
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert kind.default_advice.endswith("."), kind
        assert f"{kind.__name__}  " in f"{errors.__doc__} ".replace("\n", "  \n"), f"{kind.__name__} is not in the tree"


IN_WORDS = {
    "any other handshake status": LinkDown(Cause.REFUSED, status=404),
    "a message that breaks the protocol": LinkDown(Cause.VIOLATION),
    "a message that is too large": LinkDown(Cause.VIOLATION),
    "any other close code": LinkDown(Cause.CLOSED, close_code=1013),
    "and none at all": LinkDown(Cause.CLOSED, close_code=1006),
    'a stream error of Live Mode that only concerns the connection ("Connection timeout")': LinkDown(
        Cause.STREAM_ERROR
    ),
    "messages that refuse what is sent": LinkDown(Cause.NOT_ACCEPTED),
    "again and again": LinkDown(Cause.NOT_ACCEPTED),
    "no connection": LinkDown(Cause.UNREACHABLE),
    "time-out": LinkDown(Cause.TIMEOUT),
    "handshake cut off": LinkDown(Cause.UNREACHABLE),
    "a call for a token or a new slot that fails once the session has begun": LinkDown(Cause.PLATFORM),
    "certificate refused": LinkDown(Cause.CERTIFICATE),
    "proxy refuses": LinkDown(Cause.PROXY),
    "answer to the handshake that is not HTTP": LinkDown(Cause.NOT_WEBSOCKET),
}


def numbers(words: str) -> list[int]:
    found = [int(number) for number in re.findall(r"\b\d{3,4}\b", words)]
    return found + [
        status
        for hundred in re.findall(r"\b(\d)xx\b", words)
        for status in range(int(hundred) * 100, int(hundred) * 100 + 100)
    ]


def ends(cell: str) -> Iterator[LinkDown]:
    """Every end that a cell of the table means."""
    for part in cell.split("; "):
        if found := numbers(part):
            for number in found:
                if part.startswith("handshake"):
                    yield LinkDown(Cause.REFUSED, status=number)
                else:
                    yield LinkDown(Cause.CLOSED, close_code=number)
        else:
            yield from (IN_WORDS[words] for words in re.split(", ", part))


@pytest.mark.parametrize("row", table_of(link_end.__doc__)[1:], ids=lambda row: row[0])
def test_each_row_of_how_a_websocket_ends(row: list[str]) -> None:
    cell, verdict, _ = row
    for down in ends(cell):
        assert down.verdict.value == verdict.rstrip("*"), down
        assert down.is_about_address is (verdict == FINAL_UNLESS_IT_WORKED), down


def test_what_the_table_does_not_name_is_as_it_says_of_the_others() -> None:
    cells = [row[0] for row in table_of(link_end.__doc__)[1:]]
    statuses = {down.status for cell in cells for down in ends(cell)}
    codes = {down.close_code for cell in cells for down in ends(cell)}
    for status in set(range(300, 600)) - statuses:
        assert LinkDown(Cause.REFUSED, status=status).verdict.value == "final"
    for code in set(range(1000, 5000)) - codes:
        assert LinkDown(Cause.CLOSED, close_code=code).verdict.value == "retry"


@pytest.mark.parametrize("row", table_of(http.__doc__)[1:], ids=lambda row: row[0])
def test_each_row_of_the_http_answers(row: list[str]) -> None:
    cell, outcome = row
    named = {status for other in table_of(http.__doc__)[1:] if "other" not in other[0] for status in numbers(other[0])}
    for status in set(numbers(cell)) - (named if cell.startswith("other") else set()):
        if status >= 300:
            assert answers.error_type(status).__name__ in outcome, status


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
