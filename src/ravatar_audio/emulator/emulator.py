"""A local RAVATAR platform: HTTP and WebSocket on one port, for as long as its context lasts."""

import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trio

from ravatar_audio.emulator.app import App
from ravatar_audio.emulator.faults import Fault, FaultScript
from ravatar_audio.emulator.platform_state import PlatformState
from ravatar_audio.emulator.relay import Relay
from ravatar_audio.emulator.settings import EmulatorSettings
from ravatar_audio.emulator.statistics import EmulatorStatistics
from ravatar_audio.errors import SettingsError
from ravatar_audio.groups import background_nursery
from ravatar_audio.observe.log import line_logger
from ravatar_audio.worlds import check_world

_log = line_logger(__name__)
logging.getLogger("ravatar_audio.emulator").addHandler(logging.NullHandler())  # quiet unless somebody listens


class Emulator:
    """A RAVATAR platform on this machine, without any AI: strict about what it is sent, and it reports what it heard.

        async with Emulator(EmulatorSettings(slots=1)) as emulator:
            settings = Settings(api_url=emulator.api_url)
            ...
            print(emulator.statistics().live[0].wav)

    Entering raises SettingsError when the address cannot be listened on. Leaving drops all connections and returns at
    once. Everything is for use within the same trio run.
    """

    def __init__(self, settings: EmulatorSettings | None = None) -> None:
        self.settings: EmulatorSettings = settings or EmulatorSettings()
        self.faults: FaultScript = FaultScript(self.settings.faults)
        """What shall go wrong; `add` more at any time."""
        self._manager: AbstractAsyncContextManager[None] | None = None
        self._port = 0
        self._server_restarts = 0

    async def __aenter__(self) -> Self:
        check_world("trio", "Emulator")
        self._manager = self._run()
        await self._manager.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._manager is not None
        return await self._manager.__aexit__(kind, error, trace)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def api_url(self) -> str:
        """Address of the HTTP endpoints."""
        return f"{'https' if self.settings.tls else 'http'}://{self._authority}"

    @property
    def ws_url(self) -> str:
        """Address of the WebSocket, without a token."""
        return f"{'wss' if self.settings.tls else 'ws'}://{self._authority}/ws/chat"

    @property
    def _authority(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.settings.host, self.settings.host)  # noqa: S104
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    @property
    def folder(self) -> Path:
        """Where the WAV files are."""
        return self._platform.folder

    def statistics(self) -> EmulatorStatistics:
        """Return everything counted so far; also after the end."""
        platform = self._platform
        return EmulatorStatistics(
            tokens_issued=platform.tokens.issued,
            requests={name: dict(counts) for name, counts in platform.requests.items()},
            connections=self._app.connections,
            live=tuple(live.statistics() for live in platform.lives),
            violations=tuple(platform.violations),
            violation_count=platform.violation_count,
            faults_fired=self.faults.fired,
            links=self._relay.accepted,
            slots_free=platform.slots_free,
            server_restarts=self._server_restarts,
        )

    def send(self, message: Mapping[str, Any] | str | bytes) -> None:
        """Say something on every open WebSocket: an object as JSON, text and bytes as they are."""
        for conversation in self._app.open:
            conversation.say(message)

    async def strike(self, fault: Fault) -> None:
        """Carry out a fault of "message" on every open WebSocket now, whatever its `after` and `times`."""
        for conversation in tuple(self._app.open):
            await conversation.apply(fault)

    def expire_tokens(self) -> None:
        """Let all tokens issued so far count as expired; open WebSockets stay."""
        self._platform.tokens.expire_all()

    def expire_sessions(self) -> None:
        """Let all live sessions count as expired; each hears "Session expired" when it sends something next."""
        self._platform.expire_sessions()

    def forget(self, *memories: str) -> None:
        """Know nothing any more of what was given out, as after a restart: "token", "conversation", "slot"; or all.

        Open WebSockets stay. Raises SettingsError for anything else.
        """
        self._platform.forget(*memories)

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        settings = self.settings
        self._platform = PlatformState(settings)
        try:
            listeners = await _listen(settings)
            self._port = listeners[0].socket.getsockname()[1]
            self._relay = Relay(settings.tls, partial(self.faults.strike, "accept"))
            self._app = App(self._platform, self.faults, self._relay.links.get, self.api_url)
            scope = trio.CancelScope()
            async with background_nursery() as nursery:
                await nursery.start(self._run_servers, scope, listeners)
                try:
                    yield
                finally:
                    scope.cancel()
        finally:
            self._platform.close()

    async def _run_servers(
        self,
        scope: trio.CancelScope,
        listeners: list[trio.SocketListener],
        task_status: "trio.TaskStatus[None]",
    ) -> None:
        """Until the scope is cancelled: a cancellation from outside ends what uses this platform first."""
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._relay.serve, listeners)
                await nursery.start(self._serve)
                scope.shield = True
                task_status.started()

    async def _serve(self, task_status: "trio.TaskStatus[None]") -> None:
        """Keep an HTTP server on a free port of loopback, behind the relay.

        The library's server ends with the first connection that it cannot cope with; others must not suffer for good.
        """
        is_first = True
        while True:
            try:
                async with trio.open_nursery() as nursery:
                    self._relay.server_port = await nursery.start(_serve_http, self._app, self.settings.ping_every_s)
                    self._relay.server_is_up.open()
                    if is_first:
                        task_status.started()
                        is_first = False
            except* Exception as errors:
                if is_first:
                    raise
                self._relay.server_is_up.shut()
                self._server_restarts += 1
                # Only the kind: the library's exceptions carry whole requests, with their tokens.
                _log.error("the HTTP server broke: %s; all connections are gone, it is started again", _kinds(errors))


def _kinds(error: BaseException) -> str:
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return ", ".join(map(_kinds, inner)) or type(error).__name__


async def _listen(settings: EmulatorSettings) -> list[trio.SocketListener]:
    try:
        listeners = await trio.open_tcp_listeners(settings.port, host=settings.host)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise SettingsError(f"the emulator cannot listen on {where}: {error.strerror or error}") from error
    if settings.receive_buffer_bytes is not None:
        for listener in listeners:
            listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, settings.receive_buffer_bytes)
    return listeners


async def _serve_http(app: App, ping_every_s: float | None, task_status: "trio.TaskStatus[int]") -> None:
    """Run the HTTP server; its port is what it tells when it has started."""
    from hypercorn.config import Config
    from hypercorn.trio import serve

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = logging.getLogger("ravatar_audio.emulator.server")
    config.errorlog.setLevel(logging.WARNING)  # its greeting names a port that is not for clients
    config.graceful_timeout = 0
    config.keep_alive_timeout = 60
    config.websocket_ping_interval = ping_every_s

    async with trio.open_nursery() as nursery:
        binds: list[str] = await nursery.start(partial(serve, app.asgi, config))  # type: ignore[arg-type]
        task_status.started(int(binds[0].rpartition(":")[2]))
