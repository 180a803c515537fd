"""The emulator's mode for load: one process of it, over plain sockets, thousands of clients on a core.

What it leaves out: sound is not kept, and heard at two places of each frame alone; one message in `CHECK_EVERY` of a
connection is checked as a whole, the first ones and all that are no frames as well; there are no faults, no history, no
page and no expiry. What it keeps: tokens, sessions, LicenseIds and slots are checked at each call and handshake.
Several processes share a port; whatever one gives out any other accepts, as it is signed with a common key.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import re
import secrets
import selectors
import socket
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

from ravatar_audio.emulator.contract import (
    FRAME_CHARACTERS,
    Speaker,
    Violation,
    as_object,
    check_end_request,
    check_jwt_request,
    check_message,
    check_start_request,
)
from ravatar_audio.emulator.load_bytes import LISTENED_BYTES, level_at, loudness, response, unmask
from ravatar_audio.emulator.load_counters import LoadCounters
from ravatar_audio.emulator.settings import EmulatorSettings
from ravatar_audio.emulator.token_issuer import TokenIssuer, TokenRefused
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ

CHECK_EVERY: Final = 64
HANGOVER_FRAMES: Final = 3
"""So many quiet frames end a turn: the first whole ones behind the whole emulator's 0.9 s would be four."""
_LOUD: Final = 300
"""Mean magnitude from which a frame counts as speech: -41 dBFS."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_TEXT, _CLOSE, _PING = 1, 8, 9
_LARGEST_HEAD_BYTES: Final = 64 * 1024
_SOUND_FIELD: Final = re.compile(rb'"audio_base64_pcm"\s*:\s*"')
_LARGEST_MESSAGE_BYTES: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class _Client:
    sock: socket.socket
    is_secured: bool
    head: bytearray = field(default_factory=bytearray)
    """What has come of a request, or of a WebSocket frame, that is not whole yet."""
    user_id: str | None = None
    """Once it is a WebSocket."""
    messages: int = 0
    loud_frames: int = 0
    quiet_frames: int = 0
    skip_bytes: int = 0
    """Of a frame that is not looked at."""
    message: tuple[str, str] = ("", "")
    """Avatar and session of the newest message that was read."""
    frame_bytes: int = 0
    """Length of a frame's message without marks, and where its base64 begins; learnt from one that was read."""
    sound_at: int = 0


class LoadServer:
    """Serves on a listening socket until it is ended, as one of several processes."""

    def __init__(self, settings: EmulatorSettings, listener: socket.socket, key: bytes, counters: LoadCounters) -> None:
        self._settings, self._listener, self._counters = settings, listener, counters
        self._key = key
        self._tokens = TokenIssuer(settings.token_lifetime_s, key=hashlib.sha256(key).digest())
        self._selector = selectors.DefaultSelector()
        self._buffer = bytearray(256 * 1024)
        self._turn_frames = max(1, round(settings.reply_every_s * RATE_HZ / FRAME_SAMPLES))
        self._avatars = frozenset(avatar.id for avatar in settings.avatars)
        self._live_avatars = frozenset(avatar.id for avatar in settings.avatars if avatar.has_live_mode)
        self._languages = frozenset(code for _, code in settings.languages)
        host, port = listener.getsockname()[:2]
        self._url = f"{'https' if settings.tls else 'http'}://{host}:{port}"

    def run(self) -> None:
        """Serve, for ever, or as `end_with` says."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._accept()
                    continue
                if key.data == "end":
                    return
                client: _Client = key.data
                try:
                    self._read(client)
                except (ssl.SSLWantReadError, BlockingIOError):
                    pass
                except OSError:
                    self._drop(client)

    def end_with(self, pipe: int) -> None:
        """Let `run` return when this pipe's other end is closed."""
        self._selector.register(pipe, selectors.EVENT_READ, "end")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            for _ in range(16):
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._settings.tls is not None:
                    sock = self._settings.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                self._selector.register(sock, selectors.EVENT_READ, _Client(sock, self._settings.tls is None))

    def _drop(self, client: _Client) -> None:
        self._selector.unregister(client.sock)
        client.sock.close()
        if client.user_id is not None:
            self._counters.add("sockets_closed")

    def _read(self, client: _Client) -> None:
        if not client.is_secured:
            assert isinstance(client.sock, ssl.SSLSocket)
            client.sock.do_handshake()
            client.is_secured = True
        while True:
            count = client.sock.recv_into(self._buffer)
            if not count:
                raise ConnectionError
            data = memoryview(self._buffer)[:count]
            if client.user_id is None:
                self._take_request(client, data)
            else:
                self._take_frames(client, data)

    # -- HTTP --

    def _take_request(self, client: _Client, data: memoryview) -> None:
        client.head += data
        while (end := client.head.find(b"\r\n\r\n")) >= 0:
            lines = bytes(client.head[:end]).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            length = headers.get("content-length", "0")
            size = int(length) if length.isdigit() else 0
            if len(client.head) < end + 4 + size:
                break
            body = bytes(client.head[end + 4 : end + 4 + size])
            del client.head[: end + 4 + size]
            method, _, target = lines[0].partition(" ")
            path, _, query = target.partition(" ")[0].partition("?")
            if path == "/ws/chat":
                self._upgrade(client, query, headers)
                rest = bytes(client.head)
                client.head.clear()
                if client.user_id is not None and rest:
                    self._take_frames(client, memoryview(rest))
                return
            self._send(client, self._answer(method, path, headers, body))
        if len(client.head) > _LARGEST_HEAD_BYTES:
            raise ConnectionError

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        handler = {
            ("POST", "/jwt"): self._jwt,
            ("GET", "/connection"): self._connection,
            ("POST", "/startLiveSession"): self._start,
            ("POST", "/endLiveSession"): self._end,
        }.get((method, path))
        if handler is None:
            return response(404, {"status": 404, "error": "not_found"})
        try:
            token = headers.get("authorization", "").partition(" ")[2]
            user_id = "" if path == "/jwt" else self._tokens.check(token)
            return handler(user_id, as_object(body, "body") if method == "POST" else {})
        except Violation as violation:
            self._counters.add("violations")
            values = {"error": violation.code, "field": violation.field, "message": str(violation)}
            return response(violation.status, {"status": violation.status, "result": "failure", **values})
        except TokenRefused as refused:
            return response(403, {"status": 403, "error": refused.code})

    def _jwt(self, _: str, body: dict[str, Any]) -> bytes:
        user_id, project_id = check_jwt_request(body)
        projects = self._settings.projects
        if projects is not None and project_id not in projects:
            raise Violation("project_id", "there is no such project", code="project_not_found", status=401)
        self._counters.add("tokens")
        return response(200, {"result": "success", "jwt": self._tokens.issue(user_id, project_id)})

    def _connection(self, user_id: str, _: dict[str, Any]) -> bytes:
        avatars = [
            {"_id": item.id, "name": item.name, "hasLiveMode": item.has_live_mode, "greetingText": item.greeting}
            for item in self._settings.avatars
        ]
        languages = [{"name": name, "language_code": code} for name, code in self._settings.languages]
        return response(
            200,
            {
                "status": 200,
                "session": self._signed(secrets.token_hex(4), "session", user_id),
                "avatars_info": avatars,
                "languages": languages,
                "chat_types": ["text", "voice"],
                "vadEnabled": self._settings.vad_enabled,
            },
        )

    def _start(self, user_id: str, body: dict[str, Any]) -> bytes:
        check_start_request(body, self._live_avatars)
        number = self._counters.start_live(self._settings.slots)
        if number is None:
            return response(503, {"status": 503, "error": "All AI assistants are busy at the moment"})
        license_id = self._signed(f"{number:08x}", "license", user_id)
        return response(200, {"status": 200, "LicenseId": license_id, "streamingUrl": f"{self._url}/stream/{number}"})

    def _end(self, user_id: str, body: dict[str, Any]) -> bytes:
        license_id = check_end_request(body)
        if not self._is_signed(license_id, "license", user_id):
            raise Violation("LicenseId", "it is no LicenseId that /startLiveSession gave to this user")
        self._counters.end_live(int(license_id[:8], 16))
        return response(200, {"status": 200})

    def _signed(self, name: str, kind: str, user_id: str) -> str:
        """Return a name that each of the processes can tell to be one of theirs, and this user's."""
        return name + hmac.digest(self._key, f"{kind}:{user_id}:{name}".encode(), "sha256").hex()[:16]

    def _is_signed(self, text: str, kind: str, user_id: str) -> bool:
        return len(text) == 24 and text.isascii() and hmac.compare_digest(text, self._signed(text[:8], kind, user_id))

    # -- WebSocket --

    def _upgrade(self, client: _Client, query: str, headers: dict[str, str]) -> None:
        try:
            user_id = self._tokens.check(next(iter(parse_qs(query).get("token", [])), None))
        except TokenRefused as refused:
            self._send(client, response(403, {"status": 403, "error": refused.code}))
            return
        key = headers.get("sec-websocket-key", "").encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - as RFC 6455 has it
        client.user_id = user_id
        self._counters.add("sockets")
        self._send(
            client,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n",
        )
        avatar = self._settings.avatars[0]
        self._say(client, {"type": "connection", "message": avatar.greeting, "avatar_id": avatar.id})

    def _take_frames(self, client: _Client, data: memoryview) -> None:
        if client.head:
            data = memoryview(bytes(client.head) + data)
            client.head.clear()
        while len(data):
            if client.skip_bytes:
                used = min(client.skip_bytes, len(data))
                client.skip_bytes -= used
            else:
                used = self._take_frame(client, data)
                if not used:
                    client.head += data
                    return
            data = data[used:]

    def _take_frame(self, client: _Client, data: memoryview) -> int:
        """Take the frame that begins here; how many bytes were used, 0 when not enough of it is there."""
        if len(data) < 14:
            return self._take_short(client, data)
        opcode, length, at = data[0] & 15, data[1] & 127, 2
        if length == 126:
            length, at = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, at = int.from_bytes(data[2:10], "big"), 10
        whole = at + 4 + length
        if opcode != _TEXT or length != client.frame_bytes or client.messages % CHECK_EVERY == 0:
            if whole > _LARGEST_MESSAGE_BYTES:
                raise ConnectionError
            return self._take_whole(client, opcode, data, at, length) if len(data) >= whole else 0
        places = [at + 4 + client.sound_at + FRAME_CHARACTERS * part // 24 * 8 for part in (1, 2)]
        if len(data) < places[1] + LISTENED_BYTES:
            return 0
        client.messages += 1
        self._counters.add("frames")
        mask = bytes(data[at : at + 4])
        self._note_level(client, any(level_at(data, at + 4, place, mask) >= _LOUD for place in places))
        if len(data) < whole:
            client.skip_bytes = whole - len(data)
            return len(data)
        return whole

    def _take_short(self, client: _Client, data: memoryview) -> int:
        """A control frame may be no longer than its header."""
        if len(data) < 6 or data[1] & 127 > 125 or len(data) < 6 + (data[1] & 127):
            return 0
        return self._take_whole(client, data[0] & 15, data, 2, data[1] & 127)

    def _note_level(self, client: _Client, is_loud: bool) -> None:
        if is_loud:
            client.loud_frames, client.quiet_frames = client.loud_frames + 1, 0
        elif client.loud_frames:
            client.quiet_frames += 1
        if client.quiet_frames >= HANGOVER_FRAMES or client.loud_frames >= self._turn_frames:
            self._reply(client, f"I heard you, about {client.loud_frames * 0.256:.1f} s.", is_live=True)
            client.loud_frames = client.quiet_frames = 0

    def _take_whole(self, client: _Client, opcode: int, data: memoryview, at: int, length: int) -> int:
        payload = unmask(data[at + 4 : at + 4 + length], bytes(data[at : at + 4]))
        if opcode == _CLOSE:
            self._send(client, bytes([0x80 | _CLOSE, len(payload)]) + payload)
            raise ConnectionError  # a server closes TCP first (RFC 6455, 7.1.1)
        if opcode == _PING:
            self._send(client, bytes([0x8A, len(payload)]) + payload)
        elif opcode in (_TEXT, 2):
            client.messages += 1
            self._check(client, payload if opcode == 2 else payload.decode("utf-8", "replace"))
        return at + 4 + length

    def _check(self, client: _Client, raw: str | bytes) -> None:
        user_id = client.user_id or ""
        speaker = Speaker(
            user_id,
            self._avatars,
            self._languages,
            lambda session: self._is_signed(session, "session", user_id),
            lambda license_id: self._is_signed(license_id, "license", user_id),
        )
        self._counters.add("checked")
        try:
            message = check_message(raw, speaker)
            if message.license_id is not None and not self._counters.is_active(int(message.license_id[:8], 16)):
                self._say(client, {"type": "event", "content": "Session expired", "error": "Expired"})
                return
        except Violation as violation:
            self._counters.add("violations")
            self._say(client, {"type": "system", "message": str(violation), "error": "invalid_message"})
            return
        client.message = message.avatar_id, message.session
        if message.kind == "pcm":
            self._counters.add("frames")
            text = raw if isinstance(raw, bytes) else raw.encode()
            begins = _SOUND_FIELD.search(text)
            client.frame_bytes, client.sound_at = (len(text), begins.end()) if begins else (0, 0)
            if message.lost_samples or message.repeated_samples:
                client.frame_bytes = 0
            levels = [loudness(message.data[begin : begin + 96]) for begin in (2_730, 5_460)]
            self._note_level(client, max(levels) >= _LOUD)
        else:
            self._counters.add("texts" if message.kind == "text" else "voices")
            self._reply(client, f"You wrote: {message.text}" if message.kind == "text" else "I got your message.")

    def _reply(self, client: _Client, text: str, *, is_live: bool = False) -> None:
        self._counters.add("replies")
        avatar_id, session = client.message
        values = {"answer": text, "avatar_id": avatar_id, "session": session, "isLive": is_live}
        self._say(client, {"type": "incoming", **values})

    def _say(self, client: _Client, values: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = json.dumps(values | {"timestamp": now}, ensure_ascii=False).encode()
        head = bytes([0x81, len(text)]) if len(text) < 126 else b"\x81\x7e" + len(text).to_bytes(2, "big")
        self._send(client, head + text)

    def _send(self, client: _Client, data: bytes) -> None:
        """Send at once; who does not read what little there is loses the connection."""
        try:
            sent = client.sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            sent = 0
        if sent < len(data):
            self._counters.add("torn")
            raise ConnectionError
