"""What one canceller has found of two devices, for the next start."""

import contextlib
import json
from pathlib import Path
from typing import Any, Final

_MOST_PPM: Final = 1_000.0
_MOST_SAMPLES: Final = 8_000
_PAIRS_MAX: Final = 32


class EchoMemory:
    """A file with the ratio of clocks, and how far ahead of the times the reference belongs, by pair of devices.

    A file that is missing, broken or full of nonsense is as none; one that cannot be written is not kept.
    """

    def __init__(self, path: Path | None, pair: str) -> None:
        self._path, self._pair = path, pair
        known: Any = self._read().get(pair)
        self.ppm: float = 0.0
        """By how much the reference's clock is fast."""
        self.ahead_samples: int | None = None
        """How many samples later than the times say the reference was placed; None: not known."""
        with contextlib.suppress(TypeError, KeyError, ValueError):
            ppm, ahead = float(known["ppm"]), int(known["ahead_samples"])
            if abs(ppm) <= _MOST_PPM and abs(ahead) <= _MOST_SAMPLES:
                self.ppm, self.ahead_samples = ppm, ahead

    def _read(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if self._path is not None and isinstance(found := json.loads(self._path.read_bytes()), dict):
                return found
        return {}

    def keep(self, ppm: float, ahead_samples: int) -> None:
        """Keep what was found; may wait for the disk."""
        if self._path is None:
            return
        pairs = {name: value for name, value in self._read().items() if name != self._pair}
        pairs = dict(list(pairs.items())[-_PAIRS_MAX + 1 :])
        pairs[self._pair] = {"ppm": round(ppm, 3), "ahead_samples": ahead_samples}
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_suffix(".new")
            draft.write_text(json.dumps(pairs), encoding="utf-8")
            draft.replace(self._path)
