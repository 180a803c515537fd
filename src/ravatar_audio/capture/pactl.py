"""What a sound server tells through its own programs: PulseAudio, and PipeWire's server for PulseAudio's clients."""

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from ravatar_audio.capture.servers import ask_program

_BLOCK = re.compile(r"^Source Output #(\d+)$(.*?)(?=^Source Output #|\Z)", re.MULTILINE | re.DOTALL)
_CLIENT_LIBRARIES = (b"/libpulse.so", b"/libpipewire-0.3.so")


class Listed(NamedTuple):
    """A source of the server."""

    name: str
    is_suspended: bool


def parse_outputs(text: str, pid: int) -> dict[str, str]:
    """The source's number of each stream of this process, by the stream's; from `pactl list source-outputs`. Pure."""
    found = {}
    for number, body in _BLOCK.findall(text):
        source = re.search(r"^\s*Source: (\d+)$", body, re.MULTILINE)
        owner = re.search(r'^\s*application\.process\.id = "(\d+)"$', body, re.MULTILINE)
        if source and owner and int(owner[1]) == pid:
            found[number] = source[1]
    return found


def parse_sources(text: str) -> dict[str, Listed]:
    """Sources by their number; from `pactl list short sources`. Pure."""
    fields = [line.split("\t") for line in text.splitlines()]
    return {field[0]: Listed(field[1], field[-1] == "SUSPENDED") for field in fields if len(field) > 1}


def list_outputs() -> dict[str, str]:
    """As parse_outputs(), of this process; empty where nobody answers. Blocks for a moment."""
    return parse_outputs(ask_program("pactl", "list", "source-outputs"), os.getpid())


def list_sources() -> dict[str, Listed]:
    """As parse_sources(); empty where nobody answers. Blocks for a moment."""
    return parse_sources(ask_program("pactl", "list", "short", "sources"))


def can_be_asked() -> bool:
    """There is a pactl, and this process has a sound server's library in use."""
    return is_client() and shutil.which("pactl") is not None


def is_client() -> bool:
    """This process has a sound server's library in use; looking for one must not start it."""
    with contextlib.suppress(OSError):
        maps = Path("/proc/self/maps").read_bytes()
        return any(library in maps for library in _CLIENT_LIBRARIES)
    return False


class Program:
    """One of the server's programs, and what it prints. Making and closing it may block for a moment."""

    def __init__(self, *command: str) -> None:
        """Raises OSError when it cannot be started."""
        self._process = subprocess.Popen(  # noqa: S603
            command,
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # An interrupt from the keyboard is for the program, which ends this when it ends.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.fd = self._process.stdout.fileno()
        os.set_blocking(self.fd, False)

    def read(self) -> bytes:
        """All that has been printed since the last call. Never blocks; raises EOFError when no more will come."""
        printed = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.fd, 65_536):
                printed += piece
            raise EOFError
        return printed

    def close(self) -> None:
        """End it, and close its pipe. Once."""
        with self._process:
            self._process.kill()


def subscribe() -> Program:
    """A line for each thing that changes at the server. Raises OSError."""
    return Program("pactl", "subscribe")


def record(source: str) -> Program:
    """What a source gives. Raises OSError."""
    return Program("parec", f"--device={source}", "--latency-msec=100")
