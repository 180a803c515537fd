"""The benches that answer a question by themselves: each does what it says, in small."""

import pytest
import trio

from benches import wakeup
from benches.ticker import Ticker
from tests.conftest import IS_EMULATED

pytestmark = pytest.mark.skipif(IS_EMULATED, reason="no compiler under emulation, and nothing to time")


def test_every_way_of_waking_trio_is_measured_from_the_moment_that_the_thread_fired() -> None:
    answer = wakeup.child("idle", 2, 1)
    assert list(answer) == list(wakeup.WAYS)
    for way, latencies_s in answer.items():
        assert len(latencies_s) == 2, way
        assert all(0 < latency_s < 2.0 for latency_s in latencies_s), way


def test_the_floor_is_measured_with_nothing_but_the_wait() -> None:
    assert all(0 < latency_s < 2.0 for latency_s in trio.run(wakeup.floor, Ticker(), 2, 0.01))
