"""The converter's Python surface: what it takes, what it refuses, and that cutting does not matter."""

import gc
import math
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from ravatar_audio.converter import Converter
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import RATE_HZ, Frame
from tests.conftest import IS_EMULATED


def joined(frames: list[Frame]) -> bytes:
    return b"".join(frame.pcm[: 2 * frame.length_samples] for frame in frames)


def test_arrays_bytes_and_strided_views_give_the_same() -> None:
    samples = np.random.default_rng(3).integers(-9_000, 9_000, (50_000, 2)).astype(np.int16)
    wide = np.zeros((50_000, 4), np.int16)
    wide[:, 1:3] = samples
    given: list[Any] = [samples, samples.tobytes(), samples.reshape(-1), bytearray(samples.tobytes()), wide[:, 1:3]]
    results = []
    for buffer in given:
        with Converter(48_000, 2, "int16") as converter:
            results.append(joined(converter.process(buffer) + converter.flush()))
    assert len(results[0]) == 2 * math.ceil(50_000 / 3)
    assert all(result == results[0] for result in results)


def test_a_call_longer_than_the_ring_loses_nothing() -> None:
    seconds = 20 if IS_EMULATED else 60
    samples = np.zeros(48_000 * seconds, np.float32)
    with Converter(48_000, 1, "float32") as converter:
        frames = converter.process(samples) + converter.flush()
        statistics = converter.statistics()
    assert sum(frame.length_samples for frame in frames) == seconds * RATE_HZ == statistics.converted_samples
    assert statistics.ring_dropped_frames == 0
    assert [frame.seq for frame in frames] == list(range(len(frames)))


def test_after_a_flush_a_new_stretch_goes_on_in_the_numbering() -> None:
    with Converter(44_100) as converter:
        first = converter.process(bytes(2 * 44_100)) + converter.flush()
        second = converter.process(bytes(2 * 44_100)) + converter.flush()
    assert sum(frame.length_samples for frame in second) == RATE_HZ
    assert second[0].seq == first[-1].seq + 1
    assert second[0].position_samples == RATE_HZ


def test_times_count_from_the_first_sample() -> None:
    with Converter(48_000) as converter:
        frames = converter.process(bytes(2 * 48_000)) + converter.flush()
    assert frames[0].captured_s == pytest.approx(4_095 / RATE_HZ, abs=1e-4)


@pytest.mark.parametrize(
    ("buffer", "named"),
    [
        (np.zeros((10, 2), np.int16), r"\(10, 2\).*\(samples, 1\)"),
        (np.zeros(10, np.float64), "'d'.*int16"),
        (np.zeros(10, np.float32), "'f'.*int16"),
        (b"abc", "3 bytes"),
        (np.zeros((4, 2, 1), np.int16), r"\(4, 2, 1\)"),
        (np.zeros((4, 1), np.uint8), r"\(4, 1\)"),
        (np.zeros(10, np.int16).astype(">i2" if sys.byteorder == "little" else "<i2"), "h'.*int16"),
    ],
)
def test_what_cannot_be_samples_is_refused(buffer: Any, named: str) -> None:
    with Converter(48_000) as converter, pytest.raises(ValueError, match=named):
        converter.process(buffer)


def test_long_integers_are_not_taken_for_int32() -> None:
    with Converter(48_000, format="int32") as converter, pytest.raises(ValueError, match="int32"):
        converter.process(np.zeros(10, np.int64))


def test_short_calls_cut_anywhere_give_what_one_call_gives() -> None:
    """The quick way in (arrays and bytes of less than a frame) beside the one in steps."""
    samples = np.random.default_rng(4).integers(-9_000, 9_000, (30_000, 2)).astype(np.int16)
    with Converter(44_100, 2) as whole, Converter(44_100, 2) as cut:
        expected = whole.process(samples) + whole.flush()
        got: list[Frame] = []
        for number, start in enumerate(range(0, 30_000, 441)):
            part = samples[start : start + 441]
            given: list[Any] = [part, part.tobytes(), part.data, part[::-1][::-1], part.reshape(-1)]
            got += cut.process(given[number % 5])
        got += cut.flush()
    assert joined(got) == joined(expected)
    assert [frame.captured_s for frame in got] == pytest.approx([frame.captured_s for frame in expected], abs=1e-3)


def test_a_closed_converter_says_so() -> None:
    converter = Converter(48_000)
    converter.close()
    with pytest.raises(ValueError, match="closed"):
        converter.process(bytes(960))


def test_calls_frames_and_refusals_leave_nothing_behind() -> None:
    kept = [None, True, False, Frame]  # what the call in C counts references to by hand
    block = np.zeros(16_000, np.int16)
    gc.collect()
    before, of_block = [sys.getrefcount(each) for each in kept], sys.getrefcount(block)
    for _ in range(200):
        with Converter(16_000) as converter:
            frames = converter.process(block) + converter.process(block[::2])
            assert [type(frame) for frame in frames] == [Frame] * 5
            with pytest.raises(ValueError, match=r"type .d. were given"):
                converter.process(block.astype(np.float64))
            assert sys.getrefcount(block) == of_block, "a buffer is given back"
        del frames
    gc.collect()
    grown = [sys.getrefcount(each) - count for each, count in zip(kept, before, strict=True)]
    assert max(grown) < 100, f"references that {kept} have gained in 200 rounds: {grown}"


def test_what_is_no_buffer_is_refused_by_the_interpreters_own_error() -> None:
    no_buffer: Any = [1, 2, 3]
    with Converter(48_000) as converter, pytest.raises(TypeError, match="bytes-like"):
        converter.process(no_buffer)


def test_bad_settings_are_named() -> None:
    with pytest.raises(SettingsError, match="4000 Hz"):
        Converter(4_000)


def test_the_interpreter_runs_while_sound_is_converted() -> None:
    """A second thread counts on while one long conversion is under way: the lock is not held."""
    samples = np.zeros(192_000 * (8 if IS_EMULATED else 120), np.int16)
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.0005)

    thread = threading.Thread(target=tick)
    with Converter(192_000, profile="high") as converter:
        thread.start()
        began = time.perf_counter()
        converter.process(samples)
        ended = time.perf_counter()
        done.set()
        thread.join()
    assert sum(began < at < ended for at in ticks) > 3
