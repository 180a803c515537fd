"""What the session's tests share: an emulator, settings for it, and a source whose every sample is known."""

import ctypes
import inspect
import math
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterator
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
from .served import secure_by_default

HERE = Path(__file__).parent
MakeSettings = Callable[..., Settings]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this room runs in its process's own time; one with a black hole only where that can be made."""
    refuses = kernel_refuses_filters()
    for item in items:
        if HERE in item.path.parents and inspect.iscoroutinefunction(function := getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run))
            body = inspect.getsource(function).partition("async def ")[2]
            if refuses and ("black" in item.name or "black_hole" in body):
                item.add_marker(pytest.mark.skip(reason="only root may make black holes of sockets here"))


def kernel_refuses_filters() -> bool:
    """Linux lets anyone filter a socket of their own; a hardened kernel may not. Root, as CI is, must be let."""
    if os.getuid() == 0 or sys.platform != "linux":
        return False
    nothing = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))  # as the emulator's
    with socket.socket() as own:
        try:
            own.setsockopt(socket.SOL_SOCKET, 26, struct.pack("@HP", 1, ctypes.addressof(nothing)))  # SO_ATTACH_FILTER
        except PermissionError:
            return True
    return False


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


@pytest.fixture(scope="package", autouse=True)
def _tls_is_the_default(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with secure_by_default(tmp_path_factory.mktemp("tls")):
        yield


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
