"""An HTTP proxy in between that knows CONNECT, leads every name to this machine, and may go away for a while."""

import trio


class ConnectProxy:
    """Listens on loopback while `serve` runs."""

    def __init__(self) -> None:
        self.port = 0
        self.tunnels = 0
        """Opened so far."""
        self._scope = trio.CancelScope()
        self._is_back = trio.Event()

    async def serve(self, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled; after `leave_for` on the same port."""
        while True:
            listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
            self.port = listeners[0].socket.getsockname()[1]
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            with trio.CancelScope() as self._scope:
                await trio.serve_listeners(self._serve_one, listeners)
            await self._is_back.wait()

    async def leave_for(self, duration_s: float) -> None:
        """Drop all tunnels, and refuse connections for so long."""
        self._is_back = trio.Event()
        self._scope.cancel()
        try:
            await trio.sleep(duration_s)
        finally:
            self._is_back.set()

    async def _serve_one(self, client: trio.SocketStream) -> None:
        head = b""
        try:
            while b"\r\n\r\n" not in head:
                if not (data := await client.receive_some()):
                    return
                head += data
            port = int(head.split(b" ", 2)[1].rpartition(b":")[2])
            async with await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:
                self.tunnels += 1
                await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                nursery.start_soon(_copy, client, server)
                await _copy(server, client)
                nursery.cancel_scope.cancel()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(client)


async def _copy(source: trio.SocketStream, target: trio.SocketStream) -> None:
    try:
        while data := await source.receive_some():
            await target.send_all(data)
        await target.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
