"""Callback → asyncio.Queue → python-soxr → json and base64 → websockets. `python -m` runs it against an API."""

import asyncio
import time

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .microphones import BlockSource
from .sound import Framer, message
from .ticket import Ticket
from .timing import OnSent, Passage, ignore

Blocks = asyncio.Queue[tuple[bytes, float]]


async def stream(source: BlockSource, ticket: Ticket, on_sent: OnSent = ignore) -> None:
    """Until the source ends; reconnects by the library's own iterator, which backs off by itself."""
    loop = asyncio.get_running_loop()
    blocks: Blocks = asyncio.Queue()

    def on_block(block: bytes, came_s: float) -> None:
        loop.call_soon_threadsafe(blocks.put_nowait, (block, came_s))

    framer = Framer(source.rate_hz, source.channels)
    with source.feeding(on_block):
        async for socket in connect(ticket.url, ssl=ticket.tls, compression=None, proxy=None):
            receiver = asyncio.create_task(_receive(socket))
            try:
                await _send(socket, blocks, framer, ticket, on_sent)
            except ConnectionClosed:
                continue
            else:
                await socket.close()
                return
            finally:
                receiver.cancel()


async def _send(socket: ClientConnection, blocks: Blocks, framer: Framer, ticket: Ticket, on_sent: OnSent) -> None:
    while True:
        block, came_s = await blocks.get()
        awake_s = time.monotonic()
        for pcm in framer.push(block, is_last=not block):
            framed_s = time.monotonic()
            text = message(ticket.fields, pcm)
            encoded_s = time.monotonic()
            await socket.send(text)
            on_sent(Passage(came_s, awake_s, framed_s, encoded_s, time.monotonic()))
        if not block:
            return


async def _receive(socket: ClientConnection) -> None:
    try:
        async for _ in socket:
            pass  # a program would show it
    except ConnectionClosed:
        pass  # the sender sees it as well
