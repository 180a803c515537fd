"""The player, for threads."""

import os
from types import TracebackType
from typing import Self

from ravatar_audio import playback
from ravatar_audio.api.messages import Reply
from ravatar_audio.blocking.sources import PushSource
from ravatar_audio.blocking.waiting import call, enter, leave
from ravatar_audio.embedding.faces import PlayerFace
from ravatar_audio.playback import Loudspeaker, Played


class Player(PlayerFace):
    """`ravatar_audio.Player` for programs of threads: a loudspeaker for answers."""

    def __init__(
        self, *, speaker: Loudspeaker | None = None, reference: PushSource | None = None, volume: float = 1.0
    ) -> None:
        inner = None if reference is None else reference._inner
        super().__init__(playback.Player(speaker=speaker, reference=inner, volume=volume))

    def __enter__(self) -> Self:
        enter(self._resident)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self._resident, is_failed=error is not None)

    def play(self, sound: Reply | bytes | str | os.PathLike[str]) -> Played:
        """Play a reply's sound, a sound file's bytes, or a file; returns when it was heard, or interrupted."""
        return call(self._resident, self._inner.play, sound)

    def wait_silent(self) -> None:
        """Wait until all was played that `play` has been given so far."""
        call(self._resident, self._inner.wait_silent)
