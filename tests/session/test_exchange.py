"""What goes over HTTP beside the endpoints' own rules: packed answers, cookies, redirects, addresses, firewalls."""

import contextlib
import functools
import gzip
import logging
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import trio
import trio.testing
from starlette.requests import HTTPConnection
from starlette.responses import Response

from ravatar_audio.api.backoff import Backoff
from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import open_link
from ravatar_audio.api.link_end import Cause, LinkDown
from ravatar_audio.emulator import Emulator, EmulatorSettings, app
from ravatar_audio.errors import ProtocolError, RavatarError, UnreachableError
from ravatar_audio.session import LiveSession
from ravatar_audio.settings import Settings

from .conftest import Frames
from .served import server_context


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ravatar_audio.api.http.Backoff", functools.partial(Backoff, draw=lambda: 0.01))


@asynccontextmanager
async def answering(answer: bytes, heads: list[bytes] | None = None, *, secure: bool = True) -> AsyncIterator[int]:
    """A server that gives each request the same bytes; its port."""

    async def handle(tcp: trio.SocketStream) -> None:
        stream = trio.SSLStream(tcp, server_context(), server_side=True, https_compatible=True) if secure else tcp
        with contextlib.suppress(trio.BrokenResourceError):
            async with stream:
                while head := await stream.receive_some():
                    if b"HTTP/1.1\r\n" not in head:
                        continue  # the body of a request that has been answered
                    if heads is not None:
                        heads.append(bytes(head))
                    await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(functools.partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def refused(answer: bytes, **settings: Any) -> RavatarError:
    with trio.fail_after(20):
        async with (
            answering(answer) as port,
            Platform(Settings(api_url=f"https://127.0.0.1:{port}", **settings), "u") as client,
        ):
            with pytest.raises(RavatarError) as caught:
                await client.request_token()
    return caught.value


async def test_a_packed_answer_of_gigabytes_is_refused_within_the_limits_memory() -> None:
    body = gzip.compress(gzip.compress(bytes(256 << 20)))
    assert len(body) < 4_000
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n"
    tracemalloc.start()
    try:
        error = await refused(head % len(body) + body)
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()
    assert type(error) is ProtocolError
    assert "POST /jwt answered more than 16 MiB" in error.message


async def test_a_packed_answer_is_read() -> None:
    body = gzip.compress(b'{"result": "success", "jwt": "a.b.c"}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    async with (
        answering(head % len(body) + body) as port,
        Platform(Settings(api_url=f"https://127.0.0.1:{port}"), "u") as client,
    ):
        assert await client.request_token() == "a.b.c"


REDIRECTS = [
    (301, b"https://new.example/base/jwt?token=geheim#x", "https://new.example/base/jwt"),
    (302, b"http://user:geheim@portal.example/login", "http://portal.example/login"),
    (307, b"/elsewhere?secret=geheim", "/elsewhere"),
    (308, b"https://new.example/\x1b]0;owned\x07", "https://new.example/"),
]


@pytest.mark.parametrize(("status", "location", "target"), REDIRECTS)
async def test_a_redirect_names_its_target_and_no_secret_of_it(status: int, location: bytes, target: str) -> None:
    answer = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location)
    error = await refused(answer.replace(b"\x1b", b"").replace(b"\x07", b""))
    assert type(error) is ProtocolError
    assert f"answered {status}, a redirect to {target}" in error.message
    assert "api_url" in error.advice
    assert "geheim" not in f"{error.message} {error.details}"
    async with answering(answer.replace(b"\x1b", b"").replace(b"\x07", b"")) as port:
        with pytest.raises(LinkDown) as caught:
            async with open_link(f"wss://127.0.0.1:{port}/ws/chat", "t", ssl.create_default_context()):
                pytest.fail("it is open")
    assert caught.value.cause is Cause.REFUSED
    assert f"a redirect to {target}" in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert not caught.value.error().retryable


async def test_cookies_that_answers_set_go_with_the_websockets_handshake_and_into_no_log(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    make, look = app._json, app.App._link
    handshakes: list[str | None] = []

    def with_cookie(*args: Any, **options: Any) -> Response:
        answer = make(*args, **options)
        answer.headers.append("set-cookie", "lb=server-seven; Path=/; HttpOnly")
        answer.headers.append("set-cookie", "other=1; Domain=elsewhere.example")
        answer.headers.append("set-cookie", "deep=1; Path=/deeper")
        return answer

    def watched(self: app.App, request: HTTPConnection) -> Any:
        if request.scope["type"] == "websocket":
            handshakes.append(request.headers.get("cookie"))
        return look(self, request)

    monkeypatch.setattr(app, "_json", with_cookie)
    monkeypatch.setattr(app.App, "_link", watched)
    with trio.fail_after(20):
        async with Emulator() as emulator:
            settings = Settings(api_url=emulator.api_url, state_dir=str(tmp_path / "state"))
            async with LiveSession(settings, Frames(every_s=0.01, count=2)) as live:
                await live.wait_finished()
    assert handshakes == ["lb=server-seven"]
    assert "server-seven" not in caplog.text


async def test_a_secure_cookie_does_not_go_in_the_clear() -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: lb=x; Secure\r\nContent-Length: 0\r\n\r\n"
    async with (
        answering(answer, secure=False) as port,
        Platform(Settings(api_url=f"http://127.0.0.1:{port}"), "u") as client,
    ):
        await client.look_at(f"http://127.0.0.1:{port}/")
        assert client.cookies_for_websocket() == ""


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/mit leer", b"/mit%20leer"),
        ("/foyer-süd", b"/foyer-s%C3%BCd"),
        ("/already%20so", b"/already%20so"),
        ("/100%", b"/100%25"),
        ("/a'b(c)", b"/a'b(c)"),
        ("/ünï/", b"/%C3%BCn%C3%AF"),
    ],
)
async def test_a_path_means_the_same_to_http_and_to_the_websocket(path: str, sent: bytes) -> None:
    heads: list[bytes] = []
    with trio.fail_after(20):
        async with answering(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", heads) as port:
            settings = Settings(api_url=f"HTTPS://LOCALHOST:{port}{path}", request_timeout_ms=2_000)
            async with Platform(settings, "u") as client:
                with pytest.raises(ProtocolError):
                    await client.request_token()
                with pytest.raises(LinkDown):
                    async with open_link(settings.websocket_url, "t", client.ssl_context):
                        pytest.fail("it is open")
    assert heads[0].startswith(b"POST " + sent + b"/jwt HTTP/1.1\r\n")
    assert heads[1].startswith(b"GET " + sent + b"/ws/chat?token=t HTTP/1.1\r\n")


@contextmanager
def dropping() -> Iterator[int]:
    """A port to which no connection is ever made, as behind a firewall that drops: its queue is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(server.getsockname())
        yield server.getsockname()[1]


async def test_behind_a_firewall_that_drops_each_try_is_short_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="ravatar_audio")
    with trio.fail_after(30), dropping() as port:
        settings = Settings(api_url=f"https://127.0.0.1:{port}", connect_timeout_ms=300)
        began_s = trio.current_time()
        async with Platform(settings, "u") as client:
            with pytest.raises(UnreachableError, match=r"no connection to 127\.0\.0\.1:\d+ in 0\.3 s") as caught:
                await client.connection()
        assert trio.current_time() - began_s < 3
    assert "firewall" in caught.value.advice
    said = [record.getMessage() for record in caplog.records]
    assert said, "nothing was said while it was tried again"
    assert "no connection to 127.0.0.1" in said[0]
    assert "next try in" in said[0]


class _Failing(Platform):
    """Each call fails with the next of these, after so many seconds, and then answers."""

    failures: list[tuple[float, RavatarError]]

    async def _once(self, *_: object) -> dict[str, object]:
        if not self.failures:
            return {"result": "success", "jwt": "a.b.c"}
        took_s, error = self.failures.pop(0)
        await trio.sleep(took_s)
        raise error


@pytest.mark.parametrize(
    ("failures", "warned"),
    [
        pytest.param([(0.0, "refused")] * 3, 1, id="the same at once"),
        pytest.param([(30.0, "no answer")] * 3, 3, id="the same after long silence"),
        pytest.param([(11.0, "no answer")] * 3, 2, id="the same, now and then"),
        pytest.param([(0.0, "refused"), (0.0, "502"), (0.0, "refused")], 3, id="another reason"),
    ],
)
def test_why_it_is_tried_again_is_said_once_and_again_while_nothing_is_heard(
    failures: list[tuple[float, str]], warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> None:
        client = _Failing(Settings(api_url="https://127.0.0.1:9"), "u")
        client.failures = [(took_s, UnreachableError(text)) for took_s, text in failures]
        await client.request_token()

    caplog.set_level(logging.DEBUG, logger="ravatar_audio")
    trio.run(ask, clock=trio.testing.MockClock(autojump_threshold=0))
    said = [record for record in caplog.records if "next try in" in record.getMessage()]
    assert len(said) == len(failures), "each try is at least a debug line"
    assert sum(record.levelno == logging.WARNING for record in said) == warned


async def test_while_it_waits_for_a_slot_the_reason_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="ravatar_audio")
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(slots=0)) as emulator:
            async with Platform(Settings(api_url=emulator.api_url), "u") as client:
                with pytest.raises(RavatarError):
                    await client.start_live("ava", slot_wait_s=1.0)
            assert emulator.statistics().requests["startLiveSession"][503] > 3
    assert len([record for record in caplog.records if "busy" in record.getMessage()]) == 1


def test_what_goes_in_the_clear_over_a_network_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for api, ws, is_warned in [
        ("https://chat.example", None, False),
        ("http://127.0.0.1:8642", None, False),
        ("http://localhost:8642", None, False),
        ("http://[::1]:8642", None, False),
        ("http://chat.example", None, True),
        ("https://chat.example", "ws://chat.example/ws/chat", True),
        ("https://chat.example", "wss://chat.example/ws/chat", False),
    ]:
        caplog.clear()
        Platform(Settings(api_url=api, ws_url=ws), "u")
        assert any("not encrypted" in record.getMessage() for record in caplog.records) is is_warned, (api, ws)
