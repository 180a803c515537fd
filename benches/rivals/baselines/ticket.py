"""Into a live session with the standard library: token, connection, slot."""

import json
import ssl
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the WebSocket needs."""

    url: str
    """With the token."""
    fields: dict[str, object]
    """Of every live voice message, but the sound."""
    tls: ssl.SSLContext | None


def tls_context(url: str, ca_file: str | None) -> ssl.SSLContext | None:
    """For https and wss."""
    return ssl.create_default_context(cafile=ca_file) if url.startswith(("https:", "wss:")) else None


def take_ticket(api_url: str, user_id: str, *, ca_file: str | None = None, ws_url: str | None = None) -> Ticket:
    """Begin a live session with the first avatar that has one. `ws_url` names another WebSocket than the API's."""
    tls = tls_context(api_url, ca_file)
    headers = {"Content-Type": "application/json"}

    def call(path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(urllib.request.Request(api_url + path, data, headers), context=tls) as answer:
            result: dict[str, Any] = json.load(answer)
        return result

    token = call("/jwt", {"user_id": user_id})["jwt"]
    headers["Authorization"] = f"Bearer {token}"
    connection = call("/connection")
    avatar_id = next(avatar["_id"] for avatar in connection["avatars_info"] if avatar["hasLiveMode"])
    license_id = call("/startLiveSession", {"avatar_id": avatar_id})["LicenseId"]
    fields: dict[str, object] = {
        "avatar_id": avatar_id,
        "user_id": user_id,
        "language": connection["languages"][0]["language_code"],
        "source": "usual-pipeline",
        "isLive": True,
        "session": connection["session"],
        "LicenseId": license_id,
        "chat_type": "voice",
        "requestType": "audio",
    }
    address = ws_url or "ws" + api_url.removeprefix("http") + "/ws/chat"
    return Ticket(f"{address}?token={quote(token, safe='')}", fields, tls_context(address, ca_file))
