"""A real HTTP proxy for tests: CONNECT over a socket, with a password or none, and the ways in which proxies fail."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

PASSWORD = "s3cret:p@ss/word"
"""With every character in it that means something in an address."""

USER = "kiosk@foyer"
QUOTED = "kiosk%40foyer:s3cret%3Ap%40ss%2Fword"

HTML = b"<html><h1>Access denied by your company</h1></html>"


@dataclass
class TestProxy:
    """What was asked of it. `answer` takes the place of a way, or never returns."""

    __test__ = False

    port: int = 0
    wants_password: bool = False
    answer: Callable[[trio.SocketStream], Awaitable[None]] | None = None
    targets: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    opened: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url_with_password(self) -> str:
        return f"http://{QUOTED}@127.0.0.1:{self.port}"

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await self._serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def _serve(self, stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := await stream.receive_some()):
                return
            head += data
        self.heads.append(head)
        method, target, _ = head.split(b" ", 2)
        self.targets.append(target.decode())
        if method != b"CONNECT":
            await refuse(405)(stream)
            return
        expected = b"Proxy-Authorization: Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode())
        if self.wants_password and expected not in head.split(b"\r\n"):
            await refuse(407, b'Proxy-Authenticate: Basic realm="corp"\r\n')(stream)
            return
        if self.answer is not None:
            await self.answer(stream)
            return
        host, _, port = target.decode().rpartition(":")
        try:
            peer = await trio.open_tcp_stream(host.strip("[]"), int(port))
        except OSError:
            await refuse(502)(stream)
            return
        self.opened += 1
        await stream.send_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
        async with peer, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, stream, peer)
            await _copy(peer, stream)
            nursery.cancel_scope.cancel()


def refuse(status: int, fields: bytes = b"") -> Callable[[trio.SocketStream], Awaitable[None]]:
    """Answer with that status and a page of the proxy's own."""

    async def answer(stream: trio.SocketStream) -> None:
        head = b"HTTP/1.1 %d Whatever\r\n%sContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
        await stream.send_all(head % (status, fields, len(HTML)) + HTML)

    return answer


async def hang(stream: trio.SocketStream) -> None:
    """Never answer."""
    await trio.sleep_forever()


async def hang_up(stream: trio.SocketStream) -> None:
    """Close without an answer."""


async def say_nonsense(stream: trio.SocketStream) -> None:
    """Something that is no HTTP."""
    await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def say_too_much(stream: trio.SocketStream) -> None:
    """A head without an end."""
    while True:
        await stream.send_all(b"X-More: " + b"x" * 10_000 + b"\r\n")


async def _copy(source: trio.SocketStream, target: trio.SocketStream) -> None:
    try:
        while data := await source.receive_some():
            await target.send_all(data)
        await target.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


@asynccontextmanager
async def open_proxy(
    *, wants_password: bool = False, answer: Callable[[trio.SocketStream], Awaitable[None]] | None = None
) -> AsyncIterator[TestProxy]:
    """A proxy on a free port of loopback."""
    proxy = TestProxy(wants_password=wants_password, answer=answer)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(_serve, proxy)
        proxy.port = listeners[0].socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()


async def _serve(
    proxy: TestProxy, task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED
) -> None:
    await trio.serve_tcp(proxy.serve, 0, host="127.0.0.1", task_status=task_status)
