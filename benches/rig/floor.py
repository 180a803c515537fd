"""floor.c in Python: what a wake-up and a message, made and written, take on this machine without an interpreter."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ravatar_audio.frames import FRAME_BYTES

from ..report.machine import Missing
from .virtual_microphone import build_program

SOURCE = Path(__file__).with_name("floor.c")
CORE = Path(__file__).resolve().parents[2] / "csrc"


class Floor:
    """The program, built. Messages go to a WebSocket server of this machine; `affixes` go around the sound's text."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def paced_s(self, url: str, affixes: tuple[str, str], count: int, period_s: float) -> list[list[float]]:
        """Of each message when its sound was ready, the thread awake, the message made, and the message written."""
        output = self._run(url, affixes, count, period_s)
        return [[int(word) * 1e-9 for word in line.split()] for line in output.splitlines()]

    def cpu_s(self, url: str, affixes: tuple[str, str], count: int) -> float:
        """Processor time for each message of many in a row."""
        return int(self._run(url, affixes, count, 0.0)) * 1e-9

    def _run(self, url: str, affixes: tuple[str, str], count: int, period_s: float) -> str:
        parts = urlsplit(url)
        words = [parts.port, parts.path, int(parts.scheme == "wss"), *affixes, FRAME_BYTES, count]
        done = subprocess.run(
            [str(self._program), *map(str, words), str(round(period_s * 1e9))],
            capture_output=True,
            text=True,
            timeout=60 + count * period_s,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the program without interpreter failed: {done.stderr.strip()}")
        return done.stdout


def lacking() -> str | None:
    """Why the program cannot be built here, or None: it makes messages by the core's own source."""
    return None if CORE.is_dir() else "needs the C sources: a checkout of the project"


@contextmanager
def floor_program() -> Iterator[Floor]:
    """Build it; raises Missing where there is no compiler, or no source of the core."""
    reason = lacking()
    if reason is not None:
        raise Missing(reason)
    with tempfile.TemporaryDirectory() as folder:
        flags = ("-O3", f"-I{CORE}", str(CORE / "wire" / "rva_message.c"), "-lpthread", "-ldl")
        yield Floor(build_program(SOURCE, Path(folder, "floor"), *flags))
