"""What the avatar's own voice does to a gate: half-duplex, or echo cancellation with half-duplex as its fallback."""

from collections.abc import Sequence

from ravatar_audio.capture import Source
from ravatar_audio.turns import Gate, Outcome


class AvatarGate:
    """Closes a gate while the avatar speaks and its voice would come through.

    With half-duplex that is always. With a source that takes the echo out (a VoiceSource) it is while that cannot:

    open ── the avatar speaks, and the source does not hear over it ──► closed
      ▲── it hears over it, or the avatar has ended ──────────────────────┘

    Else never.
    """

    def __init__(self, source: Source, gate: Gate, *, half_duplex: bool) -> None:
        self._source, self._gate, self._is_half_duplex = source, gate, half_duplex
        self._cancels_echo = hasattr(source, "hears_over_avatar") and not half_duplex
        self._is_speaking = self._is_closed = False

    @property
    def listens(self) -> bool:
        """It matters when the avatar speaks."""
        return self._is_half_duplex or self._cancels_echo

    def note(self, speaks: bool, now_s: float) -> Sequence[Outcome]:
        """Note that the avatar begins to speak, or has ended."""
        self._is_speaking = speaks
        if hasattr(self._source, "note_avatar"):
            self._source.note_avatar(speaks, now_s)
        if self._cancels_echo:
            return self.follow(now_s)
        return self._gate.avatar_speaks(now_s) if speaks else self._gate.avatar_ends(now_s)

    def follow(self, now_s: float) -> Sequence[Outcome]:
        """Draw the consequences of what the source has made of its sound."""
        if not self._cancels_echo:
            return ()
        is_closed = self._is_speaking and not getattr(self._source, "hears_over_avatar", True)
        if is_closed == self._is_closed:
            return ()
        self._is_closed = is_closed
        return self._gate.avatar_speaks(now_s) if is_closed else self._gate.avatar_ends(now_s)
