"""Through a real HTTP proxy, over real TLS: all that a session says, and what is said of proxies that do not let it."""

import logging
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trustme

from ravatar_audio.api.backoff import Backoff
from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import LinkLimits, open_link
from ravatar_audio.api.link_end import LinkDown, Verdict
from ravatar_audio.diagnosis.platform import PlatformChecks, proxies_used
from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.errors import ProxyError, RavatarError
from ravatar_audio.session import LinkLost, LiveSession
from ravatar_audio.settings import Settings

from ..proxies import PASSWORD, QUOTED, USER, TestProxy, hang, hang_up, open_proxy, refuse, say_nonsense, say_too_much
from .conftest import Frames, until

QUICK: dict[str, Any] = {"connect_timeout_ms": 400, "request_timeout_ms": 1_500}


@pytest.fixture
def ca(tmp_path: Any) -> tuple[ssl.SSLContext, str]:
    """A server's context, and the file that trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return server, str(file)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ravatar_audio.api.http.Backoff", partial(Backoff, draw=lambda: 0.01))


def all_of(error: RavatarError) -> str:
    return f"{error.message} {error.advice} {error.details} {error!r}"


@pytest.mark.parametrize("wants_password", [False, True], ids=["open", "with a password"])
@pytest.mark.parametrize("named_by", ["setting", "https_proxy", "ALL_PROXY"])
async def test_a_whole_session_goes_through_the_proxy_and_its_password_is_shown_nowhere(
    ca: tuple[ssl.SSLContext, str],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    named_by: str,
    wants_password: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    server, file = ca
    with trio.fail_after(30):
        async with (
            Emulator(EmulatorSettings(tls=server)) as emulator,
            open_proxy(wants_password=wants_password) as proxy,
        ):
            given: dict[str, Any] = {}
            if named_by == "setting":
                given["proxy"] = proxy.url_with_password
            else:
                monkeypatch.setenv(named_by, proxy.url_with_password)
            settings = Settings(api_url=emulator.api_url, ca_file=file, state_dir=str(tmp_path / "state"), **given)
            async with LiveSession(settings, Frames(every_s=0.01, count=5)) as live:
                await live.wait_finished()
                used = proxies_used(live.platform)
                shown = [repr(settings), repr(live.platform.proxy_for(settings.api_url)), used or ""]
            statistics = emulator.statistics()
            assert statistics.live[0].frames == 5
            assert statistics.live[0].end_calls == 1
            assert set(proxy.targets) == {f"127.0.0.1:{emulator.port}"}
            assert proxy.opened == statistics.links, "something went past the proxy"
            source = "proxy" if named_by == "setting" else named_by
            assert used == f"HTTP and WebSocket go through the proxy 127.0.0.1:{proxy.port} ({source})"
            for text in (*shown, caplog.text):
                for secret in (PASSWORD, USER, QUOTED, QUOTED.partition(":")[2]):
                    assert secret not in text


async def test_no_proxy_and_none_go_past_it(ca: tuple[ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch) -> None:
    server, file = ca
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(tls=server)) as emulator, open_proxy() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            async with Platform(Settings(api_url=emulator.api_url, ca_file=file, proxy="none"), "u") as client:
                await client.connection()
                assert proxies_used(client) == "none is used: the setting says so"
            monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.0/8")
            async with Platform(Settings(api_url=emulator.api_url, ca_file=file), "u") as client:
                await client.connection()
                assert "NO_PROXY" in (proxies_used(client) or "")
            assert proxy.targets == []


async def nobody(stream: trio.SocketStream) -> None:
    """Never called: nobody listens."""


KINDS: list[tuple[str, Callable[[trio.SocketStream], Awaitable[None]], str, bool]] = [
    # what the proxy does, what is said of it, whether it may pass
    ("refuses the password", refuse(407), "answered 407", False),
    ("refuses with a page", refuse(403), "answered 403: it refuses the way", False),
    ("redirects to a portal", refuse(302), "answered 302", False),
    ("does not reach it", refuse(502), "answered 502: it does not reach", True),
    ("is overloaded", refuse(503), "answered 503", True),
    ("hangs", hang, "did not answer in 0.4 s", True),
    ("hangs up", hang_up, "hung up without an answer", True),
    ("is none", say_nonsense, "does not speak HTTP", False),
    ("never ends its answer", say_too_much, "does not speak HTTP", False),
    ("is not there", nobody, "no connection to 127.0.0.1", True),
]


async def outcome(kind: str, use: Callable[[TestProxy], Awaitable[None]]) -> TestProxy:
    answer = next(item[1] for item in KINDS if item[0] == kind)
    async with open_proxy(answer=answer) as proxy:
        if kind != "is not there":
            await use(proxy)
            return proxy
    await use(proxy)
    return proxy


@pytest.mark.parametrize(("kind", "said", "may_pass"), [(kind, said, passes) for kind, _, said, passes in KINDS])
async def test_over_http_each_failure_of_a_proxy_is_said_to_be_the_proxys(kind: str, said: str, may_pass: bool) -> None:
    async def use(proxy: TestProxy) -> None:
        settings = Settings(api_url="https://127.0.0.1:9", proxy=proxy.url_with_password, **QUICK)
        async with Platform(settings, "u") as client:
            with pytest.raises(ProxyError) as caught:
                await client.connection()
        assert f"the proxy 127.0.0.1:{proxy.port} (proxy)" in caught.value.message
        assert said in caught.value.message
        assert caught.value.retryable is may_pass
        assert "s3cret" not in all_of(caught.value)

    with trio.fail_after(20):
        proxy = await outcome(kind, use)
    if kind != "is not there":
        assert len(proxy.targets) == (4 if may_pass else 1), (
            "what is final is asked once: a wrong password locks accounts"
        )


@pytest.mark.parametrize(("kind", "said", "may_pass"), [(kind, said, passes) for kind, _, said, passes in KINDS])
async def test_over_the_websocket_as_well(kind: str, said: str, may_pass: bool) -> None:
    async def use(proxy: TestProxy) -> None:
        settings = Settings(api_url="https://127.0.0.1:9", proxy=proxy.url_with_password)
        chosen = Platform(settings, "u").proxy_for(settings.websocket_url)
        with pytest.raises(LinkDown) as caught:
            async with open_link(
                settings.websocket_url, "t", ssl.create_default_context(), LinkLimits(connect_s=0.4), proxy=chosen
            ):
                pytest.fail("there is no way")
        down = caught.value
        assert said in str(down)
        assert down.verdict is (Verdict.RETRY if may_pass else Verdict.FINAL)
        error = down.error()
        assert isinstance(error, ProxyError)
        assert error.retryable is may_pass
        assert "s3cret" not in all_of(error) + str(down)

    with trio.fail_after(20):
        await outcome(kind, use)


async def test_a_session_outlives_a_proxy_that_refuses_for_a_while(
    ca: tuple[ssl.SSLContext, str], tmp_path: Any
) -> None:
    server, file = ca
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(tls=server)) as emulator, open_proxy() as proxy:
            settings = Settings(
                api_url=emulator.api_url, ca_file=file, proxy=proxy.url, state_dir=str(tmp_path / "state"), **QUICK
            )
            async with LiveSession(settings, Frames(every_s=0.05)) as live:
                await until(lambda: live.statistics().sent_frames >= 2, "frames")
                proxy.answer = refuse(407)
                for conversation in tuple(emulator._app.open):
                    await conversation.close(1012)
                lost: list[LinkLost] = []
                async for event in live.events():
                    if isinstance(event, LinkLost):
                        lost.append(event)
                        if len(lost) == 2:
                            proxy.answer = None
                    if live.statistics().connects == 2:
                        break
            assert "the proxy 127.0.0.1" in lost[1].why
            assert "407" in lost[1].why


async def test_a_certificate_is_that_of_the_platform_also_behind_a_proxy(tmp_path: Any) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server)
    with trio.fail_after(20):
        async with (
            Emulator(EmulatorSettings(tls=server)) as emulator,
            open_proxy() as proxy,
            Platform(Settings(api_url=emulator.api_url, proxy=proxy.url), "u") as client,
        ):
            with pytest.raises(RavatarError, match=f"the certificate of 127.0.0.1:{emulator.port} is refused"):
                await client.connection()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_without_tls_the_environments_proxy_is_used_for_both_as_well(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(tls=None)) as emulator, open_proxy() as proxy:
            monkeypatch.setenv(name, proxy.url)
            settings = Settings(api_url=emulator.api_url, state_dir=str(tmp_path / "state"))
            async with LiveSession(settings, Frames(every_s=0.01, count=3)) as live:
                await live.wait_finished()
            assert emulator.statistics().frames == 3
            assert proxy.opened == emulator.statistics().links


async def test_the_doctor_looks_at_the_proxy_first_and_says_which_one(ca: tuple[ssl.SSLContext, str]) -> None:
    server, file = ca
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(tls=server)) as emulator, open_proxy(wants_password=True) as proxy:
            for url, states in [
                (proxy.url_with_password, {"ok"}),
                (proxy.url, {"ok", "error", "skipped"}),
            ]:
                settings = Settings(api_url=emulator.api_url, ca_file=file, proxy=url)
                async with Platform(settings, "u") as client:
                    found = [item async for item in PlatformChecks(client, with_slot=True).run()]
                assert {item.status for item in found} == states
                assert found[0].name == "proxy"
                by_name = {item.name: item for item in found}
                assert f"127.0.0.1:{proxy.port}" in by_name["address"].message
                assert not any("s3cret" in f"{item.message}{item.advice}" for item in found)
                if "error" in states:
                    problem = by_name["TLS and HTTP"]
                    assert "answered 407: it wants a user and a password" in problem.message
                    assert problem.exit_code == 4
