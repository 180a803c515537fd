"""How long the user waits: from the end of a turn to the first reply. Pure."""

from ravatar_audio.observe.histogram import Distribution, Histogram
from ravatar_audio.session.events import TurnAnswered


class ReplyTime:
    """Measures from the newest turn that has ended; a reply while nothing has ended is none to it.

    A turn ends with its last sample, hangover and tail included; what was sent by hand, with the call that sent it.
    """

    def __init__(self) -> None:
        self._ended_s: float | None = None
        self._turn: int | None = None
        self._times = Histogram()

    def note_end(self, at_s: float, turn: int | None = None) -> None:
        """Note that a turn has ended at `at_s`, in seconds of time.monotonic(), or that a message was sent then."""
        self._ended_s, self._turn = at_s, turn

    def note_reply(self, now_s: float) -> TurnAnswered | None:
        """Note a reply; return the event when it is the first to what has ended."""
        if self._ended_s is None:
            return None
        after_s = max(0.0, now_s - self._ended_s)
        self._ended_s = None
        self._times.record(after_s)
        return TurnAnswered(after_s, self._turn)

    def distribution(self) -> Distribution:
        """Return the times measured so far."""
        return self._times.distribution()
