"""One WebSocket connection over real sockets: what its library leaves open, trap by trap, in the clear and over TLS."""

import pytest
import trio
import trio.testing
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.api.link import Link, LinkLimits, open_link
from ravatar_audio.api.link_end import Cause, LinkDown, Verdict
from ravatar_audio.frames import FRAME_BYTES

from .linked import ENVELOPE, QUICK, Tls, accept_and_pump, fails, hold, pump, texts
from .scripted import Peer, scripted


@pytest.mark.row("socket address", "trap 12: bytes go out as binary", "voice encoding")
async def test_both_ways_of_sending_arrive_byte_for_byte_between_pings_and_texts(tls: Tls) -> None:
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        assert (await peer.accept()).endswith("?token=a%2Fb%20c")
        await pump(peer)

    encoder = AudioEncoder(ENVELOPE)
    sounds = [bytes([index % 251]) * FRAME_BYTES for index in range(300)]
    async with scripted(script, tls=tls.server) as url:
        with trio.fail_after(8):
            async with open_link(url, "a/b c", tls.client, QUICK) as link:

                async def chatter() -> None:
                    for index in range(60):
                        await link.send_text(f"text {index}")

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(chatter)
                    nursery.start_soon(chatter)
                    for index, pcm in enumerate(sounds):
                        if index % 3:
                            await link.send_frame(encoder.frame(pcm))
                        else:
                            await link.send_text(encoder.text(pcm))
    arrived = [text for text in texts(peers[0]) if text.startswith("{")]
    assert arrived == [encoder.text(pcm) for pcm in sounds]
    assert len(texts(peers[0])) == 300 + 120
    assert not any(isinstance(event, BytesMessage) for event in peers[0].events)
    close = peers[0].events[-1]
    assert isinstance(close, CloseConnection)
    assert close.code == 1000


async def test_a_frame_that_the_socket_takes_in_part_is_finished_before_anything_else_is_sent(tls: Tls) -> None:
    go_on = trio.Event()
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await peer.accept()
        await go_on.wait()
        await pump(peer)

    encoder = AudioEncoder(ENVELOPE)
    begun = 0
    async with scripted(script, tls=tls.server) as url:
        with trio.fail_after(8):
            async with open_link(url, "token", tls.client, QUICK) as link, trio.open_nursery() as nursery:
                while encoder.send_now(link, bytes([begun % 251]) * FRAME_BYTES):
                    begun += 1
                assert link.wire.send_started_s is not None, "the watchdog has to see it"
                assert not encoder.send_now(link, bytes(FRAME_BYTES)), "the stream is busy"
                nursery.start_soon(link.send_text, "behind it")
                await trio.testing.wait_all_tasks_blocked()
                go_on.set()
                await encoder.send(link, bytes([begun % 251]) * FRAME_BYTES)
    expected = [encoder.text(bytes([number % 251]) * FRAME_BYTES) for number in range(begun + 1)]
    assert texts(peers[0]) == [*expected, "behind it"]


async def test_leaving_with_a_frame_half_written_says_nothing_more(tls: Tls) -> None:
    encoder = AudioEncoder(ENVELOPE)
    async with scripted(hold, tls=tls.server) as url:
        with trio.fail_after(8):
            async with open_link(url, "token", tls.client, QUICK) as link:
                while encoder.send_now(link, bytes(FRAME_BYTES)):
                    pass
                began_s = trio.current_time()
            assert trio.current_time() - began_s < 0.1


# The connection's end.


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013, 4001, 4403])
async def test_a_close_code_arrives_at_once(tls: Tls, code: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(CloseConnection(code=code, reason="because"))
        await peer.next_event()

    down = await fails(script, tls)
    assert (down.cause, down.close_code, down.why) == (Cause.CLOSED, code, "because")


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_drop_without_a_close_is_1006_at_once(tls: Tls, how: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        if how == "reset":
            peer.reset()

    down = await fails(script, tls)
    assert (down.cause, down.close_code) == (Cause.CLOSED, 1006)


@pytest.mark.row("trap 10: a large message closes the link", "bad size of a message")
async def test_trap_10_a_message_that_is_too_large_ends_the_link_in_words(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ravatar_audio.api.link.LARGEST_MESSAGE_CHARS", 1 << 20)

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(TextMessage("x" * 1_200_000))
        await pump(peer)

    down = await fails(script, tls)
    assert down.cause is Cause.VIOLATION
    assert "1 MiB" in str(down)


async def test_a_message_as_large_as_allowed_arrives(tls: Tls) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(TextMessage("x" * 4_000_000))
        await pump(peer)

    async with scripted(script, tls=tls.server) as url:
        with trio.fail_after(5):
            async with open_link(url, "token", tls.client, QUICK) as link:
                assert len(await link.receive()) == 4_000_000


@pytest.mark.parametrize(
    "data",
    [b"\x81\x02\xff\xfe", b"\x83\x00", b"\x81\x85mask12345", b"\x8f\x00"],
    ids=["broken UTF-8", "reserved opcode", "masked by the server", "unknown control"],
)
@pytest.mark.row("bad UTF-8")
async def test_what_breaks_the_protocol_ends_the_link_and_nothing_else(tls: Tls, data: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.send_all(data)
        await trio.sleep(0.5)

    down = await fails(script, tls)
    assert (down.cause, down.close_code) == (Cause.VIOLATION, None)
    assert down.verdict is Verdict.RETRY


# A dead peer, and one that does not read.


@pytest.mark.row("trap 2: a ping is never woken when the connection dies")
async def test_trap_2_a_peer_that_answers_no_ping_is_found_dead(tls: Tls) -> None:
    async with scripted(hold, tls=tls.server) as url:
        with trio.fail_after(5), pytest.raises(LinkDown) as caught:  # noqa: PT012 - one block
            async with open_link(url, "token", tls.client, QUICK) as link:
                began_s = trio.current_time()
                await link.watch()
        assert caught.value.cause is Cause.SILENT
        assert trio.current_time() - began_s < 0.2 + 0.3 + 0.3


async def fill(link: Link) -> None:
    encoder = AudioEncoder(ENVELOPE)
    while True:
        await link.send_frame(encoder.frame(bytes(FRAME_BYTES)))
        await trio.lowlevel.checkpoint()


async def test_a_send_that_does_not_finish_is_noticed(tls: Tls) -> None:
    limits = LinkLimits(stuck_send_s=0.4, ping_interval_s=0.2, silence_s=60, deaf_s=60, leave_s=0.2)
    async with scripted(hold, tls=tls.server) as url:
        with trio.fail_after(8), pytest.raises(LinkDown, match="could not be written") as caught:  # noqa: PT012 - one block
            async with open_link(url, "token", tls.client, limits) as link, trio.open_nursery() as nursery:
                nursery.start_soon(fill, link)
                try:
                    await link.watch()
                finally:
                    nursery.cancel_scope.cancel()
        assert caught.value.cause is Cause.SILENT


@pytest.mark.row("complaint 19: pings time out although data flows")
async def test_complaint_19_pings_without_answer_are_no_death_while_data_flows(tls: Tls) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        while True:  # reads, and never answers a ping
            await peer.next_event()

    async with scripted(script, tls=tls.server) as url:
        with trio.fail_after(5):
            async with open_link(url, "token", tls.client, LinkLimits(**_limits(deaf_s=60))) as link:
                encoder = AudioEncoder(ENVELOPE)
                with trio.move_on_after(1.2) as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(link.watch)
                        while True:
                            await link.send_frame(encoder.frame(bytes(FRAME_BYTES)))
                            await trio.sleep(0.1)
                assert scope.cancelled_caught


def _limits(**changes: float) -> dict[str, float]:
    return {name: getattr(QUICK, name) for name in QUICK.__slots__} | changes


@pytest.mark.row("trap 3: a cancelled send leaves half a message")
async def test_trap_3_after_a_cancelled_send_nothing_more_is_sent(tls: Tls) -> None:
    go_on = trio.Event()
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await peer.accept()
        await go_on.wait()
        await pump(peer)

    async with scripted(script, tls=tls.server) as url:
        with trio.fail_after(8):
            async with open_link(url, "token", tls.client, QUICK) as link:
                with trio.move_on_after(0.3):
                    await fill(link)
                assert link.wire.is_torn
                go_on.set()
                with pytest.raises(LinkDown):
                    await link.send_text("never to be seen")
                with pytest.raises(LinkDown):
                    await link.send_frame(b"never to be seen")
            for _ in range(1_000):
                if len(peers) == 1 and not link.wire.ended.is_set():
                    break
                await trio.sleep(0.001)
    whole = texts(peers[0])
    assert all(text.startswith('{"avatar_id"') and text.endswith('"}') for text in whole)
    assert not any(isinstance(event, CloseConnection) for event in peers[0].events)


@pytest.mark.row("trap 5: ping and close wait behind a blocked send")
async def test_trap_5_leaving_a_peer_that_does_not_read_takes_no_longer_than_the_limit(tls: Tls) -> None:
    async with scripted(hold, tls=tls.server) as url:
        with trio.fail_after(8):
            async with open_link(url, "token", tls.client, QUICK) as link:
                with trio.move_on_after(0.3):
                    await fill(link)
                began_s = trio.current_time()
            assert trio.current_time() - began_s < 0.3


@pytest.mark.row("trap 9: a cancelled block says no Close")
async def test_trap_9_a_cancelled_block_still_says_close_1000(tls: Tls) -> None:
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await accept_and_pump(peer)

    async with scripted(script, tls=tls.server) as url:
        with trio.fail_after(5):
            with trio.CancelScope() as scope:
                async with open_link(url, "token", tls.client, QUICK):
                    began_s = trio.current_time()
                    scope.cancel()
                    await trio.sleep_forever()
            assert scope.cancelled_caught
            assert trio.current_time() - began_s < 0.1
    close = peers[0].events[-1]
    assert isinstance(close, CloseConnection)
    assert close.code == 1000


@pytest.mark.row("trap 4: nothing is read while nobody takes messages")
async def test_trap_4_pings_are_answered_while_messages_are_taken(tls: Tls) -> None:
    answered = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        for number in range(200):
            await peer.send(TextMessage(f"{number}"))
        await peer.send(Ping(b"still there?"))
        while not isinstance(await peer.next_event(), Pong):
            pass
        answered.set()
        await pump(peer)

    async with scripted(script, tls=tls.server) as url:
        with trio.fail_after(5):
            async with open_link(url, "token", tls.client, QUICK) as link, trio.open_nursery() as nursery:

                async def take() -> None:
                    while True:
                        await link.receive()

                nursery.start_soon(take)
                await answered.wait()
                nursery.cancel_scope.cancel()


@pytest.mark.row("trap 6: no keep-alive, no reconnect, no compression of its own")
async def test_trap_6_an_idle_link_is_kept_alive_and_no_compression_is_offered(tls: Tls) -> None:
    requests: list[bytes] = []
    pinged = trio.Event()

    async def script(peer: Peer) -> None:
        requests.append(request := await peer.read_request())
        peer.ws.receive_data(request)
        await peer.accept()
        while not isinstance(event := await peer.next_event(), Ping):
            pass
        pinged.set()
        await peer.send(event.response())
        await pump(peer)

    async with scripted(script, tls=tls.server) as url:
        with trio.fail_after(5):
            async with open_link(url, "token", tls.client, QUICK) as link, trio.open_nursery() as nursery:
                nursery.start_soon(link.watch)
                await pinged.wait()
                nursery.cancel_scope.cancel()
    assert b"sec-websocket-extensions" not in requests[0].lower()


@pytest.mark.row("trap 11: it reads in small pieces")
async def test_trap_11_a_large_message_is_read_in_large_pieces(tls: Tls) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(TextMessage("x" * 900_000))
        await pump(peer)

    pieces: list[int] = []
    async with scripted(script, tls=tls.server) as url:
        with trio.fail_after(5):
            async with open_link(url, "token", tls.client, QUICK) as link:
                receive_some = link.wire.receive_some

                async def counted(max_bytes: int | None = None) -> bytes:
                    data = await receive_some(max_bytes)
                    pieces.append(len(data))
                    return data

                link.wire.receive_some = counted  # type: ignore[method-assign]  # the library calls it by name
                assert len(await link.receive()) == 900_000
    assert max(pieces) >= 16_000  # of TLS a record; the library's own default is a quarter of that


async def test_an_error_of_the_block_comes_out_as_it_is(tls: Tls) -> None:
    async with scripted(accept_and_pump, tls=tls.server) as url:
        with pytest.raises(ZeroDivisionError):
            async with open_link(url, "token", tls.client, QUICK):
                raise ZeroDivisionError


def test_the_limits_keep_their_promise_of_6_s() -> None:
    limits = LinkLimits()
    assert limits.ping_interval_s + limits.silence_s <= 6
    assert 1.5 + limits.stuck_send_s <= 6  # some 1.5 s of sound go into the system before a send waits
    assert limits.user_timeout_s + 0.5 <= 6
