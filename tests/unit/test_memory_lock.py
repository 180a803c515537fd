"""Memory is locked where the limits allow it without an end, and where they do not, it is said why."""

import resource
import sys
from pathlib import Path

import pytest
import trio.testing

from ravatar_audio.capture.host import memory_lock
from ravatar_audio.testing import FakeMicrophone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is locked on Linux only")


@pytest.mark.parametrize(("limit", "capabilities", "is_free"), [(-1, 0, True), (8 << 20, 0, False), (0, 1 << 14, True)])
def test_a_limit_stands_in_the_way_unless_the_process_may_ignore_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, capabilities: int, is_free: bool
) -> None:
    (tmp_path / "status").write_text(f"Name:\tpython\nCapEff:\t{capabilities:016x}\n")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    why = memory_lock.why_memory_cannot_be_locked(tmp_path / "status")
    assert (why is None) == is_free
    assert is_free or "LimitMEMLOCK=infinity" in str(why)


async def test_a_microphone_says_when_memory_cannot_be_locked(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(memory_lock, "why_memory_cannot_be_locked", lambda: "the limit is 1 byte")
    async with FakeMicrophone("tone", lock_memory=True, duration_s=1) as microphone:
        event = await microphone.events().receive()
    assert (event.kind, event.message) == ("memory_not_locked", "the limit is 1 byte")
