"""Streams that a sound server has moved to another source, which neither PortAudio nor ALSA tells.

PulseAudio does that when a source goes away while another is there, or when somebody asks it to; PipeWire's server for
PulseAudio's clients answers in the same way. Both are asked through `pactl`, where that is installed; else nothing is
told. Of several streams that one process opens at the same moment, one may be taken for the other.
"""

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from ravatar_audio.capture.worker import Errand

_LIMIT_S = 2.0
_BLOCK = re.compile(r"^Source Output #(\d+)$(.*?)(?=^Source Output #|\Z)", re.MULTILINE | re.DOTALL)
_CLIENT_LIBRARIES = (b"/libpulse.so", b"/libpipewire-0.3.so")

_claimed: set[str] = set()
"""Streams of this process that are watched."""
_claiming = threading.Lock()


def parse_outputs(text: str, pid: int) -> dict[str, str]:
    """The source's number of each stream of this process, by the stream's; from `pactl list source-outputs`. Pure."""
    found = {}
    for number, body in _BLOCK.findall(text):
        source = re.search(r"^\s*Source: (\d+)$", body, re.MULTILINE)
        owner = re.search(r'^\s*application\.process\.id = "(\d+)"$', body, re.MULTILINE)
        if source and owner and int(owner[1]) == pid:
            found[number] = source[1]
    return found


def parse_sources(text: str) -> dict[str, str]:
    """Names of sources by their number; from `pactl list short sources`. Pure."""
    fields = [line.split("\t") for line in text.splitlines()]
    return {field[0]: field[1] for field in fields if len(field) > 1}


class Moves:
    """Watches the newest stream of this process at the sound server. Making and closing it may block for a moment."""

    def __init__(self) -> None:
        self._subscription: subprocess.Popen[bytes] | None = None
        self._output: str | None = None
        self._source = ""
        if not is_client() or shutil.which("pactl") is None:
            return
        subscription = _start("subscribe")  # before the first look, so that no move falls between the two
        with _claiming:
            outputs = {number: source for number, source in _outputs().items() if number not in _claimed}
            if not outputs:
                _end(subscription)
                return
            self._output = max(outputs, key=int)
            _claimed.add(self._output)
        self._source = _sources().get(outputs[self._output], "")
        assert subscription.stdout is not None
        os.set_blocking(subscription.stdout.fileno(), False)
        self._subscription = subscription

    def may_have_happened(self) -> bool:
        """Whether the server has told of any stream since this was asked last. Never blocks."""
        if self._subscription is None or self._subscription.stdout is None:
            return False
        told = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._subscription.stdout.fileno(), 65_536):
                told += piece
        return b"source-output" in told

    def look(self) -> str | None:
        """What happened to the stream, once, or None. Blocks for a moment."""
        if self._output is None or (number := _outputs().get(self._output)) is None:
            return None
        before, self._source = self._source, _sources().get(number, self._source)
        if before == self._source:
            return None
        return f"the sound server moved the stream from {before!r} to {self._source!r}"

    def close(self) -> None:
        """May be called again."""
        with _claiming:
            _claimed.discard(self._output or "")
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            _end(subscription)


class MoveWatch:
    """Moves without blocking: step() is to be called often, and what may block runs in threads."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called, in a thread, when step() has something to look at."""
        self._wake = wake
        self._moves: Moves | None = None
        self._making: Errand[Moves] | None = Errand(Moves, Moves.close, wake)
        self._making.start()
        self._looking: Errand[str | None] | None = None

    def step(self) -> str | None:
        """What happened to the stream, once, or None."""
        if self._making is not None:
            if not self._making.has_ended:
                return None
            making, self._making = self._making, None
            with contextlib.suppress(OSError):  # no process could be started: then nothing is told
                self._moves = making.take()
        if self._looking is not None:
            if not self._looking.has_ended:
                return None
            looking, self._looking = self._looking, None
            with contextlib.suppress(OSError):
                return looking.take()
        if self._moves is not None and self._moves.may_have_happened():
            self._looking = Errand(self._moves.look, lambda _: None, self._wake)
            self._looking.start()
        return None

    def close(self) -> None:
        """May block for a moment."""
        if self._making is not None:
            self._making.abandon()
        if self._moves is not None:
            self._moves.close()


def is_client() -> bool:
    """This process has a sound server's library in use; looking for one must not start it."""
    with contextlib.suppress(OSError):
        maps = Path("/proc/self/maps").read_bytes()
        return any(library in maps for library in _CLIENT_LIBRARIES)
    return False


def _start(*words: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"LC_ALL": "C"}
    return subprocess.Popen(  # noqa: S603
        ["pactl", *words],  # noqa: S607
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # An interrupt from the keyboard is for the program, which ends this when it ends.
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    with process:  # closes the pipe and reaps it
        process.kill()


def _ask(*words: str) -> str:
    with _start(*words) as process:
        try:
            return process.communicate(timeout=_LIMIT_S)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            process.kill()
            return ""


def _outputs() -> dict[str, str]:
    return parse_outputs(_ask("list", "source-outputs"), os.getpid())


def _sources() -> dict[str, str]:
    return parse_sources(_ask("list", "short", "sources"))
