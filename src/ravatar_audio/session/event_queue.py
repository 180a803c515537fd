"""What a session has to say, until somebody takes it: bounded in number and size, the oldest dropped and counted."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

from ravatar_audio.session.events import LiveEvent

QUEUED_EVENTS = 1_000
QUEUED_CHARACTERS = 32 * 1024 * 1024
"""Most characters of the messages that wait, as they came; a reply may hold megabytes of sound."""


class EventIterator:
    """An iterator that may be left at any time and taken up again; no event is lost by that."""

    def __init__(self, next_event: Callable[[], Awaitable[LiveEvent]]) -> None:
        self._next_event = next_event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LiveEvent:
        return await self._next_event()


class EventQueue:
    """First in, first out. One that is too large by itself is kept."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[LiveEvent, int]] = deque()
        self._characters = 0
        self.dropped: int = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: LiveEvent, characters: int = 0) -> None:
        """Add an event that came in a message of so many characters."""
        self._waiting.append((event, characters))
        self._characters += characters
        while len(self._waiting) > QUEUED_EVENTS or (self._characters > QUEUED_CHARACTERS and len(self._waiting) > 1):
            self.take()
            self.dropped += 1

    def take(self) -> LiveEvent:
        """Take the oldest."""
        event, characters = self._waiting.popleft()
        self._characters -= characters
        return event
