"""`ravatar-audio chat`: what is written is sent, what is answered is printed, and it ends with its input."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_commands import emulator, ended, environment, run, write_wav
from tests.cli.test_voice import noise

__all__ = ["environment"]


def test_a_text_is_answered(environment: dict[str, str], tmp_path: Path) -> None:
    with emulator(environment, tmp_path / "heard") as (url, process):
        done = run(environment | {"RAVATAR_API_URL": url}, "chat", "Good", "morning")
        assert done.returncode == 0, done.stderr
        assert "Good morning" in done.stdout
        assert ended(process)["violations"] == 0


def test_each_line_of_the_input_is_a_message(environment: dict[str, str], tmp_path: Path) -> None:
    with emulator(environment, tmp_path / "heard") as (url, _):
        lines = "one\n\n  two  \nthree без конца".encode()
        done = run(environment | {"RAVATAR_API_URL": url}, "chat", "--json", stdin=lines)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1] | {"time": None} == {"event": "summary", "messages_sent": 3, "answers": 3, "time": None}
    replies = [event["text"] for event in events if event["event"] == "Reply"]
    assert [word in reply for word, reply in zip(("one", "two", "без конца"), replies, strict=True)] == [True] * 3


def test_turns_of_a_file_are_sent_as_messages(environment: dict[str, str], tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(8_000, np.int16), noise(2 * 16_000), np.zeros(24_000, np.int16)])
    said = write_wav(tmp_path / "said.wav", sound)
    with emulator(environment, tmp_path / "heard") as (url, _):
        given = environment | {"RAVATAR_API_URL": url}
        done = run(given, "chat", "--talk", str(said), "--mode", "vad", "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert (events[-1]["messages_sent"], events[-1]["answers"]) == (1, 1)


def test_text_and_talk_exclude_each_other(environment: dict[str, str]) -> None:
    done = run(environment, "chat", "hello", "--talk", "mic")
    assert done.returncode == 2
    assert "exclude each other" in done.stderr


@pytest.mark.parametrize("text", ["", " " * 3])
def test_an_empty_text_is_refused_and_nothing_hangs(environment: dict[str, str], tmp_path: Path, text: str) -> None:
    with emulator(environment, tmp_path / "heard") as (url, _):
        began_s = time.monotonic()
        done = run(environment | {"RAVATAR_API_URL": url}, "chat", text)
    assert done.returncode == 2
    assert time.monotonic() - began_s < 15
