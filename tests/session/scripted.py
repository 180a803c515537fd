"""A server that says exactly what a test tells it to, over a real socket, where the emulator is too well-behaved."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Event, Request

Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: trio.abc.Stream, tcp: trio.SocketStream) -> None:
        self.stream = stream
        self.tcp = tcp
        self.ws = WSConnection(ConnectionType.SERVER)
        self.events: list[Event] = []
        """Everything that has been received as WebSocket events."""

    async def accept(self) -> str:
        """Finish the handshake; returns the request's target."""
        request = await self.next_event()
        assert isinstance(request, Request)
        await self.stream.send_all(self.ws.send(AcceptConnection()))
        return str(request.target)

    async def next_event(self) -> Event:
        """The next event; raises trio.EndOfChannel at the end of the connection."""
        while True:
            for event in self.ws.events():
                self.events.append(event)
                return event
            data = await self.stream.receive_some()
            if not data:
                raise trio.EndOfChannel
            self.ws.receive_data(bytes(data))

    async def send(self, event: Event) -> None:
        """Send an event of wsproto."""
        await self.stream.send_all(self.ws.send(event))

    async def read_request(self) -> bytes:
        """The handshake's request as bytes, unanswered."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = await self.stream.receive_some()
            if not more:
                raise trio.EndOfChannel
            data += more
        return data

    def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        import socket
        import struct

        self.tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tcp.socket.close()


@asynccontextmanager
async def scripted(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve each connection by the next script, the last one for all further ones; gives the ws: or wss: address.

    A script's end closes its connection.
    """
    waiting = list(scripts)

    async def handle(tcp: trio.SocketStream) -> None:
        script = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        try:
            stream: trio.abc.Stream = tcp
            if tls is not None:
                stream = trio.SSLStream(tcp, tls, server_side=True, https_compatible=True)
                await stream.do_handshake()
            await script(Peer(stream, tcp))
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
            pass
        finally:
            await trio.aclose_forcefully(tcp)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(_serve, handle)
        port = listeners[0].socket.getsockname()[1]
        yield f"{'ws' if tls is None else 'wss'}://localhost:{port}/ws/chat"
        nursery.cancel_scope.cancel()


async def _serve(
    handle: Callable[[trio.SocketStream], Awaitable[None]],
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    await trio.serve_tcp(handle, 0, host="127.0.0.1", task_status=task_status)
