"""Numbered frames: each tells its number by its sound."""

import time

import numpy as np

from ravatar_audio.frames import FRAME_SAMPLES, Frame


def frame_pcm(index: int, amplitude: int = 8_000) -> bytes:
    """Frame number `index` of a tone: 4,096 samples, no two frames alike."""
    time = np.arange(4096) + 4096 * index
    return bytes((amplitude * np.sin(time * 0.31)).astype("<i2").tobytes())


def make_frame(seq: int, *, length_samples: int = FRAME_SAMPLES, lost_samples: int = 0) -> Frame:
    """A frame whose samples tell its number."""
    now_s = time.monotonic()
    return Frame(
        pcm=frame_pcm(seq),
        seq=seq,
        position_samples=seq * FRAME_SAMPLES,
        length_samples=length_samples,
        captured_s=now_s,
        finished_s=now_s,
        ring_lost_samples=lost_samples,
        device_lost_samples=0,
        discontinuity=lost_samples > 0,
        flushed=length_samples < FRAME_SAMPLES,
        clipped=0,
        peak=1,
        hop_data=b"",
    )
