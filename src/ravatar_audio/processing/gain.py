"""Automatic gain: a voice at an even level, whoever speaks from wherever (csrc/voice/rva_gain.h)."""

from typing import Any, Final

from ravatar_audio._core import ffi, lib
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import Frame

TARGET_DBFS: Final = -24.0
"""The RMS that a voice is brought to: what speech recognisers are trained on, with room for its peaks."""


class GainControl:
    """Brings a voice to a level, slowly, and leaves the noise between the words alone.

    `target_dbfs` (-40 to -12) is the RMS of the voice as it comes out. The gain is -20 to +24 dB, moves only in speech,
    raises no noise above -50 dBFS, and no sample comes out above -1 dBFS. Raises SettingsError for another target.
    One thread at a time. It belongs behind whatever has a level in its settings, as detectors and meters have.
    """

    def __init__(self, target_dbfs: float = TARGET_DBFS) -> None:
        self._gain: Any = ffi.new("rva_gain *")
        if lib.rva_gain_open(self._gain, target_dbfs):
            raise SettingsError(f"target_dbfs is {target_dbfs}; it must be -40 to -12")

    def process(self, pcm: bytes) -> bytes:
        """Return as much sound as comes in: int16, little-endian, 16 kHz, any number of samples."""
        out = bytearray(len(pcm))
        lib.rva_gain_process(self._gain, ffi.from_buffer(pcm), ffi.from_buffer(out), len(pcm) // 2)
        return bytes(out)

    def applied_to(self, frame: Frame) -> Frame:
        """Return the frame with the gain in its sound; its peak and hops are the microphone's still."""
        if frame.discontinuity:
            self.skip()
        pcm = self.process(frame.pcm[: 2 * frame.length_samples])
        return frame._replace(pcm=pcm + frame.pcm[len(pcm) :])

    def skip(self) -> None:
        """Note that sound is missing here."""
        lib.rva_gain_skip(self._gain)

    @property
    def gain_db(self) -> float:
        """The gain of now, in dB."""
        return float(lib.rva_gain_db(self._gain))
