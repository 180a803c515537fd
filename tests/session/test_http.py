"""The endpoints against the emulator: every row of the status table, every endpoint, every observed variant."""

import functools
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme

from ravatar_audio.api.backoff import Backoff
from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import open_link
from ravatar_audio.api.link_end import Cause, LinkDown
from ravatar_audio.api.results import viewer_url
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import (
    AuthenticationError,
    BadRequestError,
    BusyError,
    CertificateError,
    GatewayTimeoutError,
    PaymentRequiredError,
    ProtocolError,
    RavatarError,
    ServerError,
    SettingsError,
    UnreachableError,
)
from ravatar_audio.settings import Settings

from .served import server_context


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first delay is 50 ms, the next ones 100, 200, ...: their growth is tested where the clock can be turned."""
    monkeypatch.setattr("ravatar_audio.api.http.Backoff", functools.partial(Backoff, draw=lambda: 0.05))


@asynccontextmanager
async def platform(*faults: Fault, settings: dict[str, Any] | None = None, **emulator: Any) -> AsyncIterator[Any]:
    with trio.fail_after(15):
        async with (
            Emulator(EmulatorSettings(faults=faults, **emulator)) as server,
            Platform(Settings(api_url=server.api_url, **(settings or {})), "user-1") as client,
        ):
            yield server, client


def calls(server: Emulator, endpoint: str) -> dict[int, int]:
    return dict(server.statistics().requests.get(endpoint, {}))


@pytest.mark.parametrize("observed_names", [False, True])
@pytest.mark.row(
    "POST /jwt",
    "GET /connection",
    "POST /startLiveSession",
    "POST /endLiveSession",
    "GET /chat",
    "HTTP 200",
    "observed spelling",
)
async def test_every_endpoint_in_the_guides_and_the_observed_spelling(observed_names: bool) -> None:
    async with platform(observed_names=observed_names, vad_enabled=True) as (server, client):
        connection = await client.connection()
        assert connection.session
        assert connection.vad_enabled is True
        assert [(item.id, item.has_live_mode) for item in connection.avatars] == [
            ("ava", True),
            ("ben", True),
            ("clara", False),
        ]
        assert [item.code for item in connection.languages] == ["en-US", "de-DE", "fr-FR"]
        start = await client.start_live("ava", width=1920, height=1080)
        assert start.license_id not in repr(start)
        await client.end_live(start.license_id)
        assert [item async for item in client.chat()] == []
        assert calls(server, "jwt") == {200: 1}
        assert (server.statistics().live[0].width, server.statistics().live[0].height) == (1920, 1080)


STATUS_ROWS = [
    # status, error when it goes on for ever, calls made until then, whether a kiosk may try again later
    (400, BadRequestError, 1, False),
    pytest.param(402, PaymentRequiredError, 1, False, marks=pytest.mark.row("HTTP 402")),
    pytest.param(403, AuthenticationError, 2, False, marks=pytest.mark.row("HTTP 403")),
    (404, ProtocolError, 1, False),
    (429, GatewayTimeoutError, 4, True),
    (500, ServerError, 1, True),
    (502, GatewayTimeoutError, 4, True),
    pytest.param(503, BusyError, 1, True, marks=pytest.mark.row("HTTP 503")),
    pytest.param(504, GatewayTimeoutError, 4, True, marks=pytest.mark.row("HTTP 504")),
]


@pytest.mark.parametrize(("status", "kind", "tries", "retryable"), STATUS_ROWS)
async def test_status_rows(status: int, kind: type[RavatarError], tries: int, retryable: bool) -> None:
    async with platform(Fault(at="connection", do="status", status=status, times=0)) as (server, client):
        with pytest.raises(kind) as caught:
            await client.connection()
        assert type(caught.value) is kind
        assert caught.value.details["status"] == status
        assert caught.value.advice
        assert caught.value.retryable is retryable
        assert calls(server, "connection") == {status: tries}


@pytest.mark.row("meet 402")
async def test_row_402_tells_to_pay() -> None:
    async with platform(Fault(at="jwt", do="status", status=402)) as (_, client):
        with pytest.raises(PaymentRequiredError) as caught:
            await client.connection()
        assert "Pay" in caught.value.advice


@pytest.mark.row("HTTP 403")
async def test_row_403_many_calls_in_flight_cause_one_refresh() -> None:
    async with platform() as (server, client):
        await client.connection()
        server.expire_tokens()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(client.connection)
        assert calls(server, "jwt") == {200: 2}
        assert calls(server, "connection")[200] == 21
        assert calls(server, "connection")[403] <= 20


@pytest.mark.row("HTTP 403")
async def test_row_403_once_is_cured_by_one_refresh_and_one_repeat() -> None:
    async with platform(Fault(at="startLiveSession", do="status", status=403)) as (server, client):
        await client.start_live("ava")
        assert calls(server, "jwt") == {200: 2}
        assert calls(server, "startLiveSession") == {403: 1, 200: 1}


@pytest.mark.row("HTTP 503")
async def test_row_503_waits_for_a_slot_when_asked_to() -> None:
    async with platform(Fault(at="startLiveSession", do="status", status=503, times=3)) as (server, client):
        await client.start_live("ava", slot_wait_s=10)
        assert calls(server, "startLiveSession") == {503: 3, 200: 1}


async def test_row_503_the_wait_is_bounded_and_retry_after_is_honoured() -> None:
    fault = Fault(at="startLiveSession", do="status", status=503, times=0, retry_after_s=1)
    async with platform(fault) as (server, client):
        began_s = trio.current_time()
        with pytest.raises(BusyError) as caught:
            await client.start_live("ava", slot_wait_s=2.5)
        assert 2 <= trio.current_time() - began_s < 2.6
        assert calls(server, "startLiveSession") == {503: 3}
        assert "try again later" in caught.value.advice


@pytest.mark.row("HTTP 504")
async def test_row_504_is_tried_again() -> None:
    for endpoint in ("jwt", "connection", "startLiveSession", "endLiveSession", "chat"):
        async with platform(Fault(at=endpoint, do="status", status=504, times=2)) as (server, client):
            await client.connection()
            start = await client.start_live("ava")
            await client.end_live(start.license_id)
            await client.chat_page()
            assert calls(server, endpoint)[504] == 2


@pytest.mark.parametrize("do", ["reset", "hang_up"])
async def test_a_connection_that_breaks_is_tried_again(do: str) -> None:
    async with platform(Fault(at="connection", do=do, times=2)) as (_, client):
        assert (await client.connection()).session


async def test_a_busy_platform_still_gets_its_slot_back() -> None:
    async with platform(Fault(at="endLiveSession", do="status", status=503, times=3)) as (server, client):
        start = await client.start_live("ava")
        await client.end_live(start.license_id)
        assert server.statistics().live[0].state == "ended"


async def test_no_answer_in_time() -> None:
    fault = Fault(at="connection", do="delay", delay_s=30, times=0)
    async with platform(fault, settings={"request_timeout_ms": 200}) as (_, client):
        with pytest.raises(GatewayTimeoutError, match=r"0\.2 s"):
            await client.connection()


@pytest.mark.parametrize("do", ["garbage", "oversized"])
@pytest.mark.row("bad JSON")
async def test_an_answer_that_is_none_is_a_clear_error(do: str) -> None:
    async with platform(Fault(at="connection", do=do, times=0, size_bytes=17 << 20)) as (_, client):
        with pytest.raises(ProtocolError):
            await client.connection()


@pytest.mark.row("jwt project_not_found")
async def test_an_unknown_project_is_an_error_of_authentication() -> None:
    async with platform(projects=("known",), settings={"project_id": "other"}) as (server, client):
        with pytest.raises(AuthenticationError, match="project_not_found"):
            await client.connection()
        assert calls(server, "jwt") == {401: 1}


@pytest.mark.row("bad user or project id")
async def test_input_is_checked_before_it_is_sent() -> None:
    async with platform() as (server, client):
        for avatar, width, height, word in [("", 1, 1, "avatar_id"), ("a", 1921, 1, "1920"), ("a", 1, 1081, "1080")]:
            with pytest.raises(SettingsError, match=word):
                await client.start_live(avatar, width=width, height=height)
        with pytest.raises(SettingsError, match="128"):
            Platform(Settings(), "not allowed")
        with pytest.raises(SettingsError, match="128"):
            Platform(Settings(), "x" * 129)
        assert server.statistics().requests.get("startLiveSession") is None


@pytest.mark.row("bad certificate")
async def test_a_wrong_certificate_says_so_and_a_trusted_one_works(tmp_path: Any) -> None:
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(other)
    authority = trustme.CA()
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(own)
    async with platform(tls=other, settings={"ca_file": str(trusted)}) as (_, client):
        with pytest.raises(CertificateError, match="certificate"):
            await client.connection()
    async with platform(tls=own, settings={"ca_file": str(trusted)}) as (_, client):
        assert (await client.connection()).session


async def test_a_ca_file_without_certificates_is_refused(tmp_path: Any) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(SettingsError, match=r"empty\.pem"):
        Platform(Settings(ca_file=str(empty)), "u")


@pytest.mark.row("complaint 18: cancelled requests leak connections")
async def test_complaint_18_cancelled_requests_leave_the_pool_usable() -> None:
    async with platform(Fault(at="connection", do="delay", delay_s=0.01, times=0)) as (_, client):
        await client.connection()
        for round_number in range(10):
            with trio.move_on_after(0.002 * round_number):
                async with trio.open_nursery() as nursery:
                    for _ in range(100):
                        nursery.start_soon(client.connection)
        assert (await client.connection()).session


async def test_growth_of_the_delays(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ravatar_audio.api.http.Backoff", functools.partial(Backoff, draw=lambda: 1.0))
    client = Platform(Settings(api_url="https://127.0.0.1:1"), "u")
    tries: list[float] = []

    async def once(*args: object) -> None:
        tries.append(trio.current_time())
        raise UnreachableError("no")

    monkeypatch.setattr(client, "_once", once)
    async with client:
        with pytest.raises(UnreachableError):
            await client.connection()
    assert [round(later - earlier, 3) for earlier, later in itertools.pairwise(tries)] == [1.0, 2.0, 4.0]


@pytest.mark.row("streaming URL")
def test_the_viewers_url() -> None:
    assert viewer_url("http://h/p?a=1&token=old", "a/b", page_is_https=True) == "https://h/p?a=1&token=a%2Fb"
    assert viewer_url("http://h/p", "t", page_is_https=False) == "http://h/p?token=t"
    assert viewer_url("https://h/p#x", "t", page_is_https=True) == "https://h/p?token=t#x"


@pytest.mark.row("bad host")
async def test_a_name_that_is_no_host_name_is_one_typed_error() -> None:
    with pytest.raises(SettingsError, match="api_url is no address"):
        Settings(api_url="https://\N{SNOWMAN}.example")
    settings = Settings()
    object.__setattr__(settings, "api_url", "https://\N{SNOWMAN}.example")  # what the check above is there for
    async with Platform(settings, "user-1") as client:
        with pytest.raises(UnreachableError, match="it is no host name"):
            await client.connection()
        with pytest.raises(LinkDown) as caught:
            async with open_link(settings.websocket_url, "token", client.ssl_context):
                pytest.fail("there is no such host")
    assert caught.value.cause is Cause.UNREACHABLE


async def test_a_secret_that_the_platform_repeats_is_not_in_the_errors_details() -> None:
    async def refuse(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async with stream:
            await stream.receive_some()
            body = b'{"error": "bad_token secret-license-1"}'
            await stream.send_all(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                functools.partial(trio.serve_ssl_over_tcp, refuse, 0, server_context(), host="127.0.0.1")
            )
            address = listeners[0].transport_listener.socket.getsockname()
            async with Platform(Settings(api_url=f"https://{address[0]}:{address[1]}"), "user-1") as client:
                client.log.add_secret("secret-license-1")
                with pytest.raises(BadRequestError) as caught:
                    await client.request_token()
            nursery.cancel_scope.cancel()
    assert caught.value.details["error"] == "bad_token [hidden]"
    assert "secret-license-1" not in str(caught.value)
