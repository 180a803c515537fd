"""Whether the peer lives: pings that were never sent, servers that answer none, lines on which nothing moves."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from wsproto.events import CloseConnection

from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.api.heartbeat import (
    MISSES_OF_A_STRANGER,
    MISSES_OF_AN_ACQUAINTANCE,
    SLOWEST_BYTES_PER_S,
    PongHabit,
)
from ravatar_audio.api.link import Link, LinkLimits, open_link
from ravatar_audio.api.link_end import Cause, LinkDown
from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.emulator.faults import Fault
from ravatar_audio.frames import FRAME_BYTES
from ravatar_audio.session import LinkLost, LiveSession

from .conftest import Frames, MakeSettings, until
from .linked import ENVELOPE, Tls, accept_and_pump, hold
from .scripted import Peer, Script, scripted
from .served import server_context

LIMITS = LinkLimits(ping_interval_s=0.2, deaf_ping_s=0.4, silence_s=0.3, deaf_s=0.6, stuck_send_s=2.0, leave_s=0.2)


async def read_without_pongs(peer: Peer) -> None:
    """A server that reads everything and answers no ping."""
    await peer.accept()
    while not isinstance(event := await peer.next_event(), CloseConnection):
        pass
    await peer.send(event.response())


@asynccontextmanager
async def linked(
    script: Script, tls: Tls, habit: PongHabit, limits: LinkLimits = LIMITS
) -> AsyncIterator[tuple[Link, list[LinkDown]]]:
    """A link that is watched; what ended it, if anything."""
    ends: list[LinkDown] = []
    async with (
        scripted(script, tls=tls.server) as url,
        open_link(url, "token", tls.client, limits, habit=habit) as link,
        trio.open_nursery() as nursery,
    ):

        async def watch() -> None:
            try:
                await link.watch()
            except LinkDown as down:
                ends.append(down)

        nursery.start_soon(watch)
        yield link, ends
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("has_answered_before", [False, True])
@pytest.mark.parametrize("is_sending", [False, True], ids=["idle", "sending"])
async def test_a_server_that_answers_no_pings_is_learnt_and_keeps_its_connection(
    tls: Tls, has_answered_before: bool, is_sending: bool
) -> None:
    habit = PongHabit()
    if has_answered_before:
        habit.note_pong()
    needed = MISSES_OF_AN_ACQUAINTANCE if has_answered_before else MISSES_OF_A_STRANGER
    drops = 0
    encoder = AudioEncoder(ENVELOPE)
    for _ in range(needed + 1):
        async with linked(read_without_pongs, tls, habit) as (link, ends):
            with trio.move_on_after(2.5):
                while not ends:
                    if is_sending:
                        await link.send_frame(encoder.frame(bytes(FRAME_BYTES)))
                    await trio.sleep(0.05)
        drops += len(ends)
        assert all(down.cause is Cause.SILENT for down in ends)
    assert habit.is_silent
    assert drops == needed - 1


async def test_a_server_that_answers_once_it_is_asked_again_is_trusted_again(tls: Tls) -> None:
    habit = PongHabit()
    for _ in range(MISSES_OF_A_STRANGER):
        habit.note_miss()
    assert habit.is_silent
    async with linked(accept_and_pump, tls, habit):
        await until(lambda: not habit.is_silent, "the pong to be noticed")


async def test_a_ping_that_the_socket_does_not_take_is_not_waited_for(tls: Tls) -> None:
    """The socket is full, but goes on: slowly enough that no ping finds room."""

    async def trickle(peer: Peer) -> None:
        await peer.accept()
        with trio.CancelScope():
            while True:
                await peer.tcp.receive_some(2_048)
                await trio.sleep(0.01)

    limits = LinkLimits(ping_interval_s=0.1, deaf_ping_s=0.1, silence_s=0.3, deaf_s=0.6, stuck_send_s=3.0)
    async with linked(trickle, tls, PongHabit(), limits) as (link, ends):
        encoder = AudioEncoder(ENVELOPE)
        with trio.move_on_after(2.0):
            while not ends:
                await link.send_frame(encoder.frame(bytes(FRAME_BYTES)))
        assert not ends


async def test_an_unanswered_ping_that_the_peers_system_never_had_is_a_dead_line_and_no_habit(tls: Tls) -> None:
    """A ping that is not acknowledged says nothing of the server."""
    habit = PongHabit()
    habit.note_miss()  # one more, and it would be learnt
    limits = LinkLimits(ping_interval_s=0.3, silence_s=0.3, deaf_s=0.6)
    async with (
        Emulator(EmulatorSettings(tls=tls.server)) as emulator,
        open_link(emulator.ws_url, await _token(emulator), tls.client, limits, habit=habit) as link,
    ):
        await emulator.strike(Fault(at="message", do="black_hole"))
        with pytest.raises(LinkDown, match="no answer to a ping"):
            await link.watch()
    assert not habit.is_silent


async def test_nothing_acknowledged_for_so_long_ends_the_link_also_without_pongs(tls: Tls) -> None:
    """A peer that keeps its window shut, on a system without TCP_USER_TIMEOUT."""
    habit = PongHabit()
    for _ in range(MISSES_OF_A_STRANGER):
        habit.note_miss()
    limits = LinkLimits(ping_interval_s=0.2, silence_s=0.2, deaf_s=0.4, stuck_send_s=60.0, user_timeout_s=1.0)
    async with linked(hold, tls, habit, limits) as (link, ends):
        link.wire.set_user_timeout(0)
        encoder = AudioEncoder(ENVELOPE)
        async with trio.open_nursery() as nursery:

            async def fill() -> None:
                while True:
                    await encoder.send(link, bytes(FRAME_BYTES))

            nursery.start_soon(fill)
            await until(lambda: ends, "the link's end")
            nursery.cancel_scope.cancel()
        assert "nothing was acknowledged in 1.0 s" in str(ends[0])


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
async def test_a_reset_between_connect_and_handshake_costs_nothing(secure: bool) -> None:
    """A proxy whose backend is down does so; the limit of the handshake is 5 s, and none of it is waited for."""
    tls = Tls(secure)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for step in range(30):
            began_s = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_reset_after, server, step * 0.0002)
                with pytest.raises(LinkDown):
                    async with open_link(f"{'wss' if secure else 'ws'}://localhost:{port}/ws/chat", "t", tls.client):
                        pass
            assert trio.current_time() - began_s < 2.0, f"a reset after {step * 0.2:.1f} ms"


async def _reset_after(server: socket.socket, delay_s: float) -> None:
    def work() -> None:
        import struct
        import time

        sock, _ = server.accept()
        time.sleep(delay_s)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    await trio.to_thread.run_sync(work)


async def test_push_to_talk_that_idles_keeps_one_connection_to_a_server_without_pongs(
    settings_for: MakeSettings,
) -> None:
    """It got a new one every 4 s, for ever."""
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        await read_without_pongs(peer)

    async with Emulator(EmulatorSettings(slots=2)) as emulator, scripted(script, tls=server_context()) as url:
        settings = settings_for(emulator, ws_url=url)
        async with LiveSession(settings, Frames(every_s=600), limits=LIMITS) as live:
            await trio.sleep(4.0)  # of what would be more than six connections
        assert connections == MISSES_OF_A_STRANGER
        lost = [event for event, _ in live._events._waiting if isinstance(event, LinkLost)]
        assert len(lost) == MISSES_OF_A_STRANGER - 1


def test_a_line_of_600_ms_there_and_back_is_no_dead_one() -> None:
    """Whatever waits for the other side waits longer than a ping and a lost segment (RFC 6298: RTT + 1 s) take."""
    limits = LinkLimits()
    for limit_s in (limits.silence_s, limits.deaf_s, limits.stuck_send_s, limits.user_timeout_s, limits.connect_s / 2):
        assert limit_s > 2 * 0.6 + 1.0
    assert SLOWEST_BYTES_PER_S <= 200_000 // 8  # the slowest line that voice is promised on, 200 kbit/s


async def _token(emulator: Emulator) -> str:
    from ravatar_audio.api.http import Platform
    from ravatar_audio.settings import Settings

    async with Platform(Settings(api_url=emulator.api_url, user_id="u"), "u") as platform:
        return await platform.tokens.get()
