"""The judge of what a booted kiosk's platform heard (tests/kiosk/judge.py)."""

import array
import json
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from tests.conftest import starts_a_process
from tests.kiosk.judge import WRAP, jumps, read


def ramp(*spans: tuple[int, int]) -> "array.array[int]":
    """Frames [first, last) of the microphone, as int16."""
    frames = [number for first, last in spans for number in range(first, last)]
    return array.array("h", [(number + 32_768) % WRAP - 32_768 for number in frames])


def test_a_whole_ramp_has_no_jump_also_where_it_wraps() -> None:
    assert jumps(ramp((60_000, 200_000))) == []


@pytest.mark.parametrize("missing", [1, 16, 4_096, 65_535])
def test_what_is_missing_is_counted_to_the_sample(missing: int) -> None:
    assert jumps(ramp((0, 1_000), (1_000 + missing, 3_000 + missing))) == [(1_000, missing)]


def test_a_sample_that_comes_twice_is_a_jump() -> None:
    assert jumps(ramp((0, 10), (9, 20))) == [(10, WRAP - 1)]


@starts_a_process
def test_a_file_that_is_still_being_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "live-1.wav"
    with wave.open(str(file), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(ramp((0, 500), (600, 700)).tobytes())
    with file.open("ab") as out:
        out.write(b"\1")  # half a sample
    assert len(read(file)) == 600
    command = [sys.executable, str(Path(__file__).parents[1] / "kiosk" / "judge.py"), str(file)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert told == {"samples": 600, "jumps": [[500, 100]]}
