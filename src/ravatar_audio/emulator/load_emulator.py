"""The emulator's mode for load, in as many processes as are asked for: they share one port."""

import os
import secrets
import signal
import socket
from types import TracebackType
from typing import Self

from ravatar_audio.emulator.load_counters import LoadCounters
from ravatar_audio.emulator.load_server import LoadServer
from ravatar_audio.emulator.settings import EmulatorSettings
from ravatar_audio.errors import SettingsError

_BACKLOG = 4_096


class LoadEmulator:
    """A platform for load runs, as a context manager: its processes are there when it has been entered.

        with LoadEmulator(EmulatorSettings(slots=5_000), workers=2) as emulator: ...  # emulator.api_url

    The processes are forked, so make it before threads and loops. Of the settings, `host`, `port`, `tls`, `slots`,
    `token_lifetime_s`, `reply_every_s`, `projects`, `avatars`, `languages` and `vad_enabled` count. Raises
    SettingsError for faults, which this mode has none of, for an address that cannot be listened on, and for 0 workers.
    """

    def __init__(self, settings: EmulatorSettings, workers: int = 1) -> None:
        if settings.faults:
            raise SettingsError("the emulator has no faults in its mode for load", advice="Run it without --load.")
        if workers < 1:
            raise SettingsError(f"workers is {workers}; it must be 1 or more")
        if workers > 1 and not hasattr(socket, "SO_REUSEPORT"):
            raise SettingsError("this system cannot share a port between processes", advice="Use one worker.")
        self._settings, self._workers = settings, workers
        self.counters: LoadCounters = LoadCounters(workers)
        self.pids: list[int] = []
        self.port: int = 0

    @property
    def api_url(self) -> str:
        """Address of the HTTP endpoints."""
        scheme = "https" if self._settings.tls else "http"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self._settings.host, self._settings.host)  # noqa: S104
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    def __enter__(self) -> Self:
        key = secrets.token_bytes(32)
        listeners = self._listen()
        ends, self._alive = os.pipe()  # the children see its end when this process is gone, however that came
        try:
            for number, listener in enumerate(listeners):
                pid = os.fork()
                if not pid:
                    self._serve(number, listener, key, ends)
                self.pids.append(pid)
        finally:
            os.close(ends)
            for listener in listeners:
                listener.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._alive)
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _serve(self, number: int, listener: socket.socket, key: bytes, ends: int) -> None:
        """In the child; never returns."""
        try:
            os.close(self._alive)
            for signal_number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(signal_number, signal.SIG_IGN)  # whoever has started it ends it
            server = LoadServer(self._settings, listener, key, self.counters.of_process(number))
            server.end_with(ends)
            server.run()
        finally:
            os._exit(0)

    def _listen(self) -> list[socket.socket]:
        host = self._settings.host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listeners: list[socket.socket] = []
        self.port = self._settings.port
        try:
            for _ in range(self._workers):
                listener = socket.socket(family, socket.SOCK_STREAM)
                listeners.append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if self._workers > 1:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listener.bind((host, self.port))
                self.port = listener.getsockname()[1]
                listener.listen(_BACKLOG)
        except OSError as error:
            for listener in listeners:
                listener.close()
            where = f"{host}:{self.port}"
            raise SettingsError(f"the emulator cannot listen on {where}: {error.strerror or error}") from error
        return listeners
