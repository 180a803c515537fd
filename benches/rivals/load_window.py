"""What the harnesses that `benches.load` compares have in common: messages, schedule, and what is measured of them."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

from ravatar_audio.observe.histogram import Histogram

SETTLE_S = 3.0
"""From the last client's coming, and before the first one's going: what lies between is measured."""


def schedule(clients: int, ramp: float, seconds: float) -> tuple["Window", list[float], float]:
    """The window, when each client is due, and when all end; by time.monotonic()."""
    begin_s = time.monotonic() + 0.5
    up_s = begin_s + clients / ramp
    end_s = up_s + seconds + 2 * SETTLE_S
    return Window(up_s + SETTLE_S, end_s - SETTLE_S), [begin_s + number / ramp for number in range(clients)], end_s


def envelope(user: str, session: str, license_id: str) -> dict[str, Any]:
    """A live message but for its sound."""
    return {
        "avatar_id": "ava", "user_id": user, "language": "en-US", "source": "bench", "isLive": True,
        "session": session, "chat_type": "voice", "requestType": "audio", "LicenseId": license_id,
    }  # fmt: skip


def frames(number: int) -> Iterator[bytes]:
    """Sound for ever: one second of speech-like level, two of quiet."""
    loud, quiet = bytes([0, 4]) * 4_096, bytes([1, 0]) * 4_096
    return itertools.islice(itertools.cycle([loud] * 4 + [quiet] * 8), number % 12, None)


class Window:
    """Lateness of frames, frames and CPU of this process, within the window."""

    def __init__(self, begin_s: float, end_s: float) -> None:
        self._begin_s, self._end_s = begin_s, end_s
        self._late = Histogram()
        self._cpu_s = [0.0, 0.0]

    def note(self, now_s: float, due_s: float) -> None:
        """A frame's task runs."""
        if self._begin_s <= due_s < self._end_s:
            self._late.record(max(0.0, now_s - due_s))

    async def watch_asyncio(self) -> None:
        """Read the processor's clock at both ends."""
        await asyncio.sleep(self._begin_s - time.monotonic())
        self.mark(0)
        await asyncio.sleep(self._end_s - time.monotonic())
        self.mark(1)

    def watch_blocking(self) -> None:
        """The same, for a greenlet or a thread."""
        for number, at_s in enumerate((self._begin_s, self._end_s)):
            time.sleep(max(0.0, at_s - time.monotonic()))
            self.mark(number)

    def mark(self, number: int) -> None:
        """Read it at the beginning (0) or the end (1)."""
        self._cpu_s[number] = time.process_time()

    def told(self, failed: int) -> dict[str, float]:
        """For JSON."""
        return {
            "cores": (self._cpu_s[1] - self._cpu_s[0]) / (self._end_s - self._begin_s),
            "p99_s": self._late.percentile_s(0.99),
            "frames": self._late.count,
            "failed": failed,
        }
