"""Generated sound, in a microphone's stead."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ravatar_audio.capture.sources.paced import PacedSource
from ravatar_audio.errors import SettingsError
from ravatar_audio.native import SAMPLE_BYTES

if TYPE_CHECKING:
    from ravatar_audio.capture.sources.signals import Samples


class SyntheticSource(PacedSource):
    """Generated mono sound: `kind` is "speech" (speech-like), "tone" (1 kHz), "sweep" or "noise" (white).

    `duration_s` None is endless. The sound depends on `kind`, `rate_hz` and `seed` only. At real pace it goes on
    whether it is taken or not, as a microphone's. Further arguments as for PacedSource. Raises SettingsError for an
    unknown kind.
    """

    backend = "synthetic"

    def __init__(
        self,
        kind: str = "speech",
        *,
        rate_hz: int = 48_000,
        duration_s: float | None = None,
        seed: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if duration_s is not None and not duration_s >= 0:
            raise SettingsError(f"duration_s is {duration_s}; it must be 0 or more")
        self.name: str = f"synthetic:{kind}"
        self.rate_hz: int = rate_hz
        self.channels: int = 1
        self.format: str = "float32"
        from ravatar_audio.capture.sources import signals  # numpy is slow to load, and a microphone does without

        self._pieces: Iterator[Samples] = signals.generate(kind, rate_hz, seed)
        self._piece = b""
        self._left_samples = None if duration_s is None else round(duration_s * rate_hz)

    def _read(self, samples: int) -> bytes:
        if self._left_samples is not None:
            samples = min(samples, self._left_samples)
            self._left_samples -= samples
        size = samples * SAMPLE_BYTES[self.format]
        while len(self._piece) < size:
            self._piece += next(self._pieces).tobytes()
        block, self._piece = self._piece[:size], self._piece[size:]
        return block
