"""The programs of examples/ do what they say, against an emulator."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_commands import LIMIT_S, emulator, environment, write_wav
from tests.cli.test_voice import noise

__all__ = ["environment"]

FOLDER = Path(__file__).parent.parent.parent / "examples"
PROGRAMS = sorted(path.name for path in FOLDER.glob("*.py"))
WITHOUT_ARGUMENT = {"own_sound.py"}
PRINTS = {"chat_voice.py": r"I got your voice message of", "level_meter.py": r"\d\d:\d\d:\d\d +-\d+\.\d dBFS"}


def test_the_page_names_them_all() -> None:
    assert re.findall(r"^\| \[(\w+\.py)\]", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE) == sorted(
        PROGRAMS, key=(FOLDER / "README.md").read_text(encoding="utf-8").index
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_runs(name: str, environment: dict[str, str], tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(8_000, np.int16), noise(2 * 16_000), np.zeros(16_000, np.int16)])
    words = [] if name in WITHOUT_ARGUMENT else [str(write_wav(tmp_path / "said.wav", sound))]
    with emulator(environment, tmp_path / "heard") as (url, _):
        done = subprocess.run(
            [sys.executable, str(FOLDER / name), *words],
            env=environment | {"RAVATAR_API_URL": url},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert re.search(PRINTS.get(name, "I heard"), done.stdout), done.stdout + done.stderr
