"""bare.c in Python: what a wake-up and a written message take on this machine without interpreter or library."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from .virtual_microphone import build_program

SOURCE = Path(__file__).with_name("bare.c")


class Bare:
    """The program, built. Messages go to a WebSocket server of this machine, and have `payload_bytes` of zeros."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def paced_s(self, url: str, payload_bytes: int, count: int, period_s: float) -> list[list[float]]:
        """Of each message when it was ready, when the thread was awake, and when it was written."""
        output = self._run(url, payload_bytes, count, period_s)
        return [[int(word) * 1e-9 for word in line.split()] for line in output.splitlines()]

    def cpu_s(self, url: str, payload_bytes: int, count: int) -> float:
        """Processor time for each message of many in a row."""
        return int(self._run(url, payload_bytes, count, 0.0)) * 1e-9

    def _run(self, url: str, payload_bytes: int, count: int, period_s: float) -> str:
        parts = urlsplit(url)
        words = [parts.port, parts.path, int(parts.scheme == "wss"), payload_bytes, count, round(period_s * 1e9)]
        done = subprocess.run(
            [str(self._program), *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60 + count * period_s,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the program without interpreter failed: {done.stderr.strip()}")
        return done.stdout


@contextmanager
def bare_program() -> Iterator[Bare]:
    """Build it; raises Missing where there is no compiler."""
    with tempfile.TemporaryDirectory() as folder:
        yield Bare(build_program(SOURCE, Path(folder, "bare"), "-lpthread", "-ldl"))
