"""A running watch_child: what it tells is waited for, line by line, while the test does something to its microphone."""

import json
import queue
import subprocess
import sys
import tempfile
import threading
from typing import Any, Self

from tests.device.microphones import HasEnvironment

LIMIT_S = 30.0


class Watched:
    """A live session from a microphone of a system that is made up."""

    def __init__(self, system: HasEnvironment, **microphone: Any) -> None:
        """`microphone`: Microphone's arguments."""
        command = [sys.executable, "-m", "tests.device.watch_child", json.dumps(microphone)]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            command,
            env=system.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()
            self._reader.join()
        self._errors.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def until(self, key: str, value: str = "", limit_s: float = LIMIT_S) -> dict[str, Any]:
        """The next line that has this key, with this text in its value if one is given."""
        while True:
            line = self._lines.get(timeout=limit_s)
            if line is None:
                self._errors.seek(0)
                raise AssertionError(f"it ended without {key!r}: {self.seen}\n{self._errors.read()[-4_000:]}")
            self.seen.append(line)
            if key in line and value in str(line[key]):
                return line

    def count(self, event: str) -> int:
        """How often this event has been told by now."""
        return [line["event"] for line in self.seen if "event" in line].count(event)

    def finish(self) -> dict[str, Any]:
        """End it; its last line. The session has been undisturbed, and each sample is accounted for."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        last = self.until("gaps")
        assert self.process.wait(LIMIT_S) == 0
        assert last["is_in_order"], "frame numbers go on"
        assert last["unaccounted"] == 0
        assert last["reconnects"] == last["violations"] == last["unsent"] == 0, "the live session did not notice"
        assert last["session_lost"] == last["given_lost"], "but was told what is missing"
        assert last["heard_lost"] == last["lost"], "all of it"
        return last
