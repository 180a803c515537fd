"""One WebSocket connection, from the TCP handshake to the last byte. The only module that knows trio-websocket.

The library is asked through its public API alone. What it leaves open is closed here:
- a peer that hangs up during the handshake leaves `wrap_client_stream` waiting for ever: the stream tells, and it ends;
- `ping` does not wake when the connection dies: pings are sent past it, and judged by what is received (heartbeat.py);
- a cancelled send leaves half a message: the stream is torn then, and refuses all that follows (wire.py);
- nothing is read while nobody takes messages: the session always does;
- closing waits behind a blocked send, for a minute: `leave_s` bounds it.
"""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlsplit

import trio
import trio_websocket

from ravatar_audio._version import __version__
from ravatar_audio.api.backoff import parse_retry_after
from ravatar_audio.api.connecting import NameLookups, open_wire, why_unreachable
from ravatar_audio.api.heartbeat import Heartbeat, PongHabit, Watchdog
from ravatar_audio.api.link_end import ABNORMAL_CLOSURE, Cause, LinkDown, redirect_target
from ravatar_audio.api.proxy import Proxy
from ravatar_audio.api.wire import WireStream
from ravatar_audio.errors import CertificateError, ProtocolError, ProxyError
from ravatar_audio.groups import leaves, single_error
from ravatar_audio.settings import Settings

LARGEST_MESSAGE_CHARS = 16 * 1024 * 1024
"""Of a message from the server; a larger one ends the link."""

_QUEUED_MESSAGES = 64
_PARSER_CODES = frozenset({1002, 1007})


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """How long what may last, in seconds. The defaults notice a peer that has vanished within 6 s.

    They hold on a line of 600 ms there and back. Most are settings: see `from_settings`.
    """

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
    """A message of which for so long no byte is taken or acknowledged ends the link; so does one that takes longer than
    this and 1 s for each 4 KiB."""
    user_timeout_s: float = 5.0
    """Nothing of what is under way was acknowledged for so long, where the system reports it: the line is cut."""
    leave_s: float = 2.0
    """Saying Close and hearing the peer's, which takes a round trip; then the connection is dropped."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make them as the user has set them."""
        return cls(
            connect_s=settings.connect_timeout_ms / 1000,
            ping_interval_s=settings.ping_interval_ms / 1000,
            deaf_ping_s=3 * settings.ping_interval_ms / 1000,
            silence_s=settings.pong_timeout_ms / 1000,
            deaf_s=max(8_000, settings.pong_timeout_ms) / 1000,
            stuck_send_s=settings.stuck_send_ms / 1000,
            user_timeout_s=settings.unacknowledged_ms / 1000,
        )


class Link:
    """An open WebSocket. Every method raises LinkDown when the connection is over, and is safe to cancel.

    A send that is cancelled half-way ends the connection. Get one by `open_link`.
    """

    def __init__(self, wire: WireStream, limits: LinkLimits, habit: PongHabit, watchdog: Watchdog | None) -> None:
        self.wire = wire
        self.limits = limits
        self.handshake_s: float = 0.0
        """How long connecting took, name look-up and TLS included."""
        self._ws: trio_websocket.WebSocketConnection | None = None
        self._settled = trio.Event()
        self._library_over = trio.Event()
        self._library_scope = trio.CancelScope(shield=True)
        self._library_error: Exception | None = None
        self._watchdog = Watchdog() if watchdog is None else watchdog
        self._heartbeat = Heartbeat(wire, limits, habit, lambda: self._ws is None or self._ws.closed is not None)

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
        """Receive the next message. Somebody must always be waiting here: the library reads nothing otherwise."""
        assert self._ws is not None
        try:
            return await self._ws.get_message()
        except trio_websocket.ConnectionClosed as closed:
            raise await self._down(closed) from None

    async def watch(self) -> None:
        """Run until the peer is found dead, and raise LinkDown then."""
        await self._watchdog.watch(self._heartbeat)

    async def _run_library(self, host: str, resource: str, cookies: str) -> None:
        """The library's reader; shielded, as it is needed for a Close when all else is cancelled."""
        headers = [(b"User-Agent", f"ravatar-audio/{__version__}".encode())]
        if cookies:
            headers.append((b"Cookie", cookies.encode("latin-1", "replace")))
        with self._library_scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._end_handshake_with_wire)
                    self._ws = await trio_websocket.wrap_client_stream(
                        nursery,
                        self.wire,  # type: ignore[arg-type]  # documented to take any stream
                        host,
                        resource,
                        extra_headers=headers,
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
        # Its parser's verdicts it reports as if the peer had sent them in a Close; but a real one it answers.
        if reason.code in _PARSER_CODES and not self.wire.is_close_sent:
            return LinkDown(Cause.VIOLATION, reason.reason or "")
        return LinkDown(Cause.CLOSED, reason.reason or "", close_code=reason.code, is_own_word=True)

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


@asynccontextmanager
async def open_link(
    url: str,
    token: str,
    ssl_context: ssl.SSLContext,
    limits: LinkLimits = LinkLimits(),
    *,
    lookups: NameLookups | None = None,
    habit: PongHabit | None = None,
    proxy: Proxy | None = None,
    cookies: str = "",
    watchdog: Watchdog | None = None,
) -> AsyncIterator[Link]:
    """Connect to `url` (ws: or wss:, no query) with the token, and leave with Close 1000. Raises LinkDown.

    `lookups` and `habit` are shared by connections that follow one another; default: nothing is known from before.
    `cookies` is the Cookie header of the handshake. `watchdog` watches the links of a whole process; default: a task of
    the link's own.
    """
    parts = urlsplit(url)
    is_tls = parts.scheme == "wss"
    host = parts.hostname or ""
    address = parts.netloc
    began_s = trio.current_time()
    try:
        port = parts.port or (443 if is_tls else 80)
        wire, deadline_s = await open_wire(
            host,
            port,
            ssl_context if is_tls else None,
            lookups or NameLookups(),
            connect_s=limits.connect_s,
            proxy=proxy,
        )
    except ProxyError as error:
        raise LinkDown(Cause.UNREACHABLE if error.retryable else Cause.PROXY, error.message) from error
    except (OSError, UnicodeError) as error:
        why = why_unreachable(error, address)
        kinds = {CertificateError: Cause.CERTIFICATE, ProtocolError: Cause.NOT_WEBSOCKET}
        raise LinkDown(kinds.get(type(why), Cause.UNREACHABLE), why.message) from why
    except trio.TooSlowError:
        raise _too_slow(address) from None
    wire.set_user_timeout(limits.user_timeout_s)
    link = Link(wire, limits, habit or PongHabit(), watchdog)
    with single_error():
        async with trio.open_nursery() as nursery:
            try:
                target = f"{parts.path or '/'}?token={quote(token, safe='')}"
                nursery.start_soon(link._run_library, address, target, cookies)
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
    is_own_word = bool(why)
    if 300 <= status < 400 and (target := redirect_target(headers.get(b"location", b"").decode("latin-1"))):
        why = f"a redirect to {target}"
    retry_after_s = parse_retry_after(asked, date)
    return LinkDown(Cause.REFUSED, why, status=status, retry_after_s=retry_after_s, is_own_word=is_own_word)
