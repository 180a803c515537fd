"""What a share of clients counts: by second of the run and by phase, in pieces that can be merged exactly. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ravatar_audio.observe.histogram import Histogram

PHASES = (
    "token", "connection", "start", "link", "ready", "first_reply", "message_lateness", "reconnect", "end",
    "own_lateness",
)  # fmt: skip
"""What is timed, in the order of a client's life.

token, connection, start, end: HTTP requests that were of use. link: the WebSocket's handshake with look-up and TLS.
ready: from when a client was due to its session's beginning. first_reply: from when the last sound of an utterance was
due (a written message: from when that was) to the reply. message_lateness: from when a message's last sample was due
until it was written. reconnect: from a link's loss to the next one. own_lateness: the generator's, from when a client
or a frame was due until its task ran: what is in all the others too.
"""


class Second:
    """What was counted in one second of the run."""

    __slots__ = ("counts", "times")

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.times: dict[str, Histogram] = {}

    def record(self, phase: str, value_s: float) -> None:
        """Record one duration."""
        histogram = self.times.get(phase)
        if histogram is None:
            histogram = self.times[phase] = Histogram()
        histogram.record(max(0.0, value_s))

    def add(self, other: "Second") -> None:
        """Count what the other one has counted too."""
        self.counts.update(other.counts)
        for phase, histogram in other.times.items():
            self.times.setdefault(phase, Histogram()).add(histogram)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        times = {phase: histogram.as_dict() for phase, histogram in self.times.items()}
        return {"counts": dict(self.counts), "times": times}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Second":
        """Make it from what `as_dict` gave."""
        made = cls()
        made.counts.update({str(name): int(count) for name, count in data["counts"].items()})
        made.times = {str(phase): Histogram.from_dict(values) for phase, values in data["times"].items()}
        return made


class Tally:
    """The seconds of a share that have not been handed over yet."""

    def __init__(self) -> None:
        self._seconds: dict[int, Second] = {}

    def at(self, now_s: float) -> Second:
        """Return the second of a moment, from the run's beginning."""
        number = int(now_s // 1)
        second = self._seconds.get(number)
        if second is None:
            second = self._seconds[number] = Second()
        return second

    def take(self, before_s: float = float("inf")) -> dict[str, Any]:
        """Hand over the seconds that have ended by then, for JSON: a few kB each."""
        over = sorted(number for number in self._seconds if number + 1 <= before_s)
        return {str(number): self._seconds.pop(number).as_dict() for number in over}


def total(seconds: Iterable[Second]) -> Second:
    """Return all of them in one."""
    made = Second()
    for second in seconds:
        made.add(second)
    return made
