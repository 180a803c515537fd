"""What is heard of a session while it lasts: the one interface between sessions and whoever watches them. Pure."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ravatar_audio.frames import Frame
from ravatar_audio.observe.log import line_logger

log: logging.Logger = line_logger(__name__)


class ObservedSession(Protocol):
    """What an observer may ask of a session, in the session's own thread."""

    @property
    def is_linked(self) -> bool:
        """Its WebSocket is open."""

    def observed(self) -> Mapping[str, object]:
        """Statistics by where they come from: "live", and where there are any "gate", "capture" and "voice"."""

    def redact(self, text: str) -> str:
        """The text with the session's secrets hidden."""


class Observer:
    """Hears what happens to a session's sound; here each method does nothing.

    All are called in the session's thread, between two frames: they must return at once, and never raise. Events are
    the frozen dataclasses that a program gets as well (turns, microphone, link, the platform's messages); what an
    observer does with them it decides by their names, as the rooms that they come from are above this one.
    """

    def for_session(self) -> "Observer":
        """What hears of one more session: this one, or one of its own."""
        return self

    def begun(self, session: ObservedSession) -> None:
        """The session is entered; nothing of it is there yet."""

    def captured(self, frame: Frame) -> None:
        """A frame has come from the source, before the gate."""

    def taken(self, frame: Frame) -> None:
        """The session has it, to be sent: of a turn, where there is a gate."""

    def written(self, frame: Frame, lost_samples: int, is_repeated: bool) -> None:
        """A frame's message is in the socket. `lost_samples`: missing before it, since the one written before."""

    def acknowledged(self, frame: Frame) -> None:
        """The peer's system has it; heard with the next frame that is captured, so up to 0.26 s later."""

    def dropped(self, frame: Frame, cause: str) -> None:
        """It will not be sent any more: "outbox", or "in_flight"."""

    def happened(self, event: object) -> None:
        """An event."""

    def failed(self, error: Exception) -> None:
        """What has ended the session."""

    def ended(self, session: ObservedSession) -> None:
        """The session has been left; its counters are final."""


class Observers(Observer):
    """Several observers as one. One that raises is logged, the first time, and ends neither the session nor others."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._broken: set[int] = set()

    def begun(self, session: ObservedSession) -> None:
        self._each(lambda observer: observer.begun(session))

    def captured(self, frame: Frame) -> None:
        self._each(lambda observer: observer.captured(frame))

    def taken(self, frame: Frame) -> None:
        self._each(lambda observer: observer.taken(frame))

    def written(self, frame: Frame, lost_samples: int, is_repeated: bool) -> None:
        self._each(lambda observer: observer.written(frame, lost_samples, is_repeated))

    def acknowledged(self, frame: Frame) -> None:
        self._each(lambda observer: observer.acknowledged(frame))

    def dropped(self, frame: Frame, cause: str) -> None:
        self._each(lambda observer: observer.dropped(frame, cause))

    def happened(self, event: object) -> None:
        self._each(lambda observer: observer.happened(event))

    def failed(self, error: Exception) -> None:
        self._each(lambda observer: observer.failed(error))

    def ended(self, session: ObservedSession) -> None:
        self._each(lambda observer: observer.ended(session))

    def _each(self, call: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                call(observer)
            except Exception:
                if id(observer) not in self._broken:
                    self._broken.add(id(observer))
                    log.exception("the observer %s has raised; the session goes on", type(observer).__name__)


class Settling(Observer):
    """Passes all of it on, and asks before each captured frame what has been acknowledged: the system has no event."""

    def __init__(self, observer: Observer, settle: Callable[[], None]) -> None:
        self._observer, self._settle = observer, settle

    def captured(self, frame: Frame) -> None:
        self._settle()
        self._observer.captured(frame)

    def happened(self, event: object) -> None:
        self._observer.happened(event)
