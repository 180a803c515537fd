"""The options of tests/repeat.py: what is unreliable is named with how often, and what takes too long fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import repeat
from tests.conftest import ROOT, starts_a_process

pytestmark = starts_a_process

UNRELIABLE = """
import itertools, pytest
calls = itertools.count()
def test_that_fails_each_fourth_time(): assert next(calls) % 4 != 3
@pytest.mark.parametrize("word", ["a-b"])
def test_that_holds(word): pass
"""


def run(tmp_path: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "test_some.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.repeat", "-p", "no:cacheprovider", "--rootdir", "."]
    environment = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *options, "test_some.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_test_that_fails_at_times_is_named_with_how_often(tmp_path: Path, workers: tuple[str, ...]) -> None:
    result = run(tmp_path, UNRELIABLE, "--repeat", "8", *workers)
    assert result.returncode == 1
    assert "test_some.py::test_that_fails_each_fourth_time: failed 2 of 8 times (25.0 %)" in result.stdout
    assert "2 failed, 14 passed" in result.stdout
    assert "test_that_holds:" not in result.stdout


def test_reliable_tests_are_said_to_be(tmp_path: Path) -> None:
    result = run(tmp_path, "def test_fine(): pass", "--repeat", "3")
    assert result.returncode == 0
    assert "none failed" in result.stdout


def test_without_the_option_each_runs_once(tmp_path: Path) -> None:
    assert "1 passed" in run(tmp_path, "def test_fine(): pass").stdout


@pytest.mark.parametrize(("budget_s", "code"), [("0.05", 1), ("60", 0)])
def test_a_file_over_its_budget_fails_the_run(tmp_path: Path, budget_s: str, code: int) -> None:
    slow = f"import time; from tests import repeat; repeat.BUDGET_S = {budget_s}\ndef test_slow(): time.sleep(0.1)"
    result = run(tmp_path, slow, "--budget")
    assert result.returncode == code, result.stdout
    assert ("over budget: test_some.py took" in result.stdout) == bool(code)
    assert run(tmp_path, slow).returncode == 0


def test_files_with_a_budget_of_their_own_are_there() -> None:
    assert [name for name in repeat.LONGER_S if not (ROOT / name).exists()] == []
