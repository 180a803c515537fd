"""The commands as a user runs them: results, exit codes, one clear line for what goes wrong, clean interruption."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COMMAND = [sys.executable, "-m", "ravatar_audio"]
LIMIT_S = 180


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The user's environment without settings, and with a state folder of the test's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAVATAR_", "VITE_"))}
    return kept | {"RAVATAR_STATE_DIR": str(tmp_path / "state"), "PYTHONFAULTHANDLER": "1"}


def run(environment: dict[str, str], *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [*COMMAND, *arguments], env=environment, input=stdin, capture_output=True, timeout=LIMIT_S, check=False
    )
    decoded = subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
    )
    assert "Traceback" not in decoded.stderr + decoded.stdout
    return decoded


@contextmanager
def emulator(environment: dict[str, str], folder: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The emulator as a process of its own, and its address."""
    process = subprocess.Popen(
        [*COMMAND, "emulator", "--port", "0", "--json", "--wav-dir", str(folder), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        words = process.stderr.readline().split()
        assert words[:2] == ["listening", "on"], words
        yield words[2], process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(LIMIT_S)
        process.stderr.close()
        if process.stdout is not None:
            process.stdout.close()


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Interrupt the emulator and read what it counted."""
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "Traceback" not in errors
    counted: dict[str, Any] = json.loads(output.splitlines()[-1])
    return counted


def write_wav(path: Path, samples: np.ndarray[Any, np.dtype[np.int16]], rate_hz: int = 16_000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())
    return path


def read_wav(path: str) -> np.ndarray[Any, np.dtype[np.int16]]:
    with wave.open(path, "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def test_the_demo_carries_every_sample_to_the_platform(environment: dict[str, str], tmp_path: Path) -> None:
    result = run(
        environment, "demo", "--seconds", "3", "--json", "--ring-ms", "5000", "--wav-dir", str(tmp_path / "heard")
    )
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["frames_sent"] == summary["frames_received"] == 12
    assert summary["samples_captured"] == summary["samples_received"] == 48_000
    assert summary["samples_lost"] == 0
    assert 0 < summary["age_at_send_ms"]["p50"] <= summary["age_at_send_ms"]["p99"] <= summary["age_at_send_ms"]["max"]
    heard = read_wav(summary["wav"])
    assert len(heard) >= 48_000
    assert np.abs(heard.astype(int)).max() > 1_000, "something was said"


def test_the_demo_ignores_settings_of_the_real_platform(environment: dict[str, str]) -> None:
    configured = environment | {"RAVATAR_API_URL": "https://127.0.0.1:1", "RAVATAR_PROJECT_ID": "mine"}
    result = run(configured, "demo", "--seconds", "0.5", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["samples_lost"] == 0


def test_a_file_reaches_the_platform_bit_for_bit(environment: dict[str, str], tmp_path: Path) -> None:
    samples = np.random.default_rng(7).integers(-20_000, 20_000, 20_000).astype(np.int16)
    wav = write_wav(tmp_path / "said.wav", samples)
    with emulator(environment, tmp_path / "heard") as (url, process):
        result = run(environment, "live", "--api-url", url, "--source", str(wav), "--linger", "0.3", "--json")
        assert result.returncode == 0, result.stderr
        counted = ended(process)
    assert counted["violations"] == 0
    heard = read_wav(counted["wavs"][0])
    assert np.array_equal(heard[:20_000], samples)
    assert not heard[20_000:].any()
    assert json.loads(result.stdout.splitlines()[-1])["samples_lost"] == 0


def test_a_pipe_reaches_the_platform(environment: dict[str, str], tmp_path: Path) -> None:
    samples = np.random.default_rng(8).integers(-20_000, 20_000, 10_000).astype(np.int16)
    with emulator(environment, tmp_path / "heard") as (url, process):
        arguments = ["live", "--api-url", url, "--source", "-", "--linger", "0.3"]
        result = run(environment, *arguments, stdin=samples.tobytes())
        assert result.returncode == 0, result.stderr
        counted = ended(process)
    assert np.array_equal(read_wav(counted["wavs"][0])[:10_000], samples)


def test_a_pipe_that_ends_or_is_wrong_says_so_with_its_code(environment: dict[str, str], tmp_path: Path) -> None:
    sound = bytes(2 * 1_600)
    cases: list[tuple[bytes, list[str], int, str]] = [
        (b"", [], 2, "has no sound in it"),
        (b"", ["--endless"], 3, "ended before any sound came"),
        (sound + b"x", [], 0, "1 bytes over; is it really 16000 Hz, 1 channel, int16?"),
        (sound, ["--rate", "8000", "--channels", "2", "--format", "int16", "--endless"], 3, "after 0.100 s"),
        (b"fLaC" + sound, [], 2, "begins as FLAC, which is not PCM"),
    ]
    with emulator(environment, tmp_path / "heard") as (url, _):
        for stdin, options, code, said in cases:
            arguments = ["live", "--api-url", url, "--source", "-", "--linger", "0", *options]
            result = run(environment, *arguments, stdin=stdin)
            assert (result.returncode, said in result.stderr) == (code, True), (options, result.stderr)


def test_a_pipe_that_stalls_is_told_and_then_given_up(environment: dict[str, str], tmp_path: Path) -> None:
    with emulator(environment, tmp_path / "heard") as (url, _):
        arguments = ["live", "--api-url", url, "--source", "-", "--pipe-timeout-ms", "1500", "--json"]
        with subprocess.Popen(
            [*COMMAND, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write("\0" * 16_384)
            process.stdin.flush()  # and no more, without an end
            process.wait(LIMIT_S)
            said = process.stderr.read()
            told = [json.loads(line) for line in process.stdout]
    assert process.returncode == 3
    assert "stalled: nothing has come for 0.5 s" in said
    assert "nothing has come from standard input for 1.5 s" in said
    assert "Traceback" not in said
    (stalled,) = [line for line in told if line["event"] == "CaptureEvent"]
    assert (stalled["kind"], stalled["position_samples"]) == ("stalled", 8_192)
    error = told[-1]
    assert (error["event"], error["code"]) == ("error", "media_aborted")
    assert datetime.fromisoformat(stalled["time"]) < datetime.fromisoformat(error["time"])


@pytest.mark.row("meet the debug switch")
def test_the_debug_switches_tell_of_everything_but_secrets(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = ["--source", "synthetic:tone", "--seconds", "0.3", "--linger", "0"]
    with emulator(environment, tmp_path / "heard") as (url, process):
        for switch in ("RAVATAR_DEBUG_LOGS", "VITE_DEBUG_LOGS"):
            result = run(environment | {switch: "true"}, "live", "--api-url", url, *arguments)
            assert result.returncode == 0
            for told in ("/jwt -> 200", "/connection -> 200", "/startLiveSession -> 200", "/endLiveSession -> 200"):
                assert told in result.stderr
            assert "link 1 is up after" in result.stderr
            assert "sent frame 0: 4096 samples" in result.stderr
            assert "eyJ" not in result.stderr, "a token is shown"
        quiet = run(environment, "live", "--api-url", url, *arguments)
        ended(process)
    assert "/jwt" not in quiet.stderr
    assert "HTTP" not in quiet.stderr, "the library's own log"


def test_an_interrupted_demo_shows_what_it_has_done(environment: dict[str, str], tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    demo = subprocess.Popen(
        [*COMMAND, "demo", "--seconds", "3600", "--json", "--wav-dir", str(heard)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline_s = time.monotonic() + LIMIT_S
    while not list(heard.glob("live-*.wav")) and time.monotonic() < deadline_s:  # its first message has arrived
        time.sleep(0.02)
    demo.send_signal(signal.SIGINT)
    told, errors = demo.communicate(timeout=LIMIT_S)
    assert demo.returncode == 130
    assert "Traceback" not in errors
    assert "could not be ended" not in errors, "the platform was there until the session had ended"
    summary = json.loads(told.splitlines()[-1])
    assert summary["frames_sent"] >= summary["frames_received"] > 0
    assert summary["wav"].startswith(str(heard))


def read_until(process: subprocess.Popen[str], *wanted: str) -> None:
    """Read --json's lines until each of these events, or kinds, has come; a turn may begin before the link is up."""
    assert process.stdout is not None
    missing = set(wanted)
    while missing:
        line = process.stdout.readline()
        assert line, f"{missing} did not come"
        event = json.loads(line)
        missing -= {event["event"], event.get("kind")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_an_interrupted_session_is_ended_on_the_platform(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    with emulator(environment, tmp_path / "heard", "--slots", "1") as (url, process):
        live = subprocess.Popen(
            [*COMMAND, "live", "--api-url", url, "--source", "synthetic:tone", "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        read_until(live, "LinkUp", "started")
        live.send_signal(number)
        told, errors = live.communicate(timeout=LIMIT_S)
        summary = json.loads(told.splitlines()[-1])
        assert summary["event"] == "summary"
        assert summary["samples_unsent"] > summary["samples_lost"] == 0, "what was on its way is not called lost"
        assert summary["samples_captured"] == summary["samples_sent"] + summary["samples_unsent"]
        assert live.returncode == 128 + number, errors
        assert "Traceback" not in errors
        # The only slot is free again: a second session can begin.
        again = run(environment, "live", "--api-url", url, "--source", "synthetic:tone", "--seconds", "0.5")
        assert again.returncode == 0, again.stderr
        ended(process)


@contextmanager
def streaming(environment: dict[str, str], url: str) -> Iterator[subprocess.Popen[str]]:
    """`live` in a process of its own, connected."""
    process = subprocess.Popen(
        [*COMMAND, "live", "--api-url", url, "--source", "synthetic:tone", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        read_until(process, "LinkUp")
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LIMIT_S)


@pytest.mark.parametrize("how", ["killed", "interrupted twice"])
def test_a_session_that_could_not_be_ended_is_ended_at_the_next_start(
    environment: dict[str, str], tmp_path: Path, how: str
) -> None:
    slow = () if how == "killed" else ("--fault", "endLiveSession delay=60")
    with emulator(environment, tmp_path / "heard", "--slots", "1", *slow) as (url, process):
        with streaming(environment, url) as live:
            if how == "killed":
                live.kill()
            else:
                live.send_signal(signal.SIGINT)
                with pytest.raises(subprocess.TimeoutExpired):
                    live.wait(0.5)  # it is busy giving the slot back
                live.send_signal(signal.SIGINT)
                told, _ = live.communicate(timeout=LIMIT_S)
                assert live.returncode == 130
                assert "summary" not in told, "it left at once; a session that has been left tells what became of it"
        again = run(environment, "live", "--api-url", url, "--source", "synthetic:tone", "--seconds", "0.5")
        assert again.returncode == 0, again.stderr
        assert ended(process)["live_sessions"] == 2


@pytest.mark.parametrize("name", ["demo", "live", "emulator", "devices", "record", "say"])
def test_every_command_has_help(environment: dict[str, str], name: str) -> None:
    result = run(environment, name, "--help")
    assert result.returncode == 0
    assert "Usage" in result.stdout


def test_version_and_exit_codes_are_told(environment: dict[str, str]) -> None:
    assert run(environment, "--version").stdout.startswith("ravatar-audio, version ")
    text = run(environment, "--help").stdout
    for code in ("2 ", "3 ", "4 ", "5 ", "130"):
        assert f"  {code}" in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nonsense"], 2, "nonsense"),
        (["demo", "--seconds", "x"], 2, "'x'"),
        (["live", "--seconds", "nan"], 2, "no length of time"),
        (["say", "a.wav", "--wait", "inf"], 2, "no length of time"),
        (["live", "--api-url", "nowhere"], 2, "api_url"),
        (["live", "--width", "5000"], 2, "width is 5000"),
        (["live", "--user-id", "a b"], 2, "user_id is 'a b'"),
        (["live", "--settings", "/nowhere.toml"], 2, "/nowhere.toml"),
        (["live", "--source", "/nowhere.wav"], 2, "/nowhere.wav"),
        (["live", "--source", "synthetic:song"], 2, "song"),
        (["live", "--api-url", "http://127.0.0.1:9", "--source", "synthetic:tone"], 4, "127.0.0.1:9"),
        (["live", "--api-url", "http://nowhere.invalid", "--source", "synthetic:tone"], 4, "nowhere.invalid"),
        (["emulator", "--host", "192.0.2.1"], 2, "192.0.2.1"),
        (["emulator", "--fault", "nonsense"], 2, "nonsense"),
    ],
)
def test_what_goes_wrong_is_one_clear_line(
    environment: dict[str, str], arguments: list[str], code: int, said: str
) -> None:
    result = run(environment | {"RAVATAR_REQUEST_TIMEOUT_MS": "3000"}, *arguments)
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 4


def test_an_output_that_is_closed_early_is_no_failure(environment: dict[str, str]) -> None:
    shell = f"{sys.executable} -m ravatar_audio --help | head -1"
    result = subprocess.run(
        ["sh", "-c", shell], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert result.stderr == ""


def test_an_output_that_is_closed_while_a_session_runs_ends_it_without_a_word(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with emulator(environment, tmp_path) as (url, process):
        shell = f"{shlex.join(COMMAND)} live --json --source synthetic:speech --api-url {url} | head -1"
        result = subprocess.run(
            ["sh", "-c", shell], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert json.loads(result.stdout)["event"]
        assert result.stderr == ""
        assert ended(process)["violations"] == 0


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_reply_that_the_terminal_cannot_show_is_shown_escaped(environment: dict[str, str], encoding: str) -> None:
    program = """
import click, ravatar_audio.cli.devices, ravatar_audio.cli
reply = "half: \\ud83d, star: \\u2606"
ravatar_audio.cli.devices.command = click.Command("devices", callback=lambda: click.echo(reply))
ravatar_audio.cli.main(["devices"])
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert result.stderr == b""
    assert result.stdout.startswith(b"half: \\ud83d, star: ")


@pytest.mark.parametrize("place", ["1>/dev/full", "1>&-", "2>&-"])
def test_an_output_that_is_full_or_closed_ends_in_order(
    environment: dict[str, str], tmp_path: Path, place: str
) -> None:
    with emulator(environment, tmp_path) as (url, process):
        line = f"{shlex.join(COMMAND)} live --json --source synthetic:tone --seconds 0.3 --linger 0 --api-url {url}"
        result = subprocess.run(
            ["sh", "-c", f"{line} {place}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert "Traceback" not in result.stderr
        assert result.returncode == (1 if "full" in place else 0)
        assert ("No space left" in result.stderr) == ("full" in place)
        assert ended(process)["violations"] == 0
    assert not list((tmp_path / "state").glob("unended/*"))


def test_a_button_before_the_session_is_up_does_not_end_the_program(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with emulator(environment, tmp_path, "--slots", "0") as (url, _):
        live = subprocess.Popen(
            [*COMMAND, "live", "--mode", "ptt", "--source", "synthetic:tone", "--slot-wait", "60", "--debug"],
            env=environment | {"RAVATAR_API_URL": url},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert live.stderr is not None
        while "startLiveSession" not in live.stderr.readline():
            pass
        live.send_signal(signal.SIGUSR1)
        live.send_signal(signal.SIGINT)
        live.communicate(timeout=LIMIT_S)
        assert live.returncode == 130


@pytest.mark.parametrize(
    "arguments", [["say", "nothing.wav"], ["doctor", "--user-id", "ü", "--no-mic"], ["live", "--source", "nothing.wav"]]
)
def test_a_failure_is_in_the_json_too(environment: dict[str, str], arguments: list[str]) -> None:
    result = run(environment, *arguments, "--json")
    assert result.returncode == 2
    said = json.loads(result.stdout.splitlines()[-1])
    assert said.get("code") == "invalid_settings" or said["findings"][0]["state"] == "problem"


def test_an_interrupt_while_the_command_is_loaded_is_no_traceback(environment: dict[str, str], tmp_path: Path) -> None:
    """Not even where Python would swallow it: in a callback of the import system."""
    interrupted = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    pass
time.sleep(600)
"""
    (tmp_path / "click.py").write_text(interrupted, encoding="utf-8")
    result = run(environment | {"PYTHONPATH": str(tmp_path)}, "demo")
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_how_long_to_wait_for_a_slot_can_come_from_the_environment(environment: dict[str, str], tmp_path: Path) -> None:
    """No slot, and a platform that says so: without the setting the command ends at once."""
    words = ("live", "--source", "synthetic:tone", "--seconds", "0.3", "--json")
    fault = ("--fault", "startLiveSession status=503")
    for wait_s, code in (("0", 5), ("60", 0)):
        with emulator(environment, tmp_path / wait_s, *fault) as (url, _):
            configured = environment | {"RAVATAR_SLOT_WAIT_S": wait_s, "RAVATAR_LINGER_S": "0", "RAVATAR_API_URL": url}
            assert run(configured, *words).returncode == code
