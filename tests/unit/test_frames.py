"""A frame, as a program sees it."""

import struct
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ravatar_audio import Converter, Frame


@pytest.fixture
def frame() -> Frame:
    with Converter(16_000) as converter:
        (frame,) = converter.process(np.arange(1_000, dtype=np.int16)) + converter.flush()
    return frame


def test_its_samples_are_a_view_of_its_sound(frame: Frame) -> None:
    assert frame.samples.dtype == np.int16
    assert frame.samples.shape == (frame.length_samples,)
    assert frame.samples.tolist() == list(
        struct.unpack(f"<{frame.length_samples}h", frame.pcm[: 2 * frame.length_samples])
    )
    assert np.shares_memory(frame.samples, np.frombuffer(frame.pcm, np.uint8))
    assert not frame.samples.flags.writeable


def test_its_length_in_seconds(frame: Frame) -> None:
    assert frame.duration_s == frame.length_samples / 16_000 < 0.256
    assert frame._replace(length_samples=4_096).duration_s == 0.256


def test_its_date_is_when_it_was_at_the_microphone(frame: Frame) -> None:
    old = frame._replace(captured_s=time.monotonic() - 3_600)
    assert abs(datetime.now(UTC) - timedelta(hours=1) - old.captured_at) < timedelta(seconds=1)


def test_it_is_shown_without_its_sound(frame: Frame) -> None:
    assert len(repr(frame)) < 200
