"""A kiosk whose clock is not set yet."""

import time

import pytest
import trio

from ravatar_audio.errors import CertificateError, UnreachableError
from ravatar_audio.kiosk import clock
from ravatar_audio.kiosk.machine import KioskMachine, Trouble, trouble_of

DAY_S = 86_400.0
NOT_YET_VALID = CertificateError("not yet valid", verify_code=9)


def test_it_is_behind_before_the_day_of_the_installation() -> None:
    assert clock.is_behind(clock.installed_s() - DAY_S)
    assert not clock.is_behind(time.time())


@pytest.mark.parametrize(
    ("error", "is_clock_behind", "expected"),
    [
        (NOT_YET_VALID, True, Trouble.CLOCK),
        (NOT_YET_VALID, False, Trouble.NETWORK),  # the server's own fault
        (CertificateError("expired", verify_code=10), True, Trouble.NETWORK),
        (CertificateError("unknown"), True, Trouble.NETWORK),
        (UnreachableError("gone"), True, Trouble.NETWORK),
    ],
)
def test_only_a_certificate_of_the_future_is_the_clocks(
    error: Exception, is_clock_behind: bool, expected: Trouble
) -> None:
    assert trouble_of(error, is_clock_behind=is_clock_behind) is expected


def test_the_screen_says_so() -> None:
    machine = KioskMachine(0.0)
    machine.fail(NOT_YET_VALID, 1.0, is_clock_behind=True)
    assert machine.snapshot(1.0).trouble is Trouble.CLOCK


@pytest.mark.parametrize("step_s", [10 * 365 * DAY_S, -DAY_S])
async def test_a_clock_that_is_set_is_seen_at_once(
    step_s: float, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    steps = {"s": 0.0}
    monkeypatch.setattr(time, "time", lambda: 1e9 + trio.current_time() + steps["s"])
    monkeypatch.setattr(time, "monotonic", trio.current_time)
    async with trio.open_nursery() as nursery:
        began_s = trio.current_time()

        async def set_it() -> None:
            await trio.sleep(100.0)
            steps["s"] = step_s

        nursery.start_soon(set_it)
        await clock.wait_set()
        assert 100.0 <= trio.current_time() - began_s <= 101.0
