"""Voice activity by energy: the core's detector, which needs no model and runs on anything (csrc/voice/rva_vad.h)."""

import math
from typing import Any, Final

from ravatar_audio._core import ffi, lib
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import HOP_SAMPLES

PLATFORM_LEVEL_DBFS: Final = 20 * math.log10(0.02)
"""What the platform's own client takes for speech: an RMS of 0.02 of full scale, -34 dBFS."""


class EnergyDetector:
    """Speech is what reaches a level and stands out of the noise; a Detector for a gate (ravatar_audio.turns).

    `level_dbfs` (-90 to 0) is the RMS of a hop of 16 ms below which nothing is speech. `margin_db` (0 to 40) is how far
    speech stands out of the noise, whose level is the lowest of the last 2 to 2.5 s; 0 leaves the noise out of it. What
    is speech stays it until it has fallen by `hysteresis_db` (0 to 20) below these. Raises SettingsError for others.

    As a gate's `barge_in` with a level that the loudspeaker does not reach at the microphone, say
    EnergyDetector(-20.0, margin_db=0.0).
    """

    step_samples = HOP_SAMPLES

    def __init__(
        self, level_dbfs: float = PLATFORM_LEVEL_DBFS, margin_db: float = 9.0, hysteresis_db: float = 3.0
    ) -> None:
        self._vad: Any = ffi.new("rva_vad *")
        if lib.rva_vad_open(self._vad, level_dbfs, margin_db, hysteresis_db):
            raise SettingsError(
                f"level_dbfs is {level_dbfs}, margin_db {margin_db}, hysteresis_db {hysteresis_db}; "
                "they must be -90 to 0, 0 to 40 and 0 to 20"
            )

    def feed(self, pcm: bytes) -> list[bool]:
        """Decide for each hop that the sound (int16, little-endian, 16 kHz, any length) completes."""
        samples = len(pcm) // 2
        decisions = ffi.new("uint8_t[]", samples // HOP_SAMPLES + 1)
        decided = lib.rva_vad_feed(self._vad, ffi.from_buffer(pcm), samples, decisions)
        return [byte != 0 for byte in ffi.buffer(decisions, decided)[:]]

    def skip(self) -> None:
        """Note that sound is missing here: the next sample begins a new hop."""
        lib.rva_vad_skip(self._vad)

    @property
    def floor_dbfs(self) -> float:
        """RMS of the noise against full scale, in dB; -200 when there is none."""
        return float(lib.rva_vad_floor_dbfs(self._vad))
