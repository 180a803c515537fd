"""Whether echo cancellation works as it should: the reference has sound when the avatar speaks, and the echo goes."""

import math
from collections.abc import Callable
from typing import Final

from ravatar_audio.frames import RATE_HZ, Frame
from ravatar_audio.processing.canceller import EchoStatistics

SILENT_S: Final = 2.0
"""From so long a silence of the reference on, while the avatar is said to speak, the echo may be another sound's."""
SILENT_EVENT_S: Final = 8.0
"""And so long is no late start any more, of the avatar's rendering (5 s) and the network's."""
REMAINS_S: Final = 30.0
"""So much of the avatar's sound is heard before an echo that stays is reported."""
REMAINS_DB: Final = 10.0

_SOUND_PEAK: Final = 100
"""Of the reference, from which it is no silence: -50 dBFS."""


class EchoWatch:
    """Emits "reference_silent", "reference_back" and "echo_remains", by `emit(kind, message)`."""

    def __init__(self, emit: Callable[[str, str], None]) -> None:
        self._emit = emit
        self.is_silent = False
        """The avatar was said to speak for 8 s, and the reference had nothing of it."""
        self._avatar_since_s: float | None = None
        self._played_s = -math.inf  # when the reference was last heard to have sound
        self._now_s = 0.0
        self._looked_samples = 0

    def note_avatar(self, speaks: bool, at_s: float) -> None:
        """Note that the avatar begins to speak, or has ended."""
        if not speaks:
            self._avatar_since_s = None
        elif self._avatar_since_s is None:
            self._avatar_since_s = at_s

    def hear(self, reference: Frame) -> None:
        """Hear a frame of the reference."""
        if reference.peak >= _SOUND_PEAK:
            self._played_s = max(self._played_s, reference.captured_s)

    @property
    def may_be_silent(self) -> bool:
        """The reference has had no sound for 2 s of an avatar that is said to speak, or is known to have none."""
        return self.is_silent or self._silent_s >= SILENT_S

    @property
    def _silent_s(self) -> float:
        if self._avatar_since_s is None or self._played_s > self._avatar_since_s - 1.0:
            return 0.0
        return self._now_s - self._avatar_since_s

    def look(self, now_s: float, echo: EchoStatistics, name: str) -> None:
        """Draw the consequences, at the time of the microphone's newest frame; `name` is the reference's."""
        self._now_s = now_s
        if self.is_silent and self._played_s > now_s - 1.0:
            self.is_silent = False
            self._emit("reference_back", f"the reference {name!r} has sound again")
        elif not self.is_silent and self._silent_s >= SILENT_EVENT_S:
            self.is_silent = True
            said = f"the avatar speaks, and the reference {name!r} has had no sound for {SILENT_EVENT_S:g} s"
            self._emit("reference_silent", f"{said}: is it the loudspeaker that is used?")
        if echo.played_samples - self._looked_samples >= REMAINS_S * RATE_HZ:
            self._looked_samples = echo.played_samples
            if echo.erle_db < REMAINS_DB:
                said = f"only {echo.erle_db:.0f} dB of the echo goes"
                self._emit("echo_remains", f"{said}: the loudspeaker may be overdriven, or the reference another's")
