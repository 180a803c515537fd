"""Callback → trio memory channel → python-soxr → json and base64 → trio-websocket."""

import math
import time

import trio
import trio_websocket

from .microphones import BlockSource
from .sound import Framer, message
from .ticket import Ticket
from .timing import OnSent, Passage, ignore

RETRY_S = 2.0
"""As the platform's own demo waits."""

Blocks = trio.MemoryReceiveChannel[tuple[bytes, float]]


async def stream(source: BlockSource, ticket: Ticket, on_sent: OnSent = ignore) -> None:
    """Until the source ends; connects again every two seconds when the connection has gone."""
    token = trio.lowlevel.current_trio_token()
    sender, blocks = trio.open_memory_channel[tuple[bytes, float]](math.inf)

    def on_block(block: bytes, came_s: float) -> None:
        token.run_sync_soon(sender.send_nowait, (block, came_s))

    framer = Framer(source.rate_hz, source.channels)
    with source.feeding(on_block):
        while True:
            try:
                async with trio_websocket.open_websocket_url(ticket.url, ssl_context=ticket.tls) as socket:
                    await _converse(socket, blocks, framer, ticket, on_sent)
                    return
            except (trio_websocket.ConnectionClosed, trio_websocket.HandshakeError):
                await trio.sleep(RETRY_S)


async def _converse(
    socket: trio_websocket.WebSocketConnection, blocks: Blocks, framer: Framer, ticket: Ticket, on_sent: OnSent
) -> None:
    closed: trio_websocket.ConnectionClosed | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_receive, socket)
        try:
            await _send(socket, blocks, framer, ticket, on_sent)
        except trio_websocket.ConnectionClosed as error:
            closed = error
        nursery.cancel_scope.cancel()
    if closed is not None:
        raise closed


async def _send(
    socket: trio_websocket.WebSocketConnection, blocks: Blocks, framer: Framer, ticket: Ticket, on_sent: OnSent
) -> None:
    async for block, came_s in blocks:
        awake_s = time.monotonic()
        for pcm in framer.push(block, is_last=not block):
            framed_s = time.monotonic()
            text = message(ticket.fields, pcm)
            encoded_s = time.monotonic()
            await socket.send_message(text)
            on_sent(Passage(came_s, awake_s, framed_s, encoded_s, time.monotonic()))
        if not block:
            return


async def _receive(socket: trio_websocket.WebSocketConnection) -> None:
    try:
        while True:
            await socket.get_message()  # a program would show it
    except trio_websocket.ConnectionClosed:
        pass  # the sender sees it as well
