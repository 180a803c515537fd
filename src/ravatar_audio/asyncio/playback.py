"""The player, for asyncio."""

import os
from types import TracebackType
from typing import Self

from ravatar_audio import playback
from ravatar_audio.api.messages import Reply
from ravatar_audio.asyncio.sources import PushSource
from ravatar_audio.asyncio.waiting import call, enter, leave
from ravatar_audio.embedding.faces import PlayerFace
from ravatar_audio.playback import Loudspeaker, Played


class Player(PlayerFace):
    """`ravatar_audio.Player` for asyncio: a loudspeaker for answers."""

    def __init__(
        self, *, speaker: Loudspeaker | None = None, reference: PushSource | None = None, volume: float = 1.0
    ) -> None:
        inner = None if reference is None else reference._inner
        super().__init__(playback.Player(speaker=speaker, reference=inner, volume=volume))

    async def __aenter__(self) -> Self:
        await enter(self._resident)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await leave(self._resident, is_failed=error is not None)

    async def play(self, sound: Reply | bytes | str | os.PathLike[str]) -> Played:
        """Play a reply's sound, a sound file's bytes, or a file; returns when it was heard, or interrupted."""
        return await call(self._resident, self._inner.play, sound)

    async def wait_silent(self) -> None:
        """Wait until all was played that `play` has been given so far."""
        await call(self._resident, self._inner.wait_silent)
