"""The commands of the flight recorder, as a user runs them: live --record, explain, replay; also after kill -9."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ..conftest import HANG_LIMIT_S, starts_a_process
from .test_commands import emulator, environment

__all__ = ["environment"]

pytestmark = starts_a_process
COMMAND = [sys.executable, "-m", "ravatar_audio"]


def said(arguments: list[str], environment: dict[str, str], code: int = 0) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=environment, timeout=HANG_LIMIT_S, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def recordings(folder: Path) -> list[str]:
    return sorted(map(str, folder.glob("*.mcap")))


def test_a_recorded_run_is_explained_drawn_and_sent_again(environment: dict[str, str], tmp_path: Path) -> None:
    folder, picture = tmp_path / "r", tmp_path / "x.svg"
    live = ["live", "--source", "synthetic:speech", "--seconds", "4", "--linger", "0", "--record", str(folder)]
    with emulator(environment, tmp_path / "heard") as (url, _):
        said([*live, "--api-url", url], environment)
    story = said(["explain", *recordings(folder), "--svg", str(picture)], environment)
    for words in ("session 1, from", "connection 1 is up", "turn 0 started", "acknowledged", "lost nothing"):
        assert words in story
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    assert len([item for item in root.iter() if item.get("class") == "level"]) >= 10
    result = json.loads(said(["replay", "--json", *recordings(folder)], environment))
    assert result["taken_samples"] == result["acknowledged_samples"] > 3 * 16_000
    assert sum(result["lost_samples_now"].values()) == sum(result["lost_samples_then"].values()) == 0
    with emulator(environment, tmp_path / "again") as (url, _):
        text = said(["replay", "--api-url", url, *recordings(folder)], environment)
        assert "lost outbox     then    0.000 s   now    0.000 s" in text


def test_a_run_that_is_killed_can_be_explained_and_sent_again(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "r"
    with emulator(environment, tmp_path / "heard") as (url, _):
        live = [*COMMAND, "live", "--source", "synthetic:speech", "--record", str(folder), "--api-url", url]
        with subprocess.Popen(live, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            deadline_s = time.monotonic() + HANG_LIMIT_S
            while sum(os.path.getsize(name) for name in recordings(folder)) < 60_000:
                assert time.monotonic() < deadline_s
                time.sleep(0.1)  # another program's file: there is no event for it
            child.send_signal(signal.SIGKILL)
    story = said(["explain", *recordings(folder)], environment)
    assert "was cut short" in story
    assert "connection 1 is up" in story
    result = json.loads(said(["replay", "--json", *recordings(folder)], environment))
    assert result["taken_samples"] > 16_000


@pytest.mark.parametrize("command", ["explain", "replay"])
def test_what_is_no_recording_is_one_clear_line(command: str, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    assert "is no recording" in said([command, str(tmp_path / "x.wav")], environment, 2)
    assert "cannot be read: No such file" in said([command, str(tmp_path / "y")], environment, 2)
