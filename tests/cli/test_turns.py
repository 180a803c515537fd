"""Turns on the command line: the space bar in a terminal, signals for a button, the platform's choice of a mode."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.cli.test_commands import COMMAND, LIMIT_S, emulator, ended, environment, run

__all__ = ["environment"]


class Terminal:
    """A program on a terminal of its own: what it shows, and keys for it."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self._main, side = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=environment | {"COLUMNS": "120"},
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(side)
        self.shown = ""

    def type(self, data: bytes) -> None:
        os.write(self._main, data)

    def read(self, seconds: float) -> None:
        """Take what is shown for so long."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            if select.select([self._main], [], [], left_s)[0]:
                try:
                    self.shown += os.read(self._main, 65_536).decode("utf-8", "replace")
                except OSError:  # the program has gone
                    return

    def wait_shown(self, text: str) -> None:
        deadline_s = time.monotonic() + LIMIT_S
        while text not in self.shown:
            assert time.monotonic() < deadline_s, f"{text!r} is not in {self.shown[-2_000:]!r}"
            assert self.process.poll() is None, self.shown[-2_000:]
            self.read(0.02)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT_S)
        os.close(self._main)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextlib.contextmanager
def terminal(environment: dict[str, str], *arguments: str) -> Iterator[Terminal]:
    it = Terminal(environment, *arguments)
    try:
        yield it
    finally:
        it.close()


def test_the_space_bar_is_a_button_and_its_last_word_is_sent(environment: dict[str, str], tmp_path: Path) -> None:
    with emulator(environment, tmp_path / "heard") as (url, process):
        arguments = ["live", "--api-url", url, "--source", "synthetic:speech", "--mode", "ptt"]
        arguments += ["--trailing-silence-ms", "0"]  # only what was said is counted
        with terminal(environment, *arguments) as live:
            live.wait_shown("hold the space bar")
            live.wait_shown("ready")
            assert "\x1b[?u" in live.shown, "the terminal is asked whether it tells releases"
            began_s = time.monotonic()
            for _ in range(30):  # no release is told: repeats that cease
                live.type(b" ")
                live.read(0.04)
            live.wait_shown("SENDING")
            live.shown = ""
            live.wait_shown("ready")
            most_s = 0.3 + time.monotonic() - began_s
            live.type(b"m")
            live.wait_shown("muted")
            live.type(b"\x03")
            live.read(3.0)
            assert live.process.wait(LIMIT_S) == 130
        counted = ended(process)
    assert counted["violations"] == 0
    assert 5 <= counted["frames"] <= 1 + most_s / 0.256, "1.2 s or more, pre-roll and tail"


def test_a_terminal_with_the_kitty_protocol_tells_a_tap_from_a_press(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with emulator(environment, tmp_path / "heard") as (url, process):
        arguments = ["live", "--api-url", url, "--source", "synthetic:speech", "--mode", "ptt"]
        arguments += ["--trailing-silence-ms", "0"]  # only what was said is counted
        with terminal(environment, *arguments) as live:
            live.wait_shown("\x1b[?u")
            live.type(b"\x1b[?0u")
            live.wait_shown("\x1b[>11u")
            live.wait_shown("ready")
            live.type(b"\x1b[32u\x1b[32;1:3u")  # a tap
            live.read(0.8)
            assert "SENDING" not in live.shown
            live.type(b"\x1b[32u")
            live.wait_shown("SENDING")
            live.type(b"\x1b[32;1:3u")
            live.shown = ""
            live.wait_shown("ready")
            live.type(b"\x1b[99;5u")
            live.wait_shown("\x1b[<u")
            assert live.process.wait(LIMIT_S) == 130
        assert ended(process)["frames"] >= 2


def lines_until(process: subprocess.Popen[str], wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    assert process.stdout is not None
    lines: list[dict[str, Any]] = []
    for line in process.stdout:
        lines.append(json.loads(line))
        if wanted(lines[-1]):
            return lines
    raise AssertionError(f"it ended after {lines}")


def kind_is(kind: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: line.get("kind") == kind


def test_signals_are_a_hardware_button(environment: dict[str, str], tmp_path: Path) -> None:
    with emulator(environment, tmp_path / "heard") as (url, process):
        arguments = ["live", "--api-url", url, "--source", "synthetic:speech", "--mode", "ptt", "--json"]
        live = subprocess.Popen(
            [*COMMAND, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            lines_until(live, lambda line: line["event"] == "ConnectionMessage")
            for _ in range(2):
                live.send_signal(signal.SIGUSR1)
                started = lines_until(live, kind_is("started"))[-1]
                live.send_signal(signal.SIGUSR2)
                end = lines_until(live, kind_is("ended"))[-1]
                assert end["reason"] == "released"
                assert end["position_samples"] - started["position_samples"] >= 3_200 + 3_200, (
                    "held long enough, and the tail"
                )
            live.send_signal(signal.SIGINT)
            assert live.wait(LIMIT_S) == 130
        finally:
            live.kill()
            live.wait()
            assert live.stdout is not None
            live.stdout.close()
        assert ended(process)["frames"] >= 4


def test_what_is_no_microphone_goes_as_it_is_although_the_platform_wants_a_button(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with emulator(environment, tmp_path / "heard") as (url, process):
        arguments = ["live", "--api-url", url, "--source", "synthetic:speech", "--seconds", "0.6", "--linger", "0.2"]
        result = run(environment, *arguments)
        assert result.returncode == 0, result.stderr
        assert "mode open" in result.stderr, "without a terminal it logs"
        assert "in 1 turns" in result.stderr
        ended(process)


def test_values_out_of_range_are_one_clear_line(environment: dict[str, str]) -> None:
    result = run(environment, "live", "--source", "synthetic:tone", "--tail-ms", "6000")
    assert result.returncode == 2
    assert "tail_ms is 6000; it must be 0 to 5000" in result.stderr
