"""`--source` as a user gives it: files, pipes, FIFOs; all of it is heard, or it is said what was not."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trio
from click.testing import CliRunner

from ravatar_audio.capture import SyntheticSource
from ravatar_audio.cli import live as live_command
from ravatar_audio.cli.streaming import Streamed
from ravatar_audio.errors import SoundLostError
from ravatar_audio.frames import RATE_HZ
from ravatar_audio.session import LiveSession
from ravatar_audio.settings import Settings
from ravatar_audio.turns import GateStatistics
from tests.cli.test_commands import COMMAND, LIMIT_S, emulator, ended, environment, read_wav, run, write_wav
from tests.cli.test_voice import noise

__all__ = ["environment"]


@pytest.mark.parametrize(("pace", "seconds"), [("full", 60), ("real", 3)])
@pytest.mark.parametrize("source", ["-", "fifo", "file"])
def test_all_of_a_fast_writers_sound_is_heard(
    environment: dict[str, str], tmp_path: Path, pace: str, seconds: int, source: str
) -> None:
    sound = noise(seconds * RATE_HZ)
    path = write_wav(tmp_path / "a.wav", sound)
    fifo = tmp_path / "fifo"
    if source == "fifo":
        os.mkfifo(fifo)
        threading.Thread(target=lambda: fifo.write_bytes(path.read_bytes()), daemon=True).start()
    with emulator(environment, tmp_path / "heard") as (url, process):
        arguments = ["live", "--source", {"-": "-", "fifo": str(fifo), "file": str(path)}[source], "--pace", pace]
        begun_s = time.monotonic()
        result = run(
            environment,
            *[*arguments, "--api-url", url, "--linger", "0"],
            stdin=path.read_bytes() if source == "-" else b"",
        )
        took_s = time.monotonic() - begun_s
        assert result.returncode == 0, result.stderr
        assert ended(process)["violations"] == 0
    [heard] = (tmp_path / "heard").glob("*.wav")
    assert np.array_equal(read_wav(str(heard))[: len(sound)], sound)
    if pace == "real":
        assert took_s > seconds * 0.99
    else:
        assert took_s < seconds


@pytest.mark.parametrize("command", [["live", "--api-url", "http://127.0.0.1:9"], ["record", "a.wav"], ["say"]])
def test_a_fifo_that_nobody_writes_to_does_not_hang_beyond_an_interrupt(
    environment: dict[str, str], tmp_path: Path, command: list[str]
) -> None:
    os.mkfifo(tmp_path / "fifo")
    named = ["fifo"] if command == ["say"] else ["--source", "fifo"]
    process = subprocess.Popen(
        [*COMMAND, *command, *named], env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(4)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) in (130, 7), process.communicate()
    finally:
        process.kill()
        _, shown = process.communicate()
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    "command",
    [
        ["live", "--source", "empty.wav"],
        ["live", "--source", "-"],
        ["record", "a.wav", "--source", "empty.wav"],
        ["record", "a.wav", "--source", "-"],
        ["say", "empty.wav"],
        ["say", "/dev/stdin"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("is_wav", [True, False], ids=["a header alone", "nothing"])
def test_a_file_without_sound_is_told_alike_by_every_command(
    environment: dict[str, str], tmp_path: Path, command: list[str], is_wav: bool
) -> None:
    path = write_wav(tmp_path / "empty.wav", np.zeros(0, np.int16))
    if not is_wav:
        path.write_bytes(b"")
    with path.open("rb") as stdin, emulator(environment, tmp_path / "heard") as (url, _):
        result = subprocess.run(
            [*COMMAND, *command, *(["--api-url", url] if command[0] != "record" else [])],
            env=environment,
            cwd=tmp_path,
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert result.returncode == 2, result.stderr
    assert "has no sound in it" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("source", ["a.wav", "-", "synthetic:tone"])
def test_sound_that_a_platform_which_forgot_us_has_refused_is_a_run_that_lost_sound(
    environment: dict[str, str], tmp_path: Path, source: str
) -> None:
    """The platform forgets all after 6 messages, and says no to the next ones: of a file or a pipe that is code 8."""
    path = write_wav(tmp_path / "a.wav", noise(6 * RATE_HZ))
    with emulator(environment, tmp_path / "heard", "--fault", "message forget after=6") as (url, process):
        given = str(path) if source == "a.wav" else source
        is_live = source.startswith("synthetic")
        result = run(
            environment,
            *["live", "--source", given, "--mode", "open", "--renew", "--linger", "0", "--api-url", url, "--json"],
            *(["--seconds", "6"] if is_live else []),
            stdin=path.read_bytes() if source == "-" else b"",
        )
        heard = ended(process)
    shown = [json.loads(line) for line in result.stdout.splitlines()]
    [summary] = [line for line in shown if line["event"] == "summary"]
    assert {"SendingRefused", "SessionRenewed"} <= {line["event"] for line in shown}
    assert summary["samples_lost"] > 0
    assert heard["frames"] == summary["frames_sent"], "what was refused counts as sent"
    assert summary["samples_sent"] + summary["samples_lost"] + summary["samples_unsent"] == summary["samples_captured"]
    assert result.returncode == (0 if is_live else 8), result.stderr
    if not is_live:
        assert f"{summary['samples_lost']} samples" in result.stderr.splitlines()[-2]
        assert shown[-1]["code"] == "sound_lost"


@pytest.mark.parametrize("lost_samples", [0, 4_096])
@pytest.mark.parametrize("source", ["a.wav", "synthetic:tone"])
def test_a_run_that_lost_sound_that_could_have_waited_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, lost_samples: int
) -> None:
    """The counters are made up here: whatever the cause, it is told."""
    live = LiveSession(Settings(api_url="http://127.0.0.1:9", state_dir=str(tmp_path)), SyntheticSource()).statistics()
    live = replace(live, sent_samples=8_192 - lost_samples, dropped_samples={"outbox": lost_samples})
    capture = replace(SyntheticSource().statistics(), captured_samples=8_192, delivered_samples=8_192)
    streamed = Streamed(capture, GateStatistics(8_192, 8_192, 0, 0, 0, 1), live)

    async def stream(*_: object, on_end: Callable[[Streamed], None], **__: object) -> None:
        await trio.lowlevel.checkpoint()
        on_end(streamed)

    monkeypatch.setattr(live_command, "stream", stream)
    arguments = ["--source", source, "--api-url", "http://127.0.0.1:9"]
    result = CliRunner().invoke(live_command.command, arguments)
    if lost_samples and source == "a.wav":
        assert isinstance(result.exception, SoundLostError)
        assert (result.exception.exit_code, "4096 samples (0.26 s) of a.wav" in str(result.exception)) == (8, True)
    else:
        assert result.exception is None, result.output
