"""docs/explanation/walk.md: each step of its two walks is a function of the file that it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_TEXT = (ROOT / "docs/explanation/walk.md").read_text(encoding="utf-8")
STEPS = re.findall(
    r"^\| \d+ \| `([^`]+)` \| `([^`]+)` \|",
    (ROOT / "docs/explanation/walk.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_there_are_two_walks() -> None:
    assert len(STEPS) > 20


@pytest.mark.parametrize(("file", "function"), STEPS)
def test_a_step_is_a_function_of_its_file(file: str, function: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    defined = rf"def {function}\(" if file.endswith(".py") else rf"^[a-zA-Z].*\b\*?{function}\([^;]*\{{"
    assert re.search(defined, text, re.MULTILINE), f"{file} has no {function}()"
