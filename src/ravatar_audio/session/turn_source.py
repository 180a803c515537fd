"""A source with a gate in front of it: only turns come through."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import trio

from ravatar_audio.capture import Source
from ravatar_audio.frames import Frame
from ravatar_audio.turns import Gate, Mode, Outcome, TurnEvent


class TurnSource:
    """The frames of a gate's turns, as an async context manager and iterator over a source that it opens and closes:

        async with TurnSource(Microphone(), Gate("ptt")) as turns, LiveSession(settings, turns) as live:
            turns.press()

    `on_event` is called with each event in its place between the frames, when these are taken; it must return at once.
    Controls take effect now, or at `at_s` (seconds of time.monotonic()), and return at once; raises what Gate raises.
    """

    def __init__(self, source: Source, gate: Gate, *, on_event: Callable[[TurnEvent], None] | None = None) -> None:
        self.source, self.gate = source, gate
        self._on_event = on_event
        self._ready: deque[Outcome] = deque()
        self._is_over = False

    @property
    def is_real_time(self) -> bool:
        """Sound comes whether it is taken or not, as the source says."""
        return self.source.is_real_time

    async def __aenter__(self) -> Self:
        await self.source.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.source.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        """The next frame of a turn. Never loses one to a cancellation."""
        await trio.lowlevel.checkpoint()
        while True:
            while self._ready:
                outcome = self._ready.popleft()
                if isinstance(outcome, Frame):
                    return outcome
                if self._on_event is not None:
                    self._on_event(outcome)
            if self._is_over:
                raise StopAsyncIteration
            try:
                frame = await anext(self.source)
            except StopAsyncIteration:
                self._is_over = True
                self._ready += self.gate.finish()
            else:
                self._ready += self.gate.feed(frame)
                self.source.flush_at(self.gate.flush_at)

    def press(self, at_s: float | None = None) -> None:
        """Push-to-talk's button went down."""
        self._tell(self.gate.press(_now_s(at_s)))

    def release(self, at_s: float | None = None) -> None:
        """Push-to-talk's button went up."""
        self._tell(self.gate.release(_now_s(at_s)))

    def mute(self, at_s: float | None = None) -> None:
        """Hear nothing; an open turn ends."""
        self._tell(self.gate.mute(_now_s(at_s)))

    def unmute(self, at_s: float | None = None) -> None:
        """Hear again."""
        self._tell(self.gate.unmute(_now_s(at_s)))

    def set_mode(self, mode: Mode | str, at_s: float | None = None) -> None:
        """Change how turns are taken; an open turn ends."""
        self._tell(self.gate.set_mode(mode, _now_s(at_s)))

    def call_off(self, at_s: float | None = None) -> None:
        """Cancel the open turn."""
        self._tell(self.gate.call_off(_now_s(at_s)))

    def avatar_speaks(self, at_s: float | None = None) -> None:
        """Half-duplex: be deaf to what is not a barge-in."""
        self._tell(self.gate.avatar_speaks(_now_s(at_s)))

    def avatar_ends(self, at_s: float | None = None) -> None:
        """Half-duplex: hear again when the echo has died away."""
        self._tell(self.gate.avatar_ends(_now_s(at_s)))

    def _tell(self, outcomes: Sequence[Outcome]) -> None:
        self._ready += outcomes
        if outcomes:
            self.source.request_flush()  # whoever waits for the source gets what is ready with the next block
        else:
            self.source.flush_at(self.gate.flush_at)


def _now_s(at_s: float | None) -> float:
    return time.monotonic() if at_s is None else at_s
