"""Streams that a sound server has moved to another source, which neither PortAudio nor ALSA tells.

PulseAudio does that when a source goes away while another is there, or when somebody asks it to; PipeWire's server for
PulseAudio's clients answers in the same way. Both are asked through `pactl`, where that is installed; else nothing is
told. Of several streams that one process opens at the same moment, one may be taken for the other.
"""

import contextlib
import threading
from collections.abc import Callable

from ravatar_audio.capture.pactl import Program, can_be_asked, list_outputs, list_sources, subscribe
from ravatar_audio.capture.worker import Errand

_claimed: set[str] = set()
"""Streams of this process that are watched."""
_claiming = threading.Lock()


class Moves:
    """Watches the newest stream of this process at the sound server. Making and closing it may block for a moment."""

    def __init__(self) -> None:
        self._subscription: Program | None = None
        self._output: str | None = None
        self._source = ""
        if not can_be_asked():
            return
        subscription = subscribe()  # before the first look, so that no move falls between the two
        with _claiming:
            outputs = {number: source for number, source in list_outputs().items() if number not in _claimed}
            if not outputs:
                subscription.close()
                return
            self._output = max(outputs, key=int)
            _claimed.add(self._output)
        self._source = _name(outputs[self._output])
        self._subscription = subscription

    def may_have_happened(self) -> bool:
        """Whether the server has told of any stream since this was asked last. Never blocks."""
        if self._subscription is None:
            return False
        with contextlib.suppress(EOFError):
            return b"source-output" in self._subscription.read()
        return False

    def look(self) -> str | None:
        """What happened to the stream, once, or None. Blocks for a moment."""
        if self._output is None or (source := list_outputs().get(self._output)) is None:
            return None
        before, self._source = self._source, _name(source, self._source)
        if before == self._source:
            return None
        return f"the sound server moved the stream from {before!r} to {self._source!r}"

    def close(self) -> None:
        """May be called again."""
        with _claiming:
            _claimed.discard(self._output or "")
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()


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


def _name(source: str, otherwise: str = "") -> str:
    listed = list_sources().get(source)
    return otherwise if listed is None else listed.name
