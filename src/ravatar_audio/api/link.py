"""One WebSocket connection, from the TCP handshake to the last byte. The only module that knows trio-websocket.

The library is asked through its public API alone. What it leaves open is closed here:
- a peer that hangs up during the handshake leaves `wrap_client_stream` waiting for ever: the stream tells, and it ends;
- `ping` does not wake when the connection dies: pings are sent past it, and the watchdog judges by what is received;
- a cancelled send leaves half a message: the stream is torn then, and refuses all that follows (wire.py);
- nothing is read while nobody takes messages: the session always does;
- closing waits behind a blocked send, for a minute: `leave_s` bounds it.
"""

import json
import math
import os
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import trio
import trio_websocket

from ravatar_audio._version import __version__
from ravatar_audio.api.backoff import parse_retry_after
from ravatar_audio.api.closing import ABNORMAL_CLOSURE, Cause, LinkDown
from ravatar_audio.api.connecting import NameLookups, open_wire, why_unreachable
from ravatar_audio.api.groups import alone, leaves
from ravatar_audio.api.wire import WireStream
from ravatar_audio.errors import CertificateError, ProtocolError

LARGEST_MESSAGE_CHARS = 16 * 1024 * 1024
"""Of a message from the server; a larger one ends the link."""

SLOWEST_BYTES_PER_S = 32 * 1024
"""A line slower than this cannot carry live sound, which takes 43 KB a second; a long recording gets its time."""

_QUEUED_MESSAGES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """How long what may last, in seconds. The defaults notice a peer that has vanished within 6 s."""

    connect_s: float = 5.0
    """From the end of the name's look-up to the end of the WebSocket handshake."""
    ping_interval_s: float = 2.0
    """A ping is sent when nothing was received or sent for so long."""
    deaf_ping_s: float = 6.0
    """Or when nothing was received for so long, though sending went on."""
    silence_s: float = 2.5
    """No answer to a ping, and nothing else received or sent for so long: the peer is gone."""
    deaf_s: float = 8.0
    """No answer to a ping, and nothing else received for so long, though sending goes on: the peer is stuck."""
    stuck_send_s: float = 3.0
    """A send that gets no byte away for so long ends the link, and one that takes longer, plus 1 s for each 32 KiB."""
    user_timeout_s: float = 5.0
    """TCP_USER_TIMEOUT, where the system has it."""
    leave_s: float = 0.2
    """Saying Close and hearing the peer's; then the connection is dropped."""


class Link:
    """An open WebSocket. Every method raises LinkDown when the connection is over, and is safe to cancel.

    A send that is cancelled half-way ends the connection. Get one by `open_link`.
    """

    def __init__(self, wire: WireStream, limits: LinkLimits) -> None:
        self.wire = wire
        self.limits = limits
        self.handshake_s = 0.0
        """How long connecting took, name look-up and TLS included."""
        self._ws: trio_websocket.WebSocketConnection | None = None
        self._settled = trio.Event()
        self._library_over = trio.Event()
        self._library_scope = trio.CancelScope(shield=True)
        self._library_error: Exception | None = None
        self._ping_sent_s: float | None = None

    async def send_text(self, text: str) -> None:
        """Send a text message the library's way: the plain path."""
        assert self._ws is not None
        try:
            await self._ws.send_message(text)
        except trio_websocket.ConnectionClosed as closed:
            raise await self._down(closed) from None

    async def send_frame(self, frame: bytes | bytearray | memoryview) -> None:
        """Send a ready WebSocket frame (header, mask and payload) past the library: the cheap path."""
        self._check_open()
        try:
            await self.wire.send_all(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _broken(error) from None

    def start_frame(self, frame: bytes | bytearray | memoryview) -> memoryview | None:
        """Send of a ready WebSocket frame what the socket takes at once; None when another message is under way.

        Returns the rest, nearly always none of it. Nothing else is sent until `finish_frame` has sent that.
        """
        self._check_open()
        try:
            return self.wire.start_send(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _broken(error) from None

    async def finish_frame(self, rest: memoryview) -> None:
        """Send the rest that `start_frame` has returned."""
        try:
            await self.wire.finish_send(rest)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _broken(error) from None

    def _check_open(self) -> None:
        # `closed` is set before a Close frame is written, so no data follows one.
        assert self._ws is not None
        if (reason := self._ws.closed) is not None:
            raise self._judged(reason)

    async def receive(self) -> str | bytes:
        """The next message. Somebody must always be waiting here: the library reads nothing otherwise."""
        assert self._ws is not None
        try:
            return await self._ws.get_message()
        except trio_websocket.ConnectionClosed as closed:
            raise await self._down(closed) from None

    async def watch(self) -> None:
        """Ping, and judge: runs until the peer is found dead, and raises LinkDown then.

        It looks again when there may be something to see, not at a fixed pace: with thousands of links that counts.
        """
        hurry = _draw_hurry()
        while True:
            now_s = trio.current_time()
            if self._ping_sent_s is not None and self.wire.last_received_s >= self._ping_sent_s:
                self._ping_sent_s = None  # a pong, or anything else that shows life
            ping_due_s = self._next_ping(hurry)
            if self._ping_sent_s is None and now_s >= ping_due_s:
                self._ping()
                hurry = _draw_hurry()
            verdict_due_s, why = self._next_verdict()
            if now_s >= verdict_due_s:
                raise LinkDown(Cause.SILENT, why)
            due_s = verdict_due_s if self._ping_sent_s is not None else min(verdict_due_s, ping_due_s)
            await trio.sleep(min(due_s - now_s, self.limits.stuck_send_s))  # a send may begin at any time

    def _next_ping(self, hurry: float) -> float:
        received_s = self.wire.last_received_s
        moved_s = max(received_s, self.wire.last_sent_s)
        quiet_due_s = moved_s + hurry * self.limits.ping_interval_s
        if self.wire.send_started_s is not None:
            return quiet_due_s  # behind a long message a ping is answered late; its bytes, as they go, show life enough
        return min(quiet_due_s, received_s + hurry * self.limits.deaf_ping_s)

    def _ping(self) -> None:
        """Send a ping past the library: it would keep a task waiting for the pong, here any sign of life will do."""
        assert self._ws is not None
        self._ping_sent_s = trio.current_time()
        if self._ws.closed is None:
            # A socket that takes nothing needs no ping: if that lasts, the verdict is the same.
            self.wire.send_nowait(b"\x89\x80" + os.urandom(4))  # FIN and ping, masked, no payload

    def _next_verdict(self) -> tuple[float, str]:
        """When the peer counts as dead if nothing happens until then, and why."""
        limits, wire = self.limits, self.wire
        verdicts = []
        if wire.send_started_s is not None:
            longest_s = limits.stuck_send_s + wire.send_bytes / SLOWEST_BYTES_PER_S
            moved_s = max(wire.send_started_s, wire.last_sent_s)
            due_s = min(wire.send_started_s + longest_s, moved_s + limits.stuck_send_s)
            verdicts.append((due_s, f"a message could not be written in {due_s - wire.send_started_s:.1f} s"))
        if self._ping_sent_s is not None:
            heard_s = max(self._ping_sent_s, wire.last_received_s)
            moved_s = max(heard_s, wire.last_sent_s)
            due_s = min(moved_s + limits.silence_s, heard_s + limits.deaf_s)
            verdicts.append((due_s, f"no answer to a ping in {due_s - heard_s:.1f} s"))
        return min(verdicts, default=(math.inf, ""))

    async def _run_library(self, host: str, resource: str) -> None:
        """The library's reader; shielded, as it is needed for a Close when all else is cancelled."""
        with self._library_scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._end_handshake_with_wire)
                    self._ws = await trio_websocket.wrap_client_stream(
                        nursery,
                        self.wire,  # type: ignore[arg-type]  # documented to take any stream
                        host,
                        resource,
                        extra_headers=[(b"User-Agent", f"ravatar-audio/{__version__}".encode())],
                        message_queue_size=_QUEUED_MESSAGES,
                        max_message_size=LARGEST_MESSAGE_CHARS,
                        receive_buffer_size=None,
                    )
                    self._settled.set()
            except Exception as error:
                self._library_error = error
            finally:
                self._library_over.set()
        self._settled.set()

    async def _end_handshake_with_wire(self) -> None:
        await self.wire.ended.wait()
        if self._ws is None:
            self._library_scope.cancel()

    async def _wait_open(self, address: str) -> None:
        await self._settled.wait()
        if self._ws is not None and self._library_error is None:
            return
        for error in leaves(self._library_error):
            if isinstance(error, trio_websocket.ConnectionRejected):
                raise _refused(error.status_code, dict(error.headers or ()), error.body or b"")
        if self.wire.head.startswith(b"HTTP/1.") and (status := self.wire.head[9:12]).isdigit() and status != b"101":
            raise _refused(int(status), {}, b"")
        is_http = self.wire.head.startswith(b"HTTP/1."[: len(self.wire.head)])
        if self._library_error is None and self.wire.is_ended_by_peer and is_http:
            raise LinkDown(Cause.UNREACHABLE, f"{address} hung up during the handshake")
        raise LinkDown(Cause.NOT_WEBSOCKET, address)

    async def _down(self, closed: trio_websocket.ConnectionClosed) -> LinkDown:
        if closed.reason is None:  # the reader has failed; its error takes a moment to arrive
            with trio.move_on_after(1.0):
                await self._library_over.wait()
        return self._judged(closed.reason)

    def _judged(self, reason: trio_websocket.CloseReason | None) -> LinkDown:
        # What it cannot read the library answers by closing the stream, without a word to us.
        is_closed_here = self.wire.ended.is_set() and not (self.wire.is_ended_by_peer or self.wire.is_torn)
        if reason is None or (reason.code == ABNORMAL_CLOSURE and is_closed_here):
            return LinkDown(Cause.VIOLATION)
        if reason.code == 1009 and (reason.reason or "").startswith("Exceeded maximum message size"):
            return LinkDown(Cause.VIOLATION, f"a message of more than {LARGEST_MESSAGE_CHARS >> 20} MiB")
        return LinkDown(Cause.CLOSED, reason.reason or "", close_code=reason.code)

    async def _leave(self) -> None:
        """Say Close 1000 where that can be, and be gone in `leave_s`, cancelled or not."""
        with trio.move_on_after(self.limits.leave_s, shield=True):
            # A message that is still under way would have to be written first: then there is no time for a Close.
            if self._ws is not None and not (self.wire.is_torn or self.wire.is_busy):
                await self._ws.aclose()
        self.wire.close()
        self._library_scope.cancel()


def _broken(error: Exception) -> LinkDown:
    return LinkDown(Cause.CLOSED, str(error), close_code=ABNORMAL_CLOSURE)


def _draw_hurry() -> float:
    """Pings come somewhat early, each by another share, so that those of many links do not fall together."""
    return random.uniform(0.7, 1.0)  # noqa: S311 - no secret


@asynccontextmanager
async def open_link(
    url: str,
    token: str,
    ssl_context: ssl.SSLContext,
    limits: LinkLimits = LinkLimits(),
    *,
    lookups: NameLookups | None = None,
) -> AsyncIterator[Link]:
    """Connect to `url` (ws: or wss:, no query) with the token, and leave with Close 1000. Raises LinkDown.

    `lookups` are shared by connections that follow one another; default: nothing is known from before.
    """
    parts = urlsplit(url)
    is_tls = parts.scheme == "wss"
    host = parts.hostname or ""
    address = parts.netloc
    began_s = trio.current_time()
    try:
        port = parts.port or (443 if is_tls else 80)
        wire, deadline_s = await open_wire(
            host, port, ssl_context if is_tls else None, lookups or NameLookups(), connect_s=limits.connect_s
        )
    except (OSError, UnicodeError) as error:
        why = why_unreachable(error, address)
        kinds = {CertificateError: Cause.CERTIFICATE, ProtocolError: Cause.NOT_WEBSOCKET}
        raise LinkDown(kinds.get(type(why), Cause.UNREACHABLE), why.message) from error
    except trio.TooSlowError:
        raise _too_slow(address) from None
    wire.set_user_timeout(limits.user_timeout_s)
    link = Link(wire, limits)
    with alone():
        async with trio.open_nursery() as nursery:
            try:
                nursery.start_soon(link._run_library, address, f"{parts.path or '/'}?token={quote(token, safe='')}")
                try:
                    with trio.fail_at(deadline_s):
                        await link._wait_open(address)
                except trio.TooSlowError:
                    raise _too_slow(address) from None
                link.handshake_s = trio.current_time() - began_s
                yield link
            finally:
                await link._leave()


def _too_slow(address: str) -> LinkDown:
    return LinkDown(Cause.TIMEOUT, f"{address} did not finish the handshake")


def _refused(status: int, headers: dict[bytes, bytes], body: bytes) -> LinkDown:
    try:
        said = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        said = None
    asked, date = (headers.get(name, b"").decode("ascii", "replace") for name in (b"retry-after", b"date"))
    why = said[:200] if isinstance(said, str) else ""
    return LinkDown(Cause.REFUSED, why, status=status, retry_after_s=parse_retry_after(asked, date))
