"""What the sessions of one process share: TLS, look-ups, one watchdog, one walk over what was left behind."""

import contextlib
import socket
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from ravatar_audio.api.connecting import NameLookups
from ravatar_audio.api.heartbeat import Heartbeat, Watchdog
from ravatar_audio.api.http import HttpCall, Platform
from ravatar_audio.api.link import LinkLimits
from ravatar_audio.api.shared import Shared
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import BusyError
from ravatar_audio.session import LinkUp, LiveSession
from ravatar_audio.session.state_files import SavedLicense

from .conftest import Frames, MakeSettings, until


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were looked up."""
    names: list[str] = []
    failing = {"gone.example"}

    async def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        names.append(host)
        await trio.sleep(0.01)
        if host in failing:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
    return names


async def test_one_look_up_serves_all_who_ask_meanwhile_and_for_a_while(asked: list[str]) -> None:
    lookups = NameLookups(keep_s=0.2)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(lookups.find, "platform.example")
    assert asked == ["platform.example"]
    await trio.sleep(0.25)
    assert await lookups.find("platform.example") == ["192.0.2.1"]
    assert len(asked) == 2, "what is old is asked for again"
    lookups.note_bad("platform.example")
    await lookups.find("platform.example")
    assert len(asked) == 3, "an address that leads nowhere is not kept"


async def test_a_look_up_that_fails_is_not_kept(asked: list[str]) -> None:
    lookups = NameLookups(keep_s=60.0)
    for count in (1, 2):
        with pytest.raises(socket.gaierror):
            await lookups.find("gone.example")
        assert len(asked) == count


async def test_without_being_asked_to_nothing_is_kept(asked: list[str]) -> None:
    lookups = NameLookups()
    for _ in range(3):
        await lookups.find("platform.example")
    assert len(asked) == 3


async def test_sessions_share_what_is_shared_and_nothing_else(settings_for: MakeSettings) -> None:
    async with Emulator(EmulatorSettings(slots=3)) as emulator, Shared(settings_for(emulator)) as shared:
        platforms = [Platform(settings_for(emulator), f"user-{number}", shared=shared) for number in range(3)]
        async with contextlib.AsyncExitStack() as stack:
            for platform in platforms:
                await stack.enter_async_context(platform)
                session = LiveSession(platform.settings, Frames(), platform=platform)
                await stack.enter_async_context(session)
            await until(lambda: shared.watchdog.links == 3, "all links are watched")
            assert len({platform.tokens.current for platform in platforms}) == 3
            assert {platform.ssl_context for platform in platforms} == {shared.ssl_context}
        assert shared.watchdog.links == 0, "links that have ended are not watched"


async def test_the_common_watchdog_finds_each_dead_link(settings_for: MakeSettings) -> None:
    limits = LinkLimits(ping_interval_s=0.3, silence_s=0.3, user_timeout_s=0.5)
    async with Emulator(EmulatorSettings(slots=2)) as emulator, Shared(settings_for(emulator)) as shared:
        platform = Platform(settings_for(emulator), "user", shared=shared)
        async with platform, LiveSession(platform.settings, Frames(count=1), platform=platform, limits=limits) as live:
            await emulator.strike(Fault.parse("message black_hole"))
            with trio.fail_after(20.0):
                async for event in live.events():
                    if isinstance(event, LinkUp) and event.connects == 2:
                        break


class Patient(Heartbeat):
    """Looks are counted, and the n-th finds the link dead."""

    def __init__(self, dies_at: int = 10**9) -> None:
        self.looks, self._dies_at = 0, dies_at

    def look(self) -> float:
        self.looks += 1
        if self.looks >= self._dies_at:
            raise TimeoutError(f"look {self.looks}")
        return trio.current_time() + 1.0

    async def run(self) -> None:
        await trio.sleep_forever()


async def test_a_watchdog_looks_when_it_is_due_and_raises_in_the_links_own_task() -> None:
    watchdog, living, dying = Watchdog(), Patient(), Patient(dies_at=3)
    errors: list[str] = []

    async def use(heartbeat: Heartbeat) -> None:
        try:
            await watchdog.watch(heartbeat)
        except TimeoutError as error:
            errors.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(use, living)
        nursery.start_soon(use, dying)
        await trio.sleep(3.9)
        assert errors == ["look 3"]
        assert 3 <= living.looks <= 4
        assert watchdog.links == 1
        nursery.cancel_scope.cancel()
    assert watchdog.links == 0


async def test_a_watchdog_that_ends_leaves_the_links_to_themselves() -> None:
    watchdog, heartbeat = Watchdog(), Patient()
    ran = trio.Event()

    async def run() -> None:
        ran.set()

    heartbeat.run = run  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery, trio.open_nursery() as watching:
        watching.start_soon(watchdog.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(watchdog.watch, heartbeat)
        await trio.testing.wait_all_tasks_blocked()
        assert watchdog.links == 1
        watching.cancel_scope.cancel()
    assert ran.is_set()


async def test_many_starts_walk_over_the_kept_sessions_once(
    settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[int] = []
    orphans = SavedLicense.orphans.__func__  # type: ignore[attr-defined]

    def counted(cls: type[SavedLicense], settings: Any) -> Any:
        walks.append(1)
        return orphans(cls, settings)

    monkeypatch.setattr(SavedLicense, "orphans", classmethod(counted))
    async with Emulator(EmulatorSettings(slots=9)) as emulator, Shared(settings_for(emulator)) as shared:

        async def visit(number: int) -> None:
            platform = Platform(settings_for(emulator), f"user-{number}", shared=shared)
            async with platform, LiveSession(platform.settings, Frames(), platform=platform):
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            for number in range(9):
                nursery.start_soon(visit, number)
        assert len(walks) == 1
        shared.note_unended((emulator.api_url, settings_for(emulator).state_dir))
        await visit(9)
        assert len(walks) == 2, "after one that could not be ended the next start looks again"


async def test_an_end_that_fails_is_in_the_statistics_and_made_good_by_the_next_start(
    settings_for: MakeSettings, tmp_path: Path
) -> None:
    settings = EmulatorSettings(slots=1, faults=(Fault.parse("endLiveSession status=500 times=1"),))
    async with Emulator(settings) as emulator, Shared(settings_for(emulator)) as shared:
        platform = Platform(settings_for(emulator), "user", shared=shared)
        async with platform:
            first = LiveSession(platform.settings, Frames(count=1), platform=platform)
            async with first:
                assert first.statistics().sessions_unended == 0
            assert first.statistics().sessions_unended == 1
            second = LiveSession(platform.settings, Frames(count=1), platform=platform)
            async with second:
                pass
            assert second.statistics().sessions_unended == 0
        assert emulator.statistics().slots_free == 1


async def test_each_http_request_is_reported_with_status_code_and_time(settings_for: MakeSettings) -> None:
    calls: list[HttpCall] = []
    settings = EmulatorSettings(slots=0, faults=(Fault.parse("connection status=502 times=1"),))
    async with Emulator(settings) as emulator:
        platform = Platform(settings_for(emulator), "user", on_call=calls.append)
        async with platform:
            with pytest.raises(BusyError):
                async with LiveSession(platform.settings, Frames(), platform=platform):
                    pass
    assert [(call.method, call.path, call.status, call.error_code) for call in calls] == [
        ("POST", "/jwt", 200, None),
        ("GET", "/connection", 502, "gateway_timeout"),
        ("GET", "/connection", 200, None),
        ("POST", "/startLiveSession", 503, "busy"),
    ]
    assert all(0 < call.elapsed_s < 30 for call in calls)
    assert "eyJ" not in repr(calls)
