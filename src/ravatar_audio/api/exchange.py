"""HTTP requests and their answers, over connections that connecting.py makes. Only this module knows the HTTP library.

The library keeps connections, cookies and the protocol. Look-up, connecting and the proxy are the same as the
WebSocket's, with the same limits; answers are unpacked by ourselves, as a few packed bytes may stand for gigabytes.
"""

import logging
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore2
import httpx2
import trio

from ravatar_audio._version import __version__
from ravatar_audio.api.connecting import NameLookups, open_socket, why_unreachable
from ravatar_audio.api.content import decode_content
from ravatar_audio.api.proxy import Proxy
from ravatar_audio.errors import GatewayTimeoutError, ProtocolError, UnreachableError
from ravatar_audio.observe.log import HidingFilter, Log

LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""Largest answer that is taken, packed and unpacked."""

_KEEP_ALIVE_S = 5.0
_CONNECTIONS_MAX = 100
_KNOWN = (httpcore2.NetworkError, httpx2.TransportError, httpx2.InvalidURL, OSError, UnicodeError, ExceptionGroup)

for _name in ("httpx2", "httpcore2.connection", "httpcore2.http11"):
    logging.getLogger(_name).addFilter(HidingFilter())


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `headers` are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""


class Exchange:
    """One user's connections and cookies. All methods raise errors of the RavatarError tree and nothing else."""

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        lookups: NameLookups,
        proxy: Proxy | None,
        log: Log,
        *,
        request_s: float,
        connect_s: float,
    ) -> None:
        """`request_s` limits a request and its answer; `connect_s` connecting, from the look-up's end on."""
        self._request_s = request_s
        self._via = f" through {proxy}" if proxy is not None else ""
        self._log = log
        self._client = httpx2.AsyncClient(
            transport=_Transport(ssl_context, _Network(lookups, proxy, connect_s)),
            timeout=None,
            trust_env=False,
            headers={
                "User-Agent": f"ravatar-audio/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
            },
        )

    async def aclose(self) -> None:
        """Close the connections. May be called again."""
        with trio.move_on_after(1.0, shield=True):  # TLS has a farewell, which may wait for the line
            await self._client.aclose()

    def cookies_for(self, url: str) -> str:
        """Return the Cookie header for a request to `url`, ws and wss included; empty where there is none."""
        request = httpx2.Request("GET", url.replace("ws", "http", 1) if url.startswith("ws") else url)
        self._client.cookies.set_cookie_header(request)
        return request.headers.get("Cookie", "")

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        call: str,
        body: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        """Fetch the whole answer; errors name it as `call`, and the host, never the address: it may hold a secret."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        address = urlsplit(url).netloc
        began_s = time.monotonic()
        self._log.debug("%s", call)
        try:
            # An answer that is too long is cut off by cancelling, as that unwinds the library's generators in order.
            with trio.fail_after(self._request_s), trio.CancelScope() as reading:
                async with self._client.stream(method, url, json=body, params=query, headers=headers) as response:
                    content = bytearray()
                    async for chunk in response.aiter_raw():
                        content += chunk
                        if len(content) > LARGEST_ANSWER_BYTES:
                            reading.cancel()
        except Exception as error:
            raise self._why(error, call, address) from error
        if reading.cancelled_caught:
            raise ProtocolError(f"{call} answered more than {LARGEST_ANSWER_BYTES >> 20} MiB")
        elapsed_ms = (time.monotonic() - began_s) * 1000
        self._log.debug("%s -> %d, %d bytes, %.1f ms", call, response.status_code, len(content), elapsed_ms)
        codings = response.headers.get("Content-Encoding", "")
        unpacked = decode_content(bytes(content), codings, LARGEST_ANSWER_BYTES, call)
        return Answer(response.status_code, response.headers, unpacked)

    async def look_at(self, url: str) -> Answer:
        """Return status and headers of any page, without its content and without our token."""
        address = urlsplit(url).netloc
        try:
            with trio.fail_after(self._request_s):
                async with self._client.stream("GET", url) as response:
                    return Answer(response.status_code, response.headers)
        except Exception as error:
            raise self._why(error, f"GET {address}", address) from error

    def _why(self, error: Exception, call: str, address: str) -> Exception:
        """The error to raise; `is_answer_lost` in its details: the call may have been carried out all the same."""
        if isinstance(error, trio.TooSlowError):
            text = f"{call}: no answer from {address} in {self._request_s:g} s{self._via}"
            return GatewayTimeoutError(text, is_answer_lost=True)
        if isinstance(error, httpcore2.RemoteProtocolError):
            text = str(error)
            # Hung up on, perhaps on a kept connection that had gone stale; anything else is not HTTP.
            if "disconnected" in text or "closed connection" in text:
                return UnreachableError(f"{call}: {address} closed the connection{self._via}", is_answer_lost=True)
            return ProtocolError(f"{call}: {address} does not speak HTTP")
        if isinstance(error, httpcore2.ReadError | httpcore2.WriteError):
            return why_unreachable(error, address).replaced(details={"is_answer_lost": True})
        if isinstance(error, _KNOWN):
            return why_unreachable(error, address)
        return error


class _Transport(httpx2.AsyncBaseTransport):
    """The library's pool of connections, on our own network."""

    def __init__(self, ssl_context: ssl.SSLContext, network: "_Network") -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=_CONNECTIONS_MAX,
            keepalive_expiry=_KEEP_ALIVE_S,
            network_backend=network,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        answer = await self._pool.handle_async_request(
            httpcore2.Request(
                request.method,
                url,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Network(httpcore2.AsyncNetworkBackend):
    """Makes the pool's connections as the WebSocket's are made."""

    def __init__(self, lookups: NameLookups, proxy: Proxy | None, connect_s: float) -> None:
        self._lookups, self._proxy, self._connect_s = lookups, proxy, connect_s

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> "_Stream":
        try:
            sock, deadline_s = await open_socket(
                host, port, self._lookups, connect_s=self._connect_s, proxy=self._proxy
            )
        except trio.TooSlowError:
            raise UnreachableError(
                f"no connection to {host}:{port} in {self._connect_s:g} s",
                advice="Check the network; a firewall that drops what it does not allow looks like this.",
            ) from None
        return _Stream(trio.SocketStream(trio.socket.from_stdlib_socket(sock)), f"{host}:{port}", deadline_s)


class _Stream(httpcore2.AsyncNetworkStream):
    """A stream of trio as the pool wants it."""

    def __init__(
        self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream], address: str, by_s: float
    ) -> None:
        self._stream, self._address, self._by_s = stream, address, by_s

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "_Stream":
        assert isinstance(self._stream, trio.SocketStream)
        secure = trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True)
        try:
            with trio.fail_at(self._by_s):
                await secure.do_handshake()
        except BaseException as error:
            await trio.aclose_forcefully(self._stream)
            if isinstance(error, trio.TooSlowError):
                raise UnreachableError(f"{self._address} did not finish the TLS handshake in time") from None
            if isinstance(error, trio.BrokenResourceError):
                raise httpcore2.ConnectError(str(error)) from error
            raise
        return _Stream(secure, self._address, self._by_s)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # of a connection at rest: it has been closed
            stream = self._stream
            tcp = stream if isinstance(stream, trio.SocketStream) else stream.transport_stream
            return tcp.socket.is_readable()
        return None
