"""A client of the emulator for its own tests: plain HTTP and WebSocket, none of the package's own client."""

import base64
import fcntl
import json
import re
import ssl
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote

import httpx2
import pytest
import trio
import trio_websocket

from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault

from .served import tls_of


class Server(Protocol):
    """What a client must know of its emulator."""

    @property
    def port(self) -> int: ...
    @property
    def api_url(self) -> str: ...
    @property
    def settings(self) -> EmulatorSettings: ...


class Client:
    """Holds what a client of the platform holds."""

    def __init__(self, emulator: Server, http: httpx2.AsyncClient) -> None:
        self.emulator, self.http = emulator, http
        self.user_id = "user-1"
        self.jwt = self.session = self.license_id = ""
        self.raw: RawConnection | None = None
        """Below the last WebSocket."""

    async def call(self, method: str, path: str, body: object = None, **fields: Any) -> httpx2.Response:
        """One request with the token."""
        headers = {"Authorization": f"Bearer {self.jwt}"} | fields.pop("headers", {})
        return await self.http.request(method, path, json=body, headers=headers, **fields)

    async def login(self) -> None:
        """A token and a session."""
        self.jwt = (await self.http.post("/jwt", json={"user_id": self.user_id})).json()["jwt"]
        self.session = (await self.call("GET", "/connection")).json()["session"]

    async def start_live(self, avatar_id: str = "ava") -> dict[str, Any]:
        """Take a slot."""
        answer: dict[str, Any] = (await self.call("POST", "/startLiveSession", {"avatar_id": avatar_id})).json()
        self.license_id = answer["LicenseId"]
        return answer

    async def end_live(self) -> None:
        """Give the slot back."""
        response = await self.call("POST", "/endLiveSession", {"LicenseId": self.license_id})
        assert response.status_code == 200

    @asynccontextmanager
    async def socket(self, token: str | None = None) -> AsyncIterator[trio_websocket.WebSocketConnection]:
        """The WebSocket, on a stream of our own: the library forgets to close its own when the server ends it."""
        path = f"/ws/chat?token={quote(self.jwt if token is None else token)}"
        most_bytes = 16 * 1024 * 1024
        async with open_raw(self.emulator) as raw, trio.open_nursery() as nursery:
            try:
                self.raw = raw
                socket = await trio_websocket.wrap_client_stream(
                    nursery, raw.stream, f"127.0.0.1:{self.emulator.port}", path, max_message_size=most_bytes
                )
                yield socket
                with trio.move_on_after(1):
                    await socket.aclose()
            finally:
                nursery.cancel_scope.cancel()

    async def refused(self, token: str | None = None) -> trio_websocket.ConnectionRejected:
        """How the handshake is refused."""
        with pytest.raises(BaseExceptionGroup) as group:
            async with self.socket(token):
                pass
        return next(error for error in _leaves(group.value) if isinstance(error, trio_websocket.ConnectionRejected))

    def fields(self, *, live: bool = True) -> dict[str, Any]:
        """The fields that all messages have in common."""
        common = {"avatar_id": "ava", "user_id": self.user_id, "language": "en-US", "source": "test"}
        license_id = {"LicenseId": self.license_id} if live else {}
        return common | {"isLive": live, "session": self.session} | license_id

    def pcm_message(self, pcm: bytes, **fields: Any) -> str:
        """Live PCM voice."""
        sound = {"chat_type": "voice", "requestType": "audio", "audio_base64_pcm": base64.b64encode(pcm).decode()}
        return json.dumps(self.fields() | sound | fields)

    def text_message(self, text: str, *, live: bool = True) -> str:
        """Text."""
        return json.dumps(self.fields(live=live) | {"chat_type": "text", "requestType": "text", "request": text})


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


async def drain(socket: trio_websocket.WebSocketConnection) -> None:
    """Read and forget, until the connection ends."""
    while True:
        await socket.get_message()


async def close_reason(socket: trio_websocket.WebSocketConnection) -> trio_websocket.CloseReason:
    """How the connection ends; messages before that are read and forgotten."""
    with pytest.raises(trio_websocket.ConnectionClosed) as closed:
        await drain(socket)
    assert closed.value.reason is not None
    return closed.value.reason


@asynccontextmanager
async def open_emulator(
    *faults: Fault | str, secured: bool = True, login: bool = True, **settings: Any
) -> AsyncIterator[tuple[Emulator, "Client"]]:
    """An emulator with faults, and a client of it, within 10 s."""
    script = tuple(Fault.parse(fault) if isinstance(fault, str) else fault for fault in faults)
    with trio.fail_after(10):
        async with (
            Emulator(EmulatorSettings(tls=tls_of(secured), **settings)) as emulator,
            open_client(emulator, login=login) as it,
        ):
            emulator.faults.add(*script)  # behind the login
            yield emulator, it


class RawConnection:
    """Bytes to the emulator and back; says how the connection ended."""

    def __init__(
        self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream], transport: trio.SocketStream
    ) -> None:
        self.stream, self.socket = stream, transport.socket

    @property
    def unacknowledged_bytes(self) -> int:
        """What the peer's system has not acknowledged (Linux: SIOCOUTQ)."""
        return int.from_bytes(fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    async def ask(self, path: str, jwt: str = "", *more: str, method: str = "GET") -> None:
        """Send a request."""
        head = [f"{method} {path} HTTP/1.1", "Host: emulator", f"Authorization: Bearer {jwt}", *more]
        await self.stream.send_all("\r\n".join([*head, "", ""]).encode())

    async def upgrade(self, jwt: str) -> None:
        """Ask for the WebSocket."""
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        more = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)
        await self.ask(f"/ws/chat?token={jwt}", "", *more)

    async def answer(self) -> bytes:
        """One answer with a Content-Length, or as much as came before the end."""
        data = b""
        while part := await self.stream.receive_some():
            data += part
            head, end, body = data.partition(b"\r\n\r\n")
            if end and (length := re.search(rb"content-length: (\d+)", head)) and len(body) >= int(length[1]):
                break
        return data

    async def rest(self) -> tuple[bytes, str]:
        """All that comes, and how it ends: "FIN" or "RST"."""
        data = b""
        try:
            while part := await self.stream.receive_some():
                data += part
        except trio.BrokenResourceError as error:
            return data, "RST" if isinstance(error.__cause__, ConnectionResetError) else repr(error.__cause__)
        return data, "FIN"


@asynccontextmanager
async def open_raw(emulator: Server) -> AsyncIterator[RawConnection]:
    """A connection without any protocol."""
    transport = await trio.open_tcp_stream("127.0.0.1", emulator.port)
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = transport
    if emulator.settings.tls is not None:
        trusting = ssl.create_default_context()
        stream = trio.SSLStream(transport, trusting, server_hostname="127.0.0.1", https_compatible=True)
    try:
        yield RawConnection(stream, transport)
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_client(emulator: Server, *, login: bool = True) -> AsyncIterator[Client]:
    """A client, logged in."""
    trusting = ssl.create_default_context()
    async with httpx2.AsyncClient(base_url=emulator.api_url, timeout=5, verify=trusting) as http:
        client = Client(emulator, http)
        if login:
            await client.login()
        yield client
