"""The kiosk's page: for browsers of this machine only, and for those that know the secret in its address."""

import hmac
import json
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from importlib import resources
from typing import Any, Final

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ravatar_audio.errors import SettingsError

COMMANDS: Final = ("press", "release", "mute", "unmute")
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text."""
EVERY_S: Final = 0.25
"""How often the page hears of the state: one that hears nothing for 1 s says so."""
_PRIVATE: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
_SAME_SITE: Final = ("", "same-origin", "none")
_OPENED: Final = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
"""What a browser says when it opens a page in a tab of its own, not in a frame."""


class KioskServer:
    """Serves the page on 127.0.0.1. `state` is asked for what it shows, `streaming_url` for the avatar's address;
    `obey` is called with each command of COMMANDS. `metrics` makes the text of /metrics, which needs no secret."""

    def __init__(
        self,
        state: Callable[[], Mapping[str, Any]],
        streaming_url: Callable[[], str | None],
        obey: Callable[[str], None],
        texts: Mapping[str, str],
        *,
        port: int = 0,
        metrics: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        self._state = state
        self._streaming_url = streaming_url
        self._obey = obey
        self._texts = texts
        self._wanted_port = port
        self._metrics = metrics
        self._secret = secrets.token_urlsafe(24)
        self.port: int = 0
        """Once it runs."""
        routes = [
            Route("/metrics", self._metrics_page, methods=["GET"]),
            Route("/{secret}/", self._page, methods=["GET"]),
            Route("/{secret}/events", self._events, methods=["GET"]),
            Route("/{secret}/status", self._status, methods=["GET"]),
            Route("/{secret}/do/{command}", self._command, methods=["POST"]),
        ]
        self.asgi: ASGIApp = _Guard(Starlette(routes=routes), self._is_ours)

    @property
    def address(self) -> str:
        """Of the page; it holds the secret."""
        return f"http://127.0.0.1:{self.port}/{self._secret}/"

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Raises SettingsError when the port is taken."""
        from hypercorn.config import Config
        from hypercorn.trio import serve

        listener = _listen(self._wanted_port)
        self.port = listener.getsockname()[1]
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.errorlog = logging.getLogger("ravatar_audio.kiosk.server")
        config.errorlog.setLevel(logging.WARNING)
        config.accesslog = None  # addresses hold the secret
        config.graceful_timeout = 0
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, self.asgi, config))  # type: ignore[arg-type]
            task_status.started()

    def _is_ours(self, path: str, headers: Mapping[str, str]) -> bool:
        """Whether a request comes from a page of this server: the right secret, this machine's own name, no other site.

        A foreign name in Host is a name of somebody else's that was made to lead here (DNS rebinding). The page itself
        may be opened from anywhere by who knows its address: the kiosk's browser is led to it by a file.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in (f"127.0.0.1:{self.port}", f"localhost:{self.port}"):
            return False
        if origin is not None and origin != f"http://{host}":
            return False
        is_page = path.split("/")[2:] == [""]
        is_opened = is_page and all(headers.get(name) == value for name, value in _OPENED.items())
        if headers.get("sec-fetch-site", "") not in _SAME_SITE and not is_opened:
            return False
        if path == "/metrics":  # a collector's address is fixed; nothing in it is a secret
            return True
        return hmac.compare_digest(path.split("/")[1].encode(), self._secret.encode())

    async def _page(self, request: Request) -> Response:
        nonce = secrets.token_urlsafe(12)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            "frame-src https: http://127.0.0.1:* http://localhost:*; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        texts = json.dumps(self._texts).replace("<", "\\u003c")
        page = (resources.files(__package__) / "page.html").read_text(encoding="utf-8")
        html = page.replace("NONCE", nonce).replace("TEXTS", texts)
        return HTMLResponse(html, headers={"Content-Security-Policy": policy} | _PRIVATE)

    async def _events(self, request: Request) -> Response:
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers=_PRIVATE)

    async def _stream(self) -> AsyncIterator[str]:
        shown: str | None = None
        is_first = True
        while True:
            if (url := self._streaming_url()) != shown or is_first:
                yield f"event: stream\ndata: {json.dumps(url)}\n\n"
                shown, is_first = url, False
            yield f"data: {json.dumps(self._state())}\n\n"
            await trio.sleep(EVERY_S)

    async def _status(self, request: Request) -> Response:
        return JSONResponse(dict(self._state()), headers=_PRIVATE)

    async def _metrics_page(self, request: Request) -> Response:
        if self._metrics is None:
            why = "The kiosk was started without the extra 'metrics': pip install 'ravatar-audio[metrics]'\n"
            return Response(why, 404, _PRIVATE, "text/plain")
        return Response(await self._metrics(), 200, _PRIVATE | {"Content-Type": METRICS_TYPE})

    async def _command(self, request: Request) -> Response:
        command = request.path_params["command"]
        if command not in COMMANDS:
            return JSONResponse({"error": "unknown_command"}, 404, _PRIVATE)
        self._obey(command)
        return Response(status_code=204, headers=_PRIVATE)


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"the page cannot be served on port {port}: {error.strerror or error}",
            advice="Choose another --port, or none for a free one.",
        ) from error
    return listener


class _Guard:
    """In front of everything: what is not ours gets one and the same answer, wherever it goes."""

    def __init__(self, app: ASGIApp, is_ours: Callable[[str, Mapping[str, str]], bool]) -> None:
        self._app = app
        self._is_ours = is_ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw = scope["headers"]
            names = [name for name, _ in raw]
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
            is_single = names.count(b"host") <= 1 and names.count(b"origin") <= 1
            if not (is_single and self._is_ours(scope["path"], headers)):
                await Response("Not here.", 403, _PRIVATE, "text/plain")(scope, receive, send)
                return
        elif scope["type"] != "lifespan":
            return  # no WebSocket is served: the connection is refused
        await self._app(scope, receive, send)
