"""Whether this machine's clock can be right: a Raspberry Pi has none that goes on without power."""

import time
from pathlib import Path
from typing import Final

import trio

STEP_S: Final = 60.0
"""A clock that moves by more at once has been set."""
_LOOK_S: Final = 0.5


def installed_s() -> float:
    """Return when this program was installed, or built, in seconds since 1970: it cannot be earlier now."""
    return Path(__file__).stat().st_mtime


def is_behind(now_s: float) -> bool:
    """Return whether it cannot be that time yet."""
    return now_s < installed_s()


async def wait_set() -> None:
    """Wait until the clock is set: until it has moved by more than STEP_S against the one that nobody sets."""
    began_s = time.time() - time.monotonic()
    while abs(time.time() - time.monotonic() - began_s) < STEP_S:  # noqa: ASYNC110 - nobody says that it was set
        await trio.sleep(_LOOK_S)
