"""From a name to a connected stream: look-up, TCP, proxy, TLS; and in words why that could not be.

A name server that does not answer is asked again by the system for 5 s and more before the next one has its turn. So a
look-up has a limit of its own, in which such a start gets through, and only what follows it counts as connecting. The
addresses of the last connection are kept: where the look-up fails later, or takes long, they are used once more.
"""

import errno
import math
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import trio

from ravatar_audio._version import __version__
from ravatar_audio.api.proxy import LARGEST_HEAD_BYTES, Proxy, check_answer, connect_request
from ravatar_audio.api.tls import why_tls_failed
from ravatar_audio.api.wire import WireStream
from ravatar_audio.errors import NetworkError, ProtocolError, ProxyError, UnreachableError

LOOKUP_S = 20.0
"""Longest look-up of a name that has never been found: glibc asks each of up to three servers for 5 s, and then all of
them again."""

PATIENCE_S = 1.0
"""Longest look-up of a name that has been found before, and whose addresses worked the last time."""

_ATTEMPT_DELAY_S = 0.25
"""Wait before the next address is tried beside the one that has not answered: RFC 8305, 5 and 8."""


@dataclass(slots=True)
class _Known:
    addresses: list[str]
    is_doubted: bool = False
    """The last connection to them failed: the next look-up gets its whole time."""


class NameLookups:
    """Finds the addresses of names, and keeps those that a connection was made to. Shared by what connects alike.

    `limit_s` is a look-up's own limit. For `keep_s` what was found is given without asking again, and whoever asks
    while a look-up of the same name is under way gets its answer; until a connection to it fails. Default: each asks.
    """

    def __init__(self, limit_s: float = LOOKUP_S, *, keep_s: float = 0.0) -> None:
        self._limit_s, self._keep_s = limit_s, keep_s
        self._known: dict[str, _Known] = {}
        self._fresh: dict[str, tuple[float, list[str]]] = {}
        self._locks: dict[str, trio.Lock] = {}

    async def find(self, host: str) -> list[str]:
        """Return its numeric addresses, in the system's order of preference (RFC 6724). Raises socket.gaierror,
        UnicodeError.

        An error, and no answer in time, are made good by the addresses of the last connection, where there was one.
        """
        if not self._keep_s:
            return await self._ask(host)
        async with self._locks.setdefault(host, trio.Lock()):
            found_s, addresses = self._fresh.get(host, (-math.inf, []))
            if trio.current_time() - found_s >= self._keep_s:
                addresses = await self._ask(host)
                self._fresh[host] = trio.current_time(), addresses
            return addresses

    async def _ask(self, host: str) -> list[str]:
        known = self._known.get(host)
        limit_s = self._limit_s if known is None or known.is_doubted else min(PATIENCE_S, self._limit_s)
        try:
            with trio.fail_after(limit_s):
                found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (socket.gaierror, trio.TooSlowError) as error:
            if known is not None:
                return known.addresses
            if isinstance(error, socket.gaierror):
                raise
            raise socket.gaierror(socket.EAI_AGAIN, f"no name server has answered in {limit_s:g} s") from None
        return [_numeric(item[4]) for item in found]

    def note_good(self, host: str, addresses: list[str]) -> None:
        """Note that a connection to one of these addresses was made."""
        self._known[host] = _Known(addresses)

    def note_bad(self, host: str) -> None:
        """Note that none was made."""
        self._fresh.pop(host, None)
        if (known := self._known.get(host)) is not None:
            known.is_doubted = True


def _numeric(address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    host = str(address[0])
    zone = address[3] if len(address) == 4 else 0
    return f"{host}%{zone}" if zone and "%" not in host else host


async def open_wire(
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None,
    lookups: NameLookups,
    *,
    connect_s: float,
    proxy: Proxy | None = None,
) -> tuple[WireStream, float]:
    """Look up, connect, and with a context make TLS; returns the stream, and by when its handshake has to be over.

    The limit `connect_s` counts from the look-up's end. Raises OSError (ssl.SSLError included), UnicodeError for what
    is no host name, trio.TooSlowError, and ProxyError.
    """
    sock, deadline_s = await open_socket(host, port, lookups, connect_s=connect_s, proxy=proxy)
    with trio.fail_at(deadline_s):
        return await WireStream.begin(sock, ssl_context, host), deadline_s


async def open_socket(
    host: str, port: int, lookups: NameLookups, *, connect_s: float, proxy: Proxy | None = None
) -> tuple[socket.socket, float]:
    """Return a connected non-blocking socket, through the proxy where there is one; and the deadline.

    Raises as above.
    """
    if proxy is None:
        return await _connect(host, port, lookups, connect_s)
    try:
        sock, deadline_s = await _connect(proxy.host, proxy.port, lookups, connect_s)
    except (OSError, UnicodeError) as error:
        why = why_unreachable(error, proxy.address).message
        raise ProxyError(f"{proxy} cannot be used: {why}", retryable=not isinstance(error, UnicodeError)) from error
    except trio.TooSlowError:
        raise ProxyError(f"{proxy} cannot be used: no connection in {connect_s:g} s", retryable=True) from None
    try:
        with trio.fail_at(deadline_s):
            await _ask_for_way(sock, proxy, host, port)
    except BaseException as error:
        sock.close()
        if isinstance(error, trio.TooSlowError):
            raise ProxyError(f"{proxy} did not answer in {connect_s:g} s", retryable=True) from None
        raise
    return sock, deadline_s


async def _connect(host: str, port: int, lookups: NameLookups, connect_s: float) -> tuple[socket.socket, float]:
    addresses = await lookups.find(host)
    deadline_s = trio.current_time() + connect_s
    with trio.fail_at(deadline_s):
        try:
            sock = await open_tcp(addresses, port)
        except BaseException:
            lookups.note_bad(host)
            raise
        lookups.note_good(host, addresses)
        return sock, deadline_s


async def _ask_for_way(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """CONNECT. Whoever is behind the proxy does not speak before we do, so nothing follows its answer."""
    request = connect_request(proxy, host, port, f"ravatar-audio/{__version__}")
    answer = b""
    try:
        while request:
            await trio.lowlevel.wait_writable(sock)
            request = request[sock.send(request) :]
        while b"\r\n\r\n" not in answer and len(answer) <= LARGEST_HEAD_BYTES:
            await trio.lowlevel.wait_readable(sock)
            if not (data := sock.recv(4_096)):
                raise ProxyError(f"{proxy} hung up without an answer", retryable=True)
            answer += data
    except ProxyError:  # an OSError too
        raise
    except OSError as error:
        raise ProxyError(f"{proxy} broke the connection: {error.strerror or error}", retryable=True) from error
    head, _, rest = answer.partition(b"\r\n\r\n")
    check_answer(head, proxy, f"{host}:{port}")
    if rest:
        raise ProxyError(f"{proxy} opened the way to {host}:{port}, and sent {len(rest)} bytes that nobody asked for")


async def open_tcp(addresses: Sequence[str], port: int) -> socket.socket:
    """Connect to the first that answers, as a non-blocking socket. Raises OSError when none does."""
    stream = await _open_first(addresses, port)
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    return sock


async def _open_first(addresses: Sequence[str], port: int) -> trio.SocketStream:
    """Happy eyeballs (RFC 8305): one address after the other, 250 ms apart; the first that answers has it."""
    first: trio.SocketStream | None = None
    errors: list[OSError] = []

    async def attempt(address: str, has_failed: trio.Event) -> None:
        nonlocal first
        try:
            stream = await trio.open_tcp_stream(address, port)
        except OSError as error:
            errors.append(error)
            has_failed.set()
            return
        if first is not None:
            await trio.aclose_forcefully(stream)
            return
        first = stream
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for address in _alternated(addresses):
                has_failed = trio.Event()
                nursery.start_soon(attempt, address, has_failed)
                with trio.move_on_after(_ATTEMPT_DELAY_S):
                    await has_failed.wait()
    except BaseException:
        if first is not None:
            first.socket.close()
        raise
    if first is None:
        if len(errors) == 1:
            raise errors[0]  # with its own cause, which says why
        raise OSError("no address answers") from ExceptionGroup("", errors)
    return first


def _alternated(addresses: Sequence[str]) -> list[str]:
    """In their order, but the second of another family than the first: one whole family may lead nowhere."""
    unique = list(dict.fromkeys(addresses))
    other = next((item for item in unique if (":" in item) != (":" in unique[0])), None)
    if other is not None:
        unique.remove(other)
        unique.insert(1, other)
    return unique


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it came from, and the members of groups, depth first."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        item = waiting.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, BaseExceptionGroup):
            waiting += item.exceptions
        waiting += [item.__context__, item.__cause__]


def why_unreachable(error: BaseException, address: str) -> NetworkError | ProtocolError:
    """Return the error to raise for a connection to `address` (host and port) that failed with `error`."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, NetworkError):
            return cause.replaced()
        if isinstance(cause, ssl.SSLCertVerificationError):
            return why_tls_failed(cause, address)
    for cause in causes:
        if isinstance(cause, UnicodeError):
            return UnreachableError(f"the host of {address} cannot be found: it is no host name", retryable=False)
        if isinstance(cause, socket.gaierror):
            return UnreachableError(f"the host of {address} cannot be found: {cause.strerror}", errno=cause.errno)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            return why_tls_failed(cause, address)
    for cause in causes:
        # Errors of TLS have numbers of their own there.
        number = cause.errno if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) else None
        if number is not None and number in errno.errorcode:
            return UnreachableError(f"no connection to {address}: {os.strerror(number)}", errno=number)
    return UnreachableError(f"no connection to {address}: it was closed before an answer")
