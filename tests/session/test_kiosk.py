"""The kiosk against the emulator: the page answers nobody else, and says what is wrong and when it is over."""

import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from ravatar_audio.capture import open_source
from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.emulator.faults import Fault
from ravatar_audio.errors import DeviceNotFoundError, SettingsError
from ravatar_audio.kiosk.machine import Phase, Snapshot, Trouble
from ravatar_audio.kiosk.notify import Notifier
from ravatar_audio.kiosk.server import KioskServer
from ravatar_audio.kiosk.service import KioskService
from ravatar_audio.kiosk.texts import load_texts
from ravatar_audio.settings import Settings

from .conftest import until

TOKEN_URL = "http://127.0.0.1:9/stream/x?token=the-token"
Reply = tuple[int, dict[str, str], str]


@asynccontextmanager
async def served(
    obeyed: list[str], metrics: Callable[[], Awaitable[bytes]] | None = None
) -> AsyncIterator[KioskServer]:
    words = load_texts("en")
    server = KioskServer(lambda: {"phase": "ready"}, lambda: TOKEN_URL, obeyed.append, words, metrics=metrics)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            yield server
            nursery.cancel_scope.cancel()


async def asked(server: KioskServer, path: str, *, method: str = "GET", **headers: str | None) -> Reply:
    """An answer; what does not end is left after 0.6 s."""
    fields = {"Host": f"127.0.0.1:{server.port}", "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}  # type: ignore[misc]
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    data = b""
    async with stream:
        await stream.send_all("\r\n".join([*lines, "", ""]).encode())
        with trio.move_on_after(0.6):
            async for part in stream:
                data += part
    head, _, body = data.decode().partition("\r\n\r\n")
    first, *rest = head.split("\r\n")
    found = dict(line.lower().split(": ", 1) for line in rest)
    return int(first.split()[1]), found, body


def path_of(server: KioskServer) -> str:
    return "/" + server.address.split("/", 3)[3]


FOREIGN: dict[str, Mapping[str, str | None]] = {
    "rebinding": {"Host": "evil.example"},
    "rebinding, right port": {"Host": "evil.example:PORT"},
    "wrong port": {"Host": "127.0.0.1:1"},
    "no port": {"Host": "127.0.0.1"},
    "foreign origin": {"Origin": "https://evil.example"},
    "sandboxed page": {"Origin": "null"},
    "other port's origin": {"Origin": "http://127.0.0.1:1"},
    "https origin": {"Origin": "https://127.0.0.1:PORT"},
    "cross-site": {"Sec-Fetch-Site": "cross-site"},
    "same-site": {"Sec-Fetch-Site": "same-site"},
    "framed": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    "fetched": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "document"},
}
OPENED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize("name", FOREIGN)
async def test_other_sites_are_refused(name: str) -> None:
    obeyed: list[str] = []
    async with served(obeyed) as server:
        headers = {key: value and value.replace("PORT", str(server.port)) for key, value in FOREIGN[name].items()}
        for method, path in [("GET", ""), ("GET", "events"), ("GET", "status"), ("POST", "do/press")]:
            status, _, body = await asked(server, path_of(server) + path, method=method, **headers)
            assert status == 403
            assert "the-token" not in body
    assert obeyed == []


async def test_a_file_may_lead_to_the_page_and_to_nothing_else() -> None:
    obeyed: list[str] = []
    async with served(obeyed) as server:
        assert (await asked(server, path_of(server), **OPENED))[0] == 200
        for path in ("status", "events", "do/press"):
            assert (await asked(server, path_of(server) + path, **OPENED))[0] == 403
        assert (await asked(server, path_of(server) + "do/press", method="POST", **OPENED))[0] == 403
        assert obeyed == []


@pytest.mark.parametrize("path", ["/", "/x/", "//", "/status", "/x/status", "/x/do/press", "/%00/"])
async def test_without_the_secret_nothing_is_answered(path: str) -> None:
    obeyed: list[str] = []
    async with served(obeyed) as server:
        for method in ("GET", "POST"):
            assert (await asked(server, path, method=method))[0] == 403
    assert obeyed == []


async def test_the_page_is_for_its_own_browser(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    obeyed: list[str] = []
    async with served(obeyed) as server:
        status, headers, body = await asked(server, path_of(server))
        assert status == 200
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert "the-token" not in body + str(headers), "it goes to the frame alone, by the event stream"
        assert "NONCE" not in body
        _, _, events = await asked(server, path_of(server) + "events", Origin=f"http://127.0.0.1:{server.port}")
        assert TOKEN_URL in events
        assert '"phase": "ready"' in events
        origin = {"Origin": f"http://localhost:{server.port}", "Host": f"localhost:{server.port}"}
        for command, expected in [("press", 204), ("release", 204), ("exec", 404)]:
            assert (await asked(server, f"{path_of(server)}do/{command}", method="POST", **origin))[0] == expected
        assert (await asked(server, path_of(server) + "do/press"))[0] == 405
        secret = path_of(server).strip("/")
    assert obeyed == ["press", "release"]
    assert secret not in caplog.text
    assert "the-token" not in caplog.text


def listening_on(port: int) -> list[str]:
    """Local addresses that listen on a port, as the kernel writes them."""
    fields = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return [local for _, local, _, state, *_ in fields if state == "0A" and local.endswith(f":{port:04X}")]


async def test_it_listens_on_loopback_only() -> None:
    async with served([]) as server:
        assert listening_on(server.port) == [f"0100007F:{server.port:04X}"]


async def test_a_port_that_is_taken_is_a_settings_error() -> None:
    async with served([]) as server:
        other = KioskServer(dict, lambda: None, print, {}, port=server.port)
        async with trio.open_nursery() as nursery:
            with pytest.raises(SettingsError, match=str(server.port)):
                await nursery.start(other.run)


SHOWN_LIMIT_S = 1.0
"""Within which the page says the truth."""

BROKEN: dict[str, tuple[Fault, Trouble]] = {
    "busy": (Fault(at="startLiveSession", do="status", status=503), Trouble.BUSY),
    "payment": (Fault(at="startLiveSession", do="status", status=402), Trouble.PAYMENT),
    "account": (Fault(at="jwt", do="status", status=401), Trouble.ACCOUNT),
}


class World:
    """A kiosk beside an emulator."""

    def __init__(self, service: KioskService, emulator: Emulator) -> None:
        self.service, self.emulator = service, emulator

    async def until(self, phase: Phase, trouble: Trouble | None, limit_s: float = 15.0) -> Snapshot:
        """What the page shows, once it shows that."""
        with trio.fail_after(limit_s):
            while True:
                shown = self.service.machine.snapshot(time.monotonic())
                if (shown.phase, shown.trouble) == (phase, trouble):
                    return shown
                await trio.sleep(0.01)


@asynccontextmanager
async def kiosk(tmp_path: Path, *faults: Fault, fails: Sequence[Exception] = ()) -> AsyncIterator[World]:
    failures = list(fails)
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(faults=faults)) as emulator:
            settings = Settings(api_url=emulator.api_url, state_dir=str(tmp_path), mode="open", proxy="none")

            def load() -> Settings:
                if failures:
                    raise failures.pop(0)
                return settings

            service = KioskService(load, lambda given: open_source(given, "synthetic:speech"), Notifier({}))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(service.run)
                yield World(service, emulator)
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", BROKEN)
async def test_a_refusal_is_shown_and_heals(name: str, tmp_path: Path) -> None:
    fault, trouble = BROKEN[name]
    async with kiosk(tmp_path, fault) as world:
        shown = await world.until(Phase.WAITING, trouble)
        assert shown.retry_in_s is not None
        assert world.service.streaming_url is None
        await world.until(Phase.READY, None)
        assert world.service.streaming_url is not None


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (SettingsError("unknown setting 'projct_id'"), Trouble.SETTINGS),
        (DeviceNotFoundError("no microphone"), Trouble.MICROPHONE),
        (OSError(24, "too many open files"), Trouble.PLATFORM),
    ],
    ids=lambda value: str(value),
)
async def test_what_keeps_it_from_starting_is_shown_and_logged_and_tried_again(
    error: Exception, trouble: Trouble, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with kiosk(tmp_path, fails=[error]) as world:
        await world.until(Phase.WAITING, trouble)
        await world.until(Phase.READY, None)
    assert "Next attempt in 2 s" in caplog.text


async def test_a_lost_connection_is_shown_at_once(tmp_path: Path) -> None:
    async with kiosk(tmp_path) as world:
        await world.until(Phase.READY, None)
        world.emulator.faults.add(Fault(at="socket", do="status", status=500, times=2))
        await world.emulator.strike(Fault(at="message", do="reset"))
        await world.until(Phase.READY, Trouble.NETWORK, SHOWN_LIMIT_S)
        await world.until(Phase.READY, None)


async def test_a_session_that_expires_is_renewed_with_its_picture(tmp_path: Path) -> None:
    async with kiosk(tmp_path) as world:
        await world.until(Phase.READY, None)
        before = world.service.streaming_url
        world.emulator.expire_sessions()
        await until(lambda: world.service.streaming_url not in (before, None), "another picture")
        await world.until(Phase.READY, None)


def failed_again(world: World, failures: int) -> bool:
    return world.service.machine.failures != failures


def is_shown_muted(world: World, is_muted: bool) -> bool:
    return world.service.machine.snapshot(time.monotonic()).is_muted is is_muted


async def test_hangup_reads_the_settings_again(tmp_path: Path) -> None:
    async with kiosk(tmp_path, fails=[SettingsError("x")] * 4) as world:
        for _ in range(4):  # without it the waits would add up to 30 s
            await world.until(Phase.WAITING, Trouble.SETTINGS)
            failures = world.service.machine.failures
            signal.raise_signal(signal.SIGHUP)
            await until(partial(failed_again, world, failures), "an attempt", 1.5)
        await world.until(Phase.READY, None)


async def test_controls_reach_the_turns_and_the_screen(tmp_path: Path) -> None:
    async with kiosk(tmp_path) as world:
        world.service.obey("mute")  # nobody is there yet: nothing happens
        await world.until(Phase.READY, None)
        for command, is_muted in [("mute", True), ("unmute", False)]:
            world.service.obey(command)
            await until(partial(is_shown_muted, world, is_muted), command)
