"""The Prometheus page: answers GET /metrics on 127.0.0.1, one request on each connection, and nothing else."""

from collections.abc import Awaitable, Callable
from typing import Final

import h11
import trio

from ravatar_audio.errors import SettingsError
from ravatar_audio.observe.log import line_logger

log: Final = line_logger(__name__)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_REQUEST_LIMIT_S: Final = 10.0
_CONNECTIONS_MAX: Final = 16
MakeText = Callable[[], Awaitable[bytes]]


async def serve_page(
    make_text: MakeText, port: int, *, task_status: "trio.TaskStatus[int]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; reports the port when it listens. Raises SettingsError when the port is taken."""
    try:
        (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
    except OSError as error:
        raise SettingsError(
            f"the metrics' page cannot be served on port {port}: {error.strerror or error}",
            advice="Choose another metrics_prometheus, or 0 for a free one.",
        ) from error
    own_port: int = listener.socket.getsockname()[1]
    room = trio.CapacityLimiter(_CONNECTIONS_MAX)

    async def answer(stream: trio.SocketStream) -> None:
        async with room, stream:
            with trio.move_on_after(_REQUEST_LIMIT_S):
                try:
                    await _answer(stream, make_text, own_port)
                except (h11.ProtocolError, trio.BrokenResourceError, OSError):
                    return  # whoever asked has gone, or speaks something else
                except Exception:  # a session goes on without its metrics
                    log.exception("the metrics' page could not be made")

    async with trio.open_nursery() as nursery:
        task_status.started(own_port)
        await trio.serve_listeners(answer, [listener], handler_nursery=nursery)


async def _answer(stream: trio.SocketStream, make_text: MakeText, port: int) -> None:
    connection = h11.Connection(h11.SERVER)
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)) or event is h11.PAUSED:
            break
    if request is None:
        return
    status, body = await _body(request, make_text, port)
    headers = [("Content-Type", CONTENT_TYPE if status == 200 else "text/plain"), ("Content-Length", str(len(body)))]
    headers += [("Connection", "close"), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
    parts = (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage())
    if request.method == b"HEAD":
        parts = (parts[0], parts[2])  # type: ignore[assignment]
    await stream.send_all(b"".join(data for part in parts if (data := connection.send(part))))


async def _body(request: h11.Request, make_text: MakeText, port: int) -> tuple[int, bytes]:
    hosts = [value for name, value in request.headers if name == b"host"]
    if hosts not in ([f"127.0.0.1:{port}".encode()], [f"localhost:{port}".encode()]):
        return 403, b"Not here.\n"  # a foreign name that was made to lead here (DNS rebinding)
    if request.target.partition(b"?")[0] != b"/metrics":
        return 404, b"It is at /metrics.\n"
    if request.method not in (b"GET", b"HEAD"):
        return 405, b"GET only.\n"
    return 200, await make_text()
