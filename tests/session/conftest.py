"""What the session's tests share: an emulator, settings for it, and a source whose every sample is known."""

import inspect
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from ravatar_audio.emulator import Emulator
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.settings import Settings

from ..frames import make_frame
from .linked import Tls
from .own_time import run

HERE = Path(__file__).parent
MakeSettings = Callable[..., Settings]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this room runs in its process's own time."""
    for item in items:
        if HERE in item.path.parents and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run))


class Frames:
    """A source: numbered frames, one each `every_s` seconds without drift, for ever or `count` of them."""

    def __init__(self, *, every_s: float = FRAME_SAMPLES / RATE_HZ, count: float = math.inf) -> None:
        self.every_s = every_s
        self.count = count
        self.is_real_time = True
        self.given_s: list[float] = []
        """When each frame was given out, by trio's clock."""
        self.lateness_s: list[float] = []
        """How long after its time each frame was taken: shows whether whoever takes them was held up."""

    async def __aiter__(self) -> AsyncIterator[Frame]:
        due_s = trio.current_time()
        seq = 0
        while seq < self.count:
            self.given_s.append(trio.current_time())
            yield make_frame(seq)
            seq += 1
            due_s += self.every_s
            await trio.sleep_until(due_s)
            self.lateness_s.append(trio.current_time() - due_s)


async def until(condition: Callable[[], object], what: str, limit_s: float = 10.0) -> None:
    """Wait until it holds; fails after the limit with what was waited for."""
    deadline_s = trio.current_time() + limit_s
    while not condition():
        assert trio.current_time() < deadline_s, f"{what}: not within {limit_s} s"
        await trio.sleep(0.005)  # there is no event for what the other side has counted


@pytest.fixture
def settings_for(tmp_path: Path) -> MakeSettings:
    """Settings for an emulator, with a state folder of the test's own: settings_for(emulator, outbox_ms=512)."""

    def make(emulator: Emulator, **given: Any) -> Settings:
        return Settings(**{"api_url": emulator.api_url, "state_dir": str(tmp_path / "state"), **given})

    return make


@pytest.fixture(params=[False, True], ids=["ws", "wss"])
def tls(request: pytest.FixtureRequest) -> Tls:
    """The two contexts of a connection, in the clear and over TLS."""
    return Tls(request.param)
