"""The byte stream under the WebSocket: a socket, or TLS on it, that knows whether it has been torn.

trio's own streams would do, but for three things. A send that was cancelled half-way must never be followed by another
one (the peer would read the new message as the rest of the old). Whoever waits for the handshake must learn that the
peer has hung up, which trio-websocket does not report. And a small message should cost one system call: `send` is tried
first, and trio is asked to wait only when the socket is full.

It also knows what the peer's system has acknowledged. `sent_bytes` counts what was handed to the socket: the stream's
own bytes, or those of a TLS connection before they were encrypted. The system says how many bytes U, encrypted ones,
are not acknowledged. What ends at position P has been acknowledged for certain where P <= sent_bytes - U: behind it
went at least sent_bytes - P bytes over the line, as encryption only adds, so if U is no more than these, all that is
under way lies behind P. (`send` returns when the system has its whole records, never before.) With a few records under
way this errs by the 22 to 40 bytes that each adds, always to the safe side, and not at all once everything is there.
"""

import fcntl
import math
import select
import socket
import ssl
import struct
import sys
import termios
import traceback
from types import TracebackType
from typing import Self

import trio

_UNSENT_LIMIT_BYTES = 16 * 1024
"""TCP_NOTSENT_LOWAT as trio sets it: without it a peer that stops reading hides minutes of sound in the kernel."""

_RECEIVE_BYTES = 64 * 1024
_HEAD_BYTES = 64
_RECORD_BYTES = 16 * 1024
"""Largest TLS record (RFC 8446, 5.1). OpenSSL, given more, keeps all of it until the last byte is gone: no progress."""

_PONG = b"\x8a\x00"
"""Without payload, as our pings are. On an idle line it comes alone; one that comes with other data is not noticed."""

_CLOSE = b"\x88"
"""How a Close frame begins (RFC 6455, 5.5.1)."""

_TCP_INFO_BYTES = 160
_BYTES_ACKED_OFFSET, _MIN_RTT_OFFSET = 120, 148
"""In Linux's struct tcp_info (linux/tcp.h), since 4.1 and 4.6; min_rtt is the least of the last 5 minutes, in us."""

_NOTHING = memoryview(b"")
_TELLS_UNDER_WAY = hasattr(termios, "TIOCOUTQ")
"""tcp(7), SIOCOUTQ, which is the same number: what is sent or waits to be, and is not acknowledged."""


class WireStream(trio.abc.Stream):
    """A connected TCP socket, with TLS or without. One task may receive; any number may send, one after the other."""

    def __init__(self, sock: socket.socket) -> None:
        """`sock` is connected and non-blocking, and belongs to the stream from now on."""
        self._sock = sock
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._is_closed = False
        self._free = trio.lowlevel.ParkingLot()
        self._is_begun = False
        self.is_busy: bool = False
        """A send is under way, which others wait for."""
        self.is_torn: bool = False
        """A send ended half-way: nothing more can be sent."""
        self.ended: trio.Event = trio.Event()
        """Set when nothing more will be received: end of file, an error, or closed here."""
        self.is_ended_by_peer: bool = False
        self.send_started_s: float | None = None
        """`trio.current_time()` when the send that is under way began, or None."""
        self.send_bytes: int = 0
        """Of that send, or the one before that had to wait for the socket."""
        self.send_ended_s: float = -math.inf
        """When that was over."""
        self.last_received_s: float = trio.current_time()
        self.last_sent_s: float = self.last_received_s
        self.last_pong_s: float | None = None
        """When a pong came last; whoever has seen it may set it back to None."""
        self.sent_bytes: int = 0
        """What the socket has taken so far, encryption not counted."""
        self.acknowledged_bytes: int | None = 0
        """At least so many of these had been acknowledged at the last `look`. None: this system does not report it."""
        self.last_acknowledged_s: float = self.last_received_s
        """When a `look` last found progress, or nothing under way."""
        self.last_progress_s: float = self.last_received_s
        """When a `look` last found more acknowledged than the one before."""
        self.is_close_sent: bool = False
        """A WebSocket's Close frame was handed in: ours, or the answer to the peer's."""
        self.is_waiting: bool = False
        """Something was under way at the last `look`, or has been sent since."""
        self._acknowledged_exactly = 0
        self.head: bytes = b""
        """The first bytes that were received: the status line of a handshake's answer."""

    @classmethod
    async def begin(cls, sock: socket.socket, ssl_context: ssl.SSLContext | None, host: str) -> Self:
        """Begin on a connected socket, which it owns from now on; with a context make TLS.

        Raises ssl.SSLError, OSError.
        """
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_LIMIT_BYTES)
        if ssl_context is None:
            return cls(sock)
        try:
            secure = ssl_context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        except BaseException as error:
            sock.close()
            _close_half_made(error)
            raise
        wire = cls(secure)
        try:
            await _do_handshake(secure)
        except BaseException:
            wire.close()
            raise
        return wire

    def set_user_timeout(self, limit_s: float) -> None:
        """Let the system give up when sent bytes stay unacknowledged so long: TCP_USER_TIMEOUT (RFC 5482), on Linux."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(limit_s * 1000))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it. When that fails or is cancelled with a part of it written, the stream is torn.

        Raises trio.BrokenResourceError when it is, trio.ClosedResourceError after close.
        """
        self.is_close_sent = self.is_close_sent or data[:1] == _CLOSE
        while (rest := self.start_send(data)) is None:
            await self._free.park()
        if rest:
            await self.finish_send(rest)

    def start_send(self, data: bytes | bytearray | memoryview) -> memoryview | None:
        """Send what the socket takes at once, nearly always all of it; None when another send is under way.

        Returns the rest. While there is one the stream is busy, until `finish_send` has sent it. Raises as `send_all`.
        """
        if self.is_busy:
            return None
        sent = self._send_some(data)
        if sent == len(data):
            return _NOTHING
        self.is_busy = True
        self.send_started_s, self.send_bytes = trio.current_time(), len(data)
        # OpenSSL may have written a part of its record when it asks to wait, and must see the same bytes again.
        self._is_begun = sent > 0 or self._is_tls
        return memoryview(data)[sent:]

    async def finish_send(self, rest: memoryview) -> None:
        """Send the rest that `start_send` has returned. Raises as `send_all`."""
        try:
            while rest:
                await trio.lowlevel.wait_writable(self._sock)
                sent = self._send_some(rest)
                rest = rest[sent:]
                self._is_begun = self._is_begun or sent > 0
        except BaseException:
            self.is_torn = self.is_torn or self._is_begun
            raise
        finally:
            self.send_started_s, self.send_ended_s = None, trio.current_time()
            self._set_free()

    def send_nowait(self, data: bytes) -> bool:
        """Send a few bytes if the socket takes them at once; nothing is sent while another send is under way."""
        if self.is_busy or self.is_torn or self._is_closed:
            return False
        # Asked first, as TLS cannot take a record back that did not fit in. Where there is room, there is plenty.
        room = select.poll()
        room.register(self._sock, select.POLLOUT)
        if not room.poll(0):
            return False
        try:
            self.is_torn = self._send_some(data) < len(data)
        except trio.BrokenResourceError:
            return False  # whoever receives hears of it
        return not self.is_torn

    def _send_some(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes the socket has taken, perhaps none."""
        if self._is_closed:
            raise trio.ClosedResourceError("the stream is closed")
        if self.is_torn:
            raise trio.BrokenResourceError("an earlier message was cut off; the connection cannot be used")
        if self._is_tls and len(data) > _RECORD_BYTES:
            data = memoryview(data)[:_RECORD_BYTES]
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return 0
        except OSError as error:
            self.is_torn = True
            self._note_end()  # who waits for the handshake must hear of it: the library does not read any more
            raise _as_broken(error) from error
        self.last_sent_s = trio.current_time()
        self.sent_bytes += sent
        if not self.is_waiting:
            self.is_waiting, self.last_acknowledged_s = self.acknowledged_bytes is not None, self.last_sent_s
        return sent

    def _set_free(self) -> None:
        self.is_busy = False
        self._free.unpark_all()  # one that sends at once wakes nobody after it

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes bytes."""
        while self.is_busy:
            await self._free.park()
        self.is_busy = True
        self._is_begun = False
        try:
            await trio.lowlevel.wait_writable(self._sock)
        finally:
            self._set_free()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some bytes, or b"" at the end. Raises trio.BrokenResourceError for a connection that broke."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            while True:
                if self._is_closed:
                    raise trio.ClosedResourceError("the stream is closed")
                try:
                    data = self._sock.recv(max_bytes or _RECEIVE_BYTES)
                except (BlockingIOError, ssl.SSLWantReadError):
                    await trio.lowlevel.wait_readable(self._sock)
                except ssl.SSLWantWriteError:  # TLS answers a key update; a send under way is waited for first
                    await self.wait_send_all_might_not_block()
                except ssl.SSLEOFError:
                    data = b""  # the peer closed TCP without a TLS farewell, as many do
                    break
                else:
                    break
        except OSError as error:
            self._note_end()
            raise _as_broken(error) from error
        if data:
            self.last_received_s = trio.current_time()
            self.head = self.head or data[:_HEAD_BYTES]
            if data == _PONG:
                self.last_pong_s = self.last_received_s
        else:
            self._note_end()
        return data

    def _note_end(self) -> None:
        self.is_ended_by_peer = True
        self.ended.set()

    def look(self) -> None:
        """Ask the system what the peer's has acknowledged: `acknowledged_bytes`, and when that last went on."""
        if self._is_closed or self.acknowledged_bytes is None:
            return
        under_way_bytes = self._ask_under_way_bytes()
        if under_way_bytes is None:
            self.acknowledged_bytes, self.is_waiting = None, False
            return
        acknowledged_bytes = self.sent_bytes - under_way_bytes
        is_going_on = acknowledged_bytes > self.acknowledged_bytes
        if self.is_busy and not is_going_on:  # a part of a record may be under way, which `sent_bytes` has not
            exactly = self._tcp_info("=Q", _BYTES_ACKED_OFFSET)
            is_going_on, self._acknowledged_exactly = exactly > self._acknowledged_exactly, exactly
        if is_going_on:
            self.last_progress_s = self.last_acknowledged_s = trio.current_time()
        elif not under_way_bytes:
            self.last_acknowledged_s = trio.current_time()
        self.acknowledged_bytes = max(self.acknowledged_bytes, acknowledged_bytes)
        self.is_waiting = under_way_bytes > 0

    def _ask_under_way_bytes(self) -> int | None:
        if not _TELLS_UNDER_WAY:
            return None
        try:
            answer = fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4))
        except OSError:
            return None
        return int.from_bytes(answer, sys.byteorder)

    @property
    def round_trip_s(self) -> float:
        """The line's own, without queues: the least of the last minutes. 0 where this system does not report it."""
        least_us = 0 if self._is_closed else self._tcp_info("=I", _MIN_RTT_OFFSET)
        return least_us / 1e6 if least_us != 0xFFFFFFFF else 0.0

    def _tcp_info(self, field: str, offset: int) -> int:
        """A field of the system's TCP_INFO; 0 where it has none."""
        if sys.platform != "linux":
            return 0
        try:
            data = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        except OSError:
            return 0
        return int(struct.unpack_from(field, data, offset)[0]) if len(data) >= offset + struct.calcsize(field) else 0

    def tear(self) -> None:
        """Send and receive nothing more: what is half written stays half a message."""
        self.is_torn = True
        if not self._is_closed:
            trio.lowlevel.notify_closing(self._sock)  # whoever waits for the socket hears of it

    def close(self) -> None:
        """Close at once. May be called again."""
        self.ended.set()
        if not self._is_closed:
            self._is_closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def aclose(self) -> None:
        """Close; never waits for the peer."""
        self.close()
        await trio.lowlevel.checkpoint()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _close_half_made(error: BaseException) -> None:
    """Close the TLS socket that Python 3.11 leaves open when the one that it wraps has been reset (ssl.py, _create)."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if isinstance(made := frame.f_locals.get("self"), ssl.SSLSocket):
            made.close()


async def _do_handshake(secure: ssl.SSLSocket) -> None:
    while True:
        try:
            return secure.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(secure)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(secure)


def _as_broken(error: OSError) -> trio.BrokenResourceError:
    return trio.BrokenResourceError(f"the connection broke: {error.strerror or error}")
