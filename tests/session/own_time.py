"""The clock of this room's tests: a limit means the same on an idle machine and on a busy one."""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import trio

HANG_LIMIT_S = 180.0


class OwnTime(trio.abc.Clock):
    """Time that runs while this process computes or sleeps, and stands while others have the processor.

    So limits of a tenth of a second hold on a machine that is busy with something else. Both ends of every connection
    are in the process: nothing outside of it is ever waited for, but for limits of the system's own, which run on.

    `pace`: so many seconds go by in one second of sleep, for long lines; a computation takes as long as it takes.
    """

    def __init__(self, pace: float = 1.0) -> None:
        self._pace = pace
        self._slept_s = 0.0
        self._sleep: tuple[float, float] | None = None

    def start_clock(self) -> None:
        """It has no beginning."""

    def current_time(self) -> float:
        if self._sleep is not None:
            began_s, most_s = self._sleep
            self._sleep = None
            self._slept_s += min(self._pace * (time.monotonic() - began_s), most_s)
        return time.process_time() + self._slept_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        left_s = max(0.0, deadline - self.current_time())
        self._sleep = time.monotonic(), left_s
        return left_s / self._pace


def run(
    test: Callable[[], Awaitable[object]],
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> object:
    """As trio.run, in own time unless the test has another clock. No test may hang."""
    return trio.run(partial(_limited, test), clock=clock or OwnTime(), instruments=instruments)


async def _limited(test: Callable[[], Awaitable[Any]]) -> object:
    with trio.fail_after(HANG_LIMIT_S):
        return await test()
