"""A TCP relay in front of the HTTP server: it ends TLS, and it is where a link can be made to misbehave.

What the server library cannot do by its public API is done here, to the bytes: a reset, a hang-up in the middle of an
answer, a black hole, a server that stops reading, a slow line.
"""

import contextlib
import ctypes
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from typing import Final

import trio

from ravatar_audio.emulator.faults import Fault
from ravatar_audio.emulator.frame_sniffer import FrameSniffer
from ravatar_audio.observe.log import line_logger

_log = line_logger(__name__)

_CHUNK_BYTES: Final = 65_536
_PONG: Final = b"\x8a\x00"  # without payload, as the answer to a ping without one (RFC 6455, 5.5.3)
_HANDSHAKE_S: Final = 10.0
_FAREWELL_S: Final = 1.0


class Valve:
    """Open, or shut."""

    def __init__(self) -> None:
        self._open = trio.Event()
        self._open.set()

    def shut(self) -> None:
        if self._open.is_set():
            self._open = trio.Event()

    def open(self) -> None:
        self._open.set()

    async def wait_open(self) -> None:
        await self._open.wait()


class RelayedConnection:
    """One TCP connection of a client. What can happen to it are the methods; they return at once."""

    def __init__(self, number: int, transport: trio.SocketStream, nursery: trio.Nursery) -> None:
        self.number = number
        self.sniffer: FrameSniffer = FrameSniffer()
        self._transport = transport
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self._up, self._down = Valve(), Valve()
        self._bytes_per_s: int | None = None
        self._left_bytes: int | None = None
        self._substitute: bytes | None = None
        self._is_reset = self._is_rude = False
        self._swallows_pongs = False
        self._answered = trio.Event()

    def reset(self) -> None:
        """Reset the connection (RST)."""
        self._is_reset = True
        self._scope.cancel()

    def hang_up(self, after_bytes: int = 0) -> None:
        """Hang up (FIN) without a word: at once, or when so many bytes of what the server says next have passed."""
        if after_bytes:
            self._left_bytes = after_bytes
        else:
            self._is_rude = True
            self._scope.cancel()

    def substitute(self, answer: bytes) -> None:
        """Send these bytes in place of what the server says next, and then hang up."""
        self._substitute = answer

    def black_hole(self, duration_s: float | None = None) -> None:
        """Let nothing pass any more, nor be acknowledged (on Linux; elsewhere the system still acknowledges)."""
        self._up.shut()
        self._down.shut()
        _set_deaf(self._transport.socket, True)
        self._later(duration_s, self._hear_again)

    def stop_reading(self, duration_s: float | None = None) -> None:
        """Leave the client's bytes where they are; the server's answers still pass."""
        self._up.shut()
        self._later(duration_s, self._up.open)

    def swallow_pongs(self) -> None:
        """Let the server's pongs not arrive (those that come by themselves, as they do on a quiet link)."""
        self._swallows_pongs = True

    def slow_down(self, bytes_per_s: int, duration_s: float | None = None) -> None:
        """Be a line of so many bytes per second, each way."""
        self._bytes_per_s = bytes_per_s
        self._later(duration_s, self._hurry)

    def apply(self, fault: Fault) -> bool:
        """Carry out a fault of the link; False when it is not one."""
        match fault.do:
            case "reset":
                self.reset()
            case "hang_up":
                self.hang_up(fault.after_bytes)
            case "black_hole":
                self.black_hole(fault.duration_s)
            case "stop_reading":
                self.stop_reading(fault.duration_s)
            case "no_pongs":
                self.swallow_pongs()
            case "slow":
                self.slow_down(fault.bytes_per_s, fault.duration_s)
            case _:
                return False
        return True

    def _hear_again(self) -> None:
        _set_deaf(self._transport.socket, False)
        self._up.open()
        self._down.open()

    def _hurry(self) -> None:
        self._bytes_per_s = None

    def _later(self, duration_s: float | None, action: Callable[[], None]) -> None:
        if duration_s is not None:
            self._nursery.start_soon(self._call_later, duration_s, action)

    async def _call_later(self, duration_s: float, action: Callable[[], None]) -> None:
        await trio.sleep(duration_s)
        if self._transport.socket.fileno() >= 0:
            action()

    async def run(self, relay: "Relay", fault: Fault | None) -> None:
        """Carry bytes until one side ends it."""
        stream: trio.abc.Stream = self._transport
        try:
            with self._scope:
                if fault is not None and not self.apply(fault):
                    await trio.sleep(fault.delay_s)
                await self._up.wait_open()
                if relay.tls is not None:
                    stream = await self._secure(relay.tls)
                await relay.server_is_up.wait_open()
                upstream = await trio.open_tcp_stream("127.0.0.1", relay.server_port)
                async with upstream:
                    port = upstream.socket.getsockname()[1]
                    relay.links[port] = self
                    try:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(self._carry_up, stream, upstream)
                            await self._carry_down(upstream, stream)
                            nursery.cancel_scope.cancel()
                    finally:
                        del relay.links[port]
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError) as errors:
            _log.debug("link %d: %r", self.number, errors.exceptions[0])
        finally:
            await self._close(stream)

    async def _secure(self, tls: ssl.SSLContext) -> "trio.SSLStream[trio.SocketStream]":
        secured = trio.SSLStream(self._transport, tls, server_side=True, https_compatible=True)
        with trio.fail_after(_HANDSHAKE_S):
            await secured.do_handshake()
        return secured

    async def _carry_up(self, client: trio.abc.Stream, server: trio.SocketStream) -> None:
        while True:
            data = await client.receive_some(_CHUNK_BYTES)
            await self._up.wait_open()
            if not data:
                await server.send_eof()
                return
            if (size := self.sniffer.feed(data)) is not None:
                # The server library breaks on frames that come before it has answered the handshake.
                await self._send(server, data[:size])
                await self._answered.wait()
                data = data[size:]
            await self._send(server, data)

    async def _carry_down(self, server: trio.SocketStream, client: trio.abc.Stream) -> None:
        while data := await server.receive_some(_CHUNK_BYTES):
            self._answered.set()
            await self._down.wait_open()
            if self._swallows_pongs and bytes(data) == _PONG:
                continue
            if self._substitute is not None:
                data = self._substitute
                self._left_bytes = len(data)
            if self._left_bytes is not None:
                data = data[: self._left_bytes]
                self._left_bytes -= len(data)
            await self._send(client, data)
            if self._left_bytes == 0:
                self.hang_up()

    async def _send(self, stream: trio.abc.Stream, data: bytes | bytearray) -> None:
        while data and (pace := self._bytes_per_s):
            size = max(1, pace // 20)
            part, data = data[:size], data[size:]
            await stream.send_all(part)
            await trio.sleep(len(part) / pace)
        if data:
            await stream.send_all(data)

    async def _close(self, stream: trio.abc.Stream) -> None:
        handle = self._transport.socket
        if self._is_reset:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handle.close()
        elif self._is_rude:
            # Closing with unread bytes would send RST: say FIN, and let the client close.
            try:
                handle.shutdown(socket.SHUT_WR)
                with trio.move_on_after(_FAREWELL_S):
                    while await handle.recv(_CHUNK_BYTES):
                        pass
            except OSError:
                pass
            finally:
                handle.close()
        else:
            with trio.move_on_after(_FAREWELL_S):
                await stream.aclose()


class Relay:
    """Accepts the clients and connects each to the server on this machine's `server_port`, which may change."""

    def __init__(self, tls: ssl.SSLContext | None, on_accept: Callable[[], Fault | None]) -> None:
        self.tls = tls
        self.server_port: int = 0
        self.server_is_up: Valve = Valve()
        self.links: dict[int, RelayedConnection] = {}
        """By the port that the server sees as the client's."""
        self.accepted: int = 0
        self._on_accept = on_accept

    async def serve(self, listeners: list[trio.SocketListener]) -> None:
        """Accept and carry until cancelled."""
        async with trio.open_nursery() as nursery:

            async def carry(transport: trio.SocketStream) -> None:
                self.accepted += 1
                await RelayedConnection(self.accepted, transport, nursery).run(self, self._on_accept())

            await trio.serve_listeners(carry, listeners, handler_nursery=nursery)


def _set_deaf(handle: trio.socket.SocketType, deaf: bool) -> None:
    """Let the kernel drop every segment that arrives (or no longer): a socket filter that accepts nothing.

    socket(7), SO_ATTACH_FILTER; the program is one instruction of classic BPF, "return 0 bytes". Needs no privilege.
    """
    if sys.platform != "linux":
        return
    attach, detach = 26, 27
    if not deaf:
        with contextlib.suppress(FileNotFoundError):  # it hears already, after another of several faults
            handle.setsockopt(socket.SOL_SOCKET, detach, 0)
        return
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
    handle.setsockopt(socket.SOL_SOCKET, attach, struct.pack("@HP", 1, ctypes.addressof(program)))
