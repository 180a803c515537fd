"""The stream that is fed by hand: what wakes its consumer, and that it counts and times as the core's others do."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.capture.streams.fed import FedStream
from ravatar_audio.native import Chain

RATE_HZ, BLOCK = 16_000, 160
BLOCK_S = BLOCK / RATE_HZ
STALL_S = 0.1


@contextlib.contextmanager
def fed(resume_s: float = 0.0) -> Iterator[tuple[FedStream, Wake, Chain]]:
    wake = Wake()
    with Chain(rate_hz=RATE_HZ, capacity_frames=64) as chain:
        stream = FedStream(chain, wake, 100.0, round(resume_s * 1e9), BLOCK_S)
        try:
            yield stream, wake, chain
        finally:
            stream.close()
    wake.close()


def is_woken(wake: Wake) -> bool:
    try:
        os.read(wake.write_fd, 8)  # an eventfd is read where it is written
    except BlockingIOError:
        return False
    return True


def come(stream: FedStream, at_s: float, *, age_s: float | None = 0.0, has_overrun: bool = False) -> None:
    stream.push(bytes(2 * BLOCK), at_s, age_s, has_overrun=has_overrun)


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="elsewhere a pipe has two ends")
def test_the_first_block_a_stall_its_end_and_the_streams_wake_and_nothing_else_does() -> None:
    with fed() as (stream, wake, _):
        assert not is_woken(wake)
        stream.watch(STALL_S)
        come(stream, 100.01)
        assert is_woken(wake), "the first block"
        for number in range(2, 12):
            come(stream, 100.0 + number * BLOCK_S)
            assert stream.look(100.0 + number * BLOCK_S + 0.005) == pytest.approx(STALL_S - 0.005)
        assert not is_woken(wake)
        stream.look(100.2)
        assert not is_woken(wake), "not yet"
        stream.look(100.11 + STALL_S)
        assert is_woken(wake), "a stall"
        stream.look(100.3)
        assert not is_woken(wake), "which is reported once"
        come(stream, 100.4)
        assert is_woken(wake), "its end"
        come(stream, 100.41)
        assert not is_woken(wake)
        stream.finish(-19)
        assert is_woken(wake)
        counts = stream.statistics()
        assert (counts.has_finished, counts.finish_code) == (True, -19)


@pytest.mark.parametrize("lost", [1, 480, 16_000])
def test_what_is_lost_before_a_block_is_told_from_its_time(lost: int) -> None:
    with fed() as (stream, _, chain):
        for number in range(1, 20):
            come(stream, 100.0 + number * BLOCK_S)
        come(stream, 100.0 + 20 * BLOCK_S + lost / RATE_HZ, has_overrun=True)
        assert abs(chain.statistics().device_lost_samples - lost) <= 1
        assert stream.statistics().overruns == 1


def test_a_stream_that_goes_on_from_another_counts_what_lies_between() -> None:
    with fed(resume_s=99.0) as (stream, _, chain):
        come(stream, 100.01)
        assert chain.statistics().device_lost_samples == pytest.approx(RATE_HZ, abs=1)


@pytest.mark.parametrize("age_s", [None, -1.0, 61.0, float("nan")])
def test_an_age_that_nobody_can_believe_is_none(age_s: float | None) -> None:
    with fed() as (stream, _, _chain):
        come(stream, 100.01, age_s=age_s)
        counts = stream.statistics()
        assert counts.untimed_blocks == 1
        assert counts.captured_ns == pytest.approx(100.01e9, abs=1)


def test_its_time_is_its_feeders_and_the_work_is_measured_by_the_clock() -> None:
    with fed() as (stream, _, _chain):
        come(stream, 1e6)  # days ahead of this machine
        counts = stream.statistics()
        assert counts.opened_s == 100.0
        assert counts.last_block_s == pytest.approx(1e6)
        assert 0 < counts.longest_block_s < 10


def test_after_its_end_it_takes_nothing_and_says_how_it_ended() -> None:
    with fed() as (stream, _, chain):
        come(stream, 100.01)
        stream.close()
        come(stream, 100.02)
        stream.close()
        assert stream.statistics().blocks == 1
        assert chain.statistics().blocks == 1
        assert stream.look(200.0) == float("inf")
