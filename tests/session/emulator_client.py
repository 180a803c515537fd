"""A client of the emulator for its own tests: plain HTTP and WebSocket, none of the package's own client."""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx2
import numpy as np
import trio_websocket

from ravatar_audio.emulator import Emulator


def frame_pcm(index: int, amplitude: int = 8_000) -> bytes:
    """Frame number `index` of a tone: 4,096 samples, no two frames alike."""
    time = np.arange(4096) + 4096 * index
    return bytes((amplitude * np.sin(time * 0.31)).astype("<i2").tobytes())


class Client:
    """Holds what a client of the platform holds."""

    def __init__(self, emulator: Emulator, http: httpx2.AsyncClient, tls: ssl.SSLContext | None) -> None:
        self.emulator, self.http, self.tls = emulator, http, tls
        self.user_id = "user-1"
        self.jwt = self.session = self.license_id = ""

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
        """The WebSocket."""
        url = f"{self.emulator.ws_url}?token={quote(self.jwt if token is None else token)}"
        async with trio_websocket.open_websocket_url(
            url, ssl_context=self.tls, connect_timeout=3, disconnect_timeout=1, max_message_size=16 * 1024 * 1024
        ) as socket:
            yield socket

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


@asynccontextmanager
async def open_client(
    emulator: Emulator, *, login: bool = True, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Client]:
    """A client, logged in."""
    async with httpx2.AsyncClient(base_url=emulator.api_url, timeout=5, verify=tls or True) as http:
        client = Client(emulator, http, tls)
        if login:
            await client.login()
        yield client
