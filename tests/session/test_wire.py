"""The byte stream under the WebSocket, over a real socket."""

import socket

import trio
import trio.testing

from ravatar_audio.api.wire import WireStream


async def test_all_who_wait_for_a_full_socket_get_their_turn() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    wire, peer = WireStream(ours), trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    long, short = bytes(4_000_000), b"a"
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send_all, long)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                nursery.start_soon(wire.send_all, short)
            await trio.testing.wait_all_tasks_blocked()
            came = b""
            while len(came) < len(long) + 3:
                came += await peer.receive_some()
        assert came == long + 3 * short
    wire.close()
    await peer.aclose()
