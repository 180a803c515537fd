"""A WebSocket server that costs little: takes any number of connections, in the clear or over TLS, and throws away what
it hears. It answers handshakes, pings and Close frames. It runs in a process of its own."""

import base64
import contextlib
import hashlib
import os
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from .harness import this_module

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_CLOSE, _PING, _PONG = 8, 9, 10


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    is_secured: bool
    is_open: bool = False
    head: bytearray = field(default_factory=bytearray)
    skip_bytes: int = 0
    """Of a text message that is on its way."""


class Sink:
    """Serves until it is killed."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._buffer = bytearray(256 * 1024)
        self.port = self._listener.getsockname()[1]

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._accept()
                    continue
                try:
                    self._read(key.data)
                except (ssl.SSLWantReadError, BlockingIOError):
                    pass
                except OSError:
                    self._selector.unregister(key.data.sock)
                    key.data.sock.close()

    def note_message(self) -> None:
        """The last byte of a message has come."""

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self._selector.register(sock, selectors.EVENT_READ, _Connection(sock, self._tls is None))

    def _read(self, connection: _Connection) -> None:
        if not connection.is_secured:
            assert isinstance(connection.sock, ssl.SSLSocket)
            connection.sock.do_handshake()
            connection.is_secured = True
        while True:
            count = connection.sock.recv_into(self._buffer)
            if not count:
                raise ConnectionError
            self._take(connection, memoryview(self._buffer)[:count])

    def _take(self, connection: _Connection, data: memoryview) -> None:
        if not connection.is_open:
            connection.head += data
            end = connection.head.find(b"\r\n\r\n")
            if end >= 0:
                self._answer_handshake(connection, bytes(connection.head[:end]))
                rest = bytes(connection.head[end + 4 :])
                connection.head.clear()
                connection.is_open = True
                if rest:
                    self._take(connection, memoryview(rest))
            return
        if connection.head:  # a header that came in pieces
            data = memoryview(bytes(connection.head) + data)
            connection.head.clear()
        while len(data):
            if connection.skip_bytes:
                used = min(connection.skip_bytes, len(data))
                connection.skip_bytes -= used
                if not connection.skip_bytes:
                    self.note_message()
            else:
                used = self._take_frame(connection, data)
                if used == 0:
                    connection.head += data
                    return
            data = data[used:]

    def _take_frame(self, connection: _Connection, data: memoryview) -> int:
        """Bytes of a text's header or of a whole control frame; 0 when not all of it is there."""
        if len(data) < 6:
            return 0
        opcode, length, at = data[0] & 15, data[1] & 127, 2
        if length >= 126:
            at = 4 if length == 126 else 10
            if len(data) < at + 4:
                return 0
            length = int.from_bytes(data[2:at], "big")
        mask, at = data[at : at + 4], at + 4
        if opcode not in (_CLOSE, _PING):
            connection.skip_bytes = length
            return at
        if len(data) < at + length:
            return 0
        payload = bytes(byte ^ mask[index & 3] for index, byte in enumerate(data[at : at + length]))
        answer = _PONG if opcode == _PING else _CLOSE
        connection.sock.send(bytes([0x80 | answer, length]) + payload)
        if opcode == _CLOSE:  # a server closes TCP first (RFC 6455, 7.1.1); some clients wait for that
            raise ConnectionError
        return at + length

    def _answer_handshake(self, connection: _Connection, request: bytes) -> None:
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key.split(b":", 1)[1].strip() + _GUID).digest())
        connection.sock.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )


def take_core(core: int, *, real_time: bool = False) -> None:
    """Keep this process on one core (-1: on any), and before others' processes where the system grants that."""
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    if real_time and hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


@contextmanager
def running_sink(
    *, secure: bool, core: int | None, real_time: bool = False, module: str = "rig.sink", more: tuple[str, ...] = ()
) -> Iterator[tuple[str, str]]:
    """A sink in a process of its own, on one core if asked for; gives its address and the authority's file ("").

    `module` is another bench's module to run, with `more` arguments.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = this_module(module, folder if secure else "", -1 if core is None else core, int(real_time), *more)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            scheme, authority = ("wss", str(Path(folder, "ca.pem"))) if secure else ("ws", "")
            yield f"{scheme}://localhost:{port}/ws/chat", authority
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def server_tls(folder: str) -> ssl.SSLContext | None:
    """A context for localhost whose authority is left in the folder as ca.pem; None without a folder."""
    return server_context(folder) if folder else None


def server_context(folder: str, *names: str) -> ssl.SSLContext:
    """A context for localhost and these names, whose authority is left in the folder as ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(Path(folder, "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", *names).configure_cert(tls)
    return tls


def main() -> None:
    folder, core, real_time = sys.argv[1:]
    take_core(int(core), real_time=real_time == "1")
    sink = Sink(server_tls(folder))
    print(sink.port, flush=True)
    sink.run()


if __name__ == "__main__":
    main()
