"""Opening a WebSocket over real sockets: peers that hang up, refuse, keep silent or are something else altogether."""

import ssl

import pytest
import trio

from ravatar_audio.api.link import LinkLimits, open_link
from ravatar_audio.api.link_end import Cause, LinkDown

from .linked import PLAIN, QUICK, Tls, accept_and_pump, fails
from .scripted import Peer, scripted
from .served import authority


@pytest.mark.row("trap 1: hung up on in the handshake, it waits for ever")
async def test_trap_1_a_peer_that_hangs_up_before_its_answer_is_noticed_at_once(tls: Tls) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()

    began_s = trio.current_time()
    assert (await fails(script, tls)).cause is Cause.UNREACHABLE
    assert trio.current_time() - began_s < 1


@pytest.mark.row("trap 1: hung up on in the handshake, it waits for ever")
async def test_trap_1_half_an_answer_is_noticed_at_once(tls: Tls) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso")

    down = await fails(script, tls)
    assert down.cause is Cause.UNREACHABLE


async def test_a_peer_that_never_answers_is_given_up_at_the_deadline(tls: Tls) -> None:
    async def script(peer: Peer) -> None:
        await trio.sleep_forever()

    began_s = trio.current_time()
    limits = LinkLimits(connect_s=0.3)
    assert (await fails(script, tls, limits)).cause is Cause.TIMEOUT
    assert 0.25 < trio.current_time() - began_s < 1


async def test_a_tls_handshake_that_is_never_answered_is_given_up_at_the_deadline() -> None:
    async def script(peer: Peer) -> None:
        await trio.sleep_forever()

    async with scripted(script) as url:
        with trio.fail_after(5), pytest.raises(LinkDown) as caught:
            async with open_link(url.replace("ws:", "wss:"), "token", Tls(True).client, LinkLimits(connect_s=0.3)):
                pass
    assert caught.value.cause is Cause.TIMEOUT


@pytest.mark.parametrize("with_length", [True, False], ids=["content-length", "until the end"])
@pytest.mark.parametrize("status", [301, 402, 403, 404, 429, 503])
@pytest.mark.row("trap 7: a refusal comes as a group from the nursery")
async def test_trap_7_a_refused_handshake_is_one_plain_error_with_its_status(
    tls: Tls, status: int, with_length: bool
) -> None:
    body = b'{"error": "not today"}'

    async def script(peer: Peer) -> None:
        await peer.read_request()
        length = f"Content-Length: {len(body)}\r\n" if with_length else "Connection: close\r\n"
        await peer.stream.send_all(f"HTTP/1.1 {status} No\r\nRetry-After: 7\r\n{length}\r\n".encode() + body)

    down = await fails(script, tls)
    assert (down.cause, down.status) == (Cause.REFUSED, status)
    if with_length:
        assert (down.why, down.retry_after_s) == ("not today", 7.0)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\xff" * 50, b"HTTP/1.1 101 Yes\r\n\r\n"])
@pytest.mark.row("trap 8: an answer that is not HTTP leaks the parser's error")
async def test_trap_8_an_answer_that_is_no_handshake_is_one_plain_error(tls: Tls, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.stream.send_all(answer)
        await trio.sleep(0.2)

    assert (await fails(script, tls)).cause is Cause.NOT_WEBSOCKET


@pytest.mark.row("trap 13: errors of connecting are wrapped", "bad host")
async def test_trap_13_no_listener_and_no_such_host() -> None:
    for url in ("ws://127.0.0.1:1/ws/chat", "ws://does-not-exist.invalid/ws/chat"):
        with trio.fail_after(8), pytest.raises(LinkDown) as caught:
            async with open_link(url, "token", PLAIN, LinkLimits(connect_s=7)):
                pass
        assert caught.value.cause is Cause.UNREACHABLE


@pytest.mark.row("bad certificate")
async def test_a_wrong_certificate_is_final_and_says_why() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("localhost").configure_cert(server)
    stranger, friend = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.create_default_context()
    async with scripted(accept_and_pump, tls=server) as url:
        for client, wrong_url in [(stranger, url), (friend, url.replace("localhost", "127.0.0.1"))]:
            with trio.fail_after(5), pytest.raises(LinkDown) as caught:
                async with open_link(wrong_url, "token", client, QUICK):
                    pass
            assert caught.value.cause is Cause.CERTIFICATE
            assert "certificate" in str(caught.value)


async def test_a_plain_server_behind_wss_is_one_plain_error() -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.receive_some()
        await peer.stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with scripted(script) as url:
        with trio.fail_after(5), pytest.raises(LinkDown) as caught:
            async with open_link(url.replace("ws:", "wss:"), "token", Tls(True).client, QUICK):
                pass
    assert caught.value.cause is Cause.NOT_WEBSOCKET
