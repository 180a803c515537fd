"""The contenders of streams.py on asyncio: picows, websockets and aiohttp, each as an expert would have it.

On uvloop where it is installed, with the envelope spliced around the base64 text, without compression, and with pings
as often as our links send them (picows: fewer). One coroutine is the clock of all, as there. A frame counts as
written when the library's call has returned: what it keeps in a buffer of its own is taken for written, in its favour.
"""

import asyncio
import contextlib
import gc
import importlib
import importlib.util
import ssl
import time
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

from ravatar_audio.api.link import LinkLimits

from .message import by_splice, cpu_s

PING_S = LinkLimits().ping_interval_s
CONNECTS_AT_A_TIME = 32
TICK_S = 0.001
SETTLE_S = 3.0
"""Between the last handshake and the first frame."""
REPLY_S = 20.0
PICOWS_PING_S = 10.0
"""Its default, and less work than ours: it gives up when no answer has come by the next ping."""
CLOSE_S = 20.0
LINGER_S = 0.3
"""TLS closes its socket after the library's own close has returned, as aiohttp's documentation says."""

Measured = tuple["array[float]", float]
"""How late each frame was, in seconds, and the processor time of all."""
Send = Callable[[], Awaitable[Any]]
Close = Callable[[], Awaitable[Any]]


async def websockets(url: str, context: ssl.SSLContext) -> tuple[Send, Close]:
    client = importlib.import_module("websockets.asyncio.client")
    socket = await client.connect(
        url, ssl=context, compression=None, proxy=None, ping_interval=PING_S, ping_timeout=REPLY_S, open_timeout=60
    )
    return lambda: socket.send(by_splice()), socket.close


async def aiohttp(url: str, context: ssl.SSLContext) -> tuple[Send, Close]:
    library = importlib.import_module("aiohttp")
    session = library.ClientSession()
    socket = await session.ws_connect(url, ssl=context, heartbeat=PING_S, compress=0)

    async def drain() -> None:
        async for _ in socket:
            pass

    draining = asyncio.ensure_future(drain())  # its pongs are read by whoever receives

    async def close() -> None:
        draining.cancel()
        await socket.close()
        await session.close()

    return lambda: socket.send_str(by_splice()), close


async def picows(url: str, context: ssl.SSLContext) -> tuple[Send, Close]:
    library = importlib.import_module("picows")
    may_write = asyncio.Event()
    may_write.set()

    class Listener(library.WSListener):  # type: ignore[misc, name-defined]  # known at run time only
        def pause_writing(self) -> None:
            may_write.clear()

        def resume_writing(self) -> None:
            may_write.set()

    transport, _ = await library.ws_connect(
        Listener,
        url,
        ssl_context=context,
        enable_auto_ping=True,
        auto_ping_idle_timeout=PICOWS_PING_S,
        auto_ping_reply_timeout=PICOWS_PING_S,
    )

    async def send() -> None:
        if not may_write.is_set():
            await may_write.wait()
        transport.send(library.WSMsgType.TEXT, by_splice().encode("ascii"))

    async def close() -> None:
        transport.disconnect()

    return send, close


CONTENDERS = {"picows": picows, "websockets": websockets, "aiohttp": aiohttp}


def has_uvloop() -> bool:
    return importlib.util.find_spec("uvloop") is not None


def run(contender: str, streams: int, frames: int, period_s: float, url: str, authority: str) -> Measured:
    """The lateness in seconds of `frames` frames of each stream, and the processor time that all of them took."""
    runner = importlib.import_module("uvloop").run if has_uvloop() else asyncio.run
    lateness_s, took_s = runner(_run(contender, streams, frames, period_s, url, authority))
    return lateness_s, took_s


async def _run(contender: str, streams: int, frames: int, period_s: float, url: str, authority: str) -> Measured:
    context = ssl.create_default_context(cafile=authority)
    at_a_time = asyncio.Semaphore(CONNECTS_AT_A_TIME)

    async def connect() -> tuple[Send, Close]:
        async with at_a_time:
            return await CONTENDERS[contender](url + "?token=token", context)

    opened = await asyncio.gather(*(connect() for _ in range(streams)))
    sends = [send for send, _ in opened]
    gc.collect()
    gc.freeze()  # as for ours
    lateness_s = array("d")
    began_s = time.monotonic() + SETTLE_S
    began_cpu_s = cpu_s()
    for number in range(frames * streams):
        due_s, now_s = began_s + number * period_s / streams, time.monotonic()
        if now_s < due_s:
            await asyncio.sleep(max(due_s - now_s, TICK_S))
        await sends[number % streams]()
        lateness_s.append(time.monotonic() - due_s)
    took_s = cpu_s() - began_cpu_s
    with contextlib.suppress(TimeoutError):  # of no account: nothing is measured any more
        await asyncio.wait_for(asyncio.gather(*(close() for _, close in opened), return_exceptions=True), CLOSE_S)
    await asyncio.sleep(LINGER_S)
    return lateness_s, took_s
