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

_FULL_SCALE = {"uint8": 2.0**7, "int16": 2.0**15, "int24": 2.0**31, "int32": 2.0**31}
"""int24 is widened to 32 bits, from below."""


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

    reader = open_sound_file(path)
    try:
        data = reader.read(round(LONGEST_S * reader.rate_hz))
        if reader.read(1):
            raise SettingsError(
                f"the sound is longer than {LONGEST_S:g} s, which is the most that is played",
                advice="Send it in parts.",
            )
        samples = _as_float(data, reader.format).reshape(-1, reader.channels).mean(axis=1, dtype=np.float32)
        if reader.rate_hz != rate_hz:
            samples = soxr.resample(samples, reader.rate_hz, rate_hz)
    finally:
        reader.close()
    pcm: NDArray[np.int16] = np.clip(np.rint(samples * 32_768.0), -32_768, 32_767).astype(np.int16)
    return pcm


def _as_float(data: bytes, format: str) -> "NDArray[np.float32]":
    import numpy as np

    if format == "float32":
        finite: NDArray[np.float32] = np.nan_to_num(np.frombuffer(data, "<f4"), nan=0.0, posinf=1.0, neginf=-1.0)
        return finite
    if format == "int24":
        words = np.zeros((len(data) // 3, 4), np.uint8)
        words[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values = words.view("<i4")[:, 0].astype(np.float32)
    else:
        values = np.frombuffer(data, {"uint8": "u1", "int16": "<i2", "int32": "<i4"}[format]).astype(np.float32)
    centred: NDArray[np.float32] = (values - 128 if format == "uint8" else values) / np.float32(_FULL_SCALE[format])
    return centred
