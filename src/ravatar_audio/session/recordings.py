"""The turns of a source as recordings."""

from typing import Self

from ravatar_audio.frames import Frame
from ravatar_audio.session.turn_source import TurnSource
from ravatar_audio.turns import Recording, TurnEventKind, TurnMode


class Recordings:
    """The turns of a TurnSource as recordings of at most `limit_s` seconds (0.1 to 3,600), each when it has ended:

        async with TurnSource.from_settings(settings, microphone) as turns, ChatSession(settings) as chat:
            async for recording in Recordings(turns):
                nursery.start_soon(chat.send_voice, recording)

    Turns that are cancelled are left out. While nobody takes the next one the source's ring holds the sound, for 2 s:
    so send in a task of its own. A cancelled `anext` loses nothing.
    """

    def __init__(self, turns: TurnSource, *, limit_s: float = 120.0) -> None:
        self._turns, self._limit_s = turns, limit_s
        self._open = Recording(limit_s)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Recording:
        """The next turn that has ended."""
        while (outcome := await self._turns.next_outcome()) is not None:
            if isinstance(outcome, Frame):
                self._open.add(outcome)
            elif outcome.kind is TurnEventKind.STARTED:
                self._open = Recording(self._limit_s, is_push_to_talk=self._turns.gate.mode is TurnMode.PTT)
            elif outcome.kind in (TurnEventKind.ENDED, TurnEventKind.CAPPED) and self._open.samples:
                return self._open
        raise StopAsyncIteration
