"""Device blocks to messages with numpy, python-soxr, base64 and json."""

import base64
import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import soxr

RATE_HZ = 16_000
FRAME_SAMPLES = 4_096
_FULL_SCALE = 32_768


class Framer:
    """int16 blocks of the device in, messages' worth of 16 kHz mono int16 out."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._channels = channels
        self._resampler = None
        if rate_hz != RATE_HZ:
            self._resampler = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32", quality="HQ")
        self._pending = bytearray()

    def push(self, block: bytes, *, is_last: bool = False) -> list[bytes]:
        """The frames that the block completes; at the end also the last one, filled up with silence."""
        samples = np.frombuffer(block, "<i2").reshape(-1, self._channels)
        if self._resampler is None and self._channels == 1:
            self._pending += block
        else:
            mono = samples.mean(axis=1, dtype=np.float32) / np.float32(_FULL_SCALE)
            if self._resampler is not None:
                mono = self._resampler.resample_chunk(mono, last=is_last)
            self._pending += _as_int16(mono)
        if is_last:
            self._pending += bytes(-len(self._pending) % (2 * FRAME_SAMPLES))
        frames = []
        while len(self._pending) >= 2 * FRAME_SAMPLES:
            frames.append(bytes(self._pending[: 2 * FRAME_SAMPLES]))
            del self._pending[: 2 * FRAME_SAMPLES]
        return frames


def _as_int16(mono: npt.NDArray[np.float32]) -> bytes:
    return np.clip(np.rint(mono * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()


def message(fields: Mapping[str, object], pcm: bytes) -> str:
    """One live voice message."""
    return json.dumps({**fields, "audio_base64_pcm": base64.b64encode(pcm).decode("ascii")})
