"""Any sound file, or the sound inside a message, as mono samples of one rate. Blocks: call it in a thread."""

import os
import tempfile
from typing import TYPE_CHECKING

from ravatar_audio.capture.sources.reader import open_sound_file
from ravatar_audio.errors import SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST_S = 600.0
"""Longest sound that is played: ten minutes of it are 58 MB at 48 kHz."""


def decode(sound: bytes | str | os.PathLike[str], rate_hz: int) -> "NDArray[np.int16]":
    """Decode the sound of a file's path, or of a file's bytes, all channels averaged, at `rate_hz`.

    WAV needs nothing; MP3, Ogg, WebM, ... the extra "files". Raises SettingsError for what is no sound, is longer than
    `LONGEST_S`, or cannot be decoded.
    """
    if isinstance(sound, bytes):
        with tempfile.NamedTemporaryFile(prefix="ravatar-audio-", suffix=".sound") as kept:
            kept.write(sound)
            kept.flush()
            return _decoded(kept.name, rate_hz)
    return _decoded(sound, rate_hz)


def _decoded(path: str | os.PathLike[str], rate_hz: int) -> "NDArray[np.int16]":
    import numpy as np
    import soxr

    from ravatar_audio.capture.devices.channels import decode as as_floats

    reader = open_sound_file(path)
    try:
        data = reader.read(round(LONGEST_S * reader.rate_hz))
        if reader.read(1):
            raise SettingsError(
                f"the sound is longer than {LONGEST_S:g} s, which is the most that is played",
                advice="Send it in parts.",
            )
        samples = as_floats(data, reader.channels, reader.format).mean(axis=1).astype(np.float32)
        if reader.rate_hz != rate_hz:
            samples = soxr.resample(samples, reader.rate_hz, rate_hz)
    finally:
        reader.close()
    pcm: NDArray[np.int16] = np.clip(np.rint(samples * 32_768.0), -32_768, 32_767).astype(np.int16)
    return pcm
