"""A light platform for benches/storm.py: endpoints and WebSocket over TLS, in a process that can be told to be gone.

It reads words from standard input: `down` resets every connection and stops listening, `up` listens again on the same
port, `report` prints what it has counted as JSON. It forgets nothing: tokens and live sessions outlive an outage.
"""

import json
import selectors
import socket
import ssl
import struct
import sys
import time
from typing import Any

from .rig.sink import Sink, _Connection, server_tls

_AVATARS = [{"_id": "ava", "name": "Ava", "hasLiveMode": True}]
_LANGUAGES = [{"name": "English", "language_code": "en-US"}]
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Platform(Sink):
    """Serves until its input ends."""

    def __init__(self, folder: str) -> None:
        super().__init__(server_tls(folder))
        self._input = sys.stdin.buffer
        self._selector.register(self._input, selectors.EVENT_READ, "input")
        self.handshakes: list[tuple[float, str]] = []
        """(`time.monotonic()`, user) of each WebSocket."""
        self.starts: dict[str, int] = {}
        """Live slots that each user has been given."""

    def run(self) -> None:
        """As Sink's, and obey."""
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._accept()
                elif key.data == "input":
                    word = self._input.readline().strip()
                    if not word:
                        return
                    self.obey(word.decode())
                elif key.fd in self._selector.get_map():  # not reset by the word before
                    self._serve(key.data)

    def _serve(self, connection: _Connection) -> None:
        try:
            self._read(connection)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self._selector.unregister(connection.sock)
            connection.sock.close()

    def obey(self, word: str) -> None:
        """Do what was said; each word is answered by a line."""
        answer: dict[str, Any] = {"at_s": time.monotonic()}
        if word == "down":
            self._selector.unregister(self._listener)
            self._listener.close()
            for key in list(self._selector.get_map().values()):
                if isinstance(key.data, _Connection):
                    self._selector.unregister(key.fileobj)
                    key.data.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    key.data.sock.close()
        elif word == "up":
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=1_024)
            self._listener.setblocking(False)
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif word == "report":
            answer |= {"handshakes": self.handshakes, "starts": self.starts}
        print(json.dumps(answer), flush=True)

    def _take(self, connection: _Connection, data: memoryview) -> None:
        if connection.is_open:
            super()._take(connection, data)
            return
        connection.head += data
        head, end, rest = bytes(connection.head).partition(b"\r\n\r\n")
        if not end:
            return
        fields = {
            name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        }
        target = head.split(b" ", 2)[1].decode()
        if b"sec-websocket-key" in fields:
            self.handshakes.append((time.monotonic(), target.partition("token=")[2]))
            super()._take(connection, memoryview(b""))
            return
        length = int(fields.get(b"content-length", b"0"))
        if len(rest) < length:
            return
        connection.head.clear()
        user = fields.get(b"authorization", b"").decode().removeprefix("Bearer ")
        body = json.dumps(self._answer(target.partition("?")[0], user, rest[:length])).encode()
        connection.sock.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def _answer(self, path: str, user: str, body: bytes) -> dict[str, Any]:
        match path:
            case "/jwt":
                return {"result": "success", "jwt": json.loads(body)["user_id"]}
            case "/connection":
                return {"status": 200, "session": user, "avatars_info": _AVATARS, "languages": _LANGUAGES}
            case "/startLiveSession":
                self.starts[user] = self.starts.get(user, 0) + 1
                return {"status": 200, "LicenseId": f"license-{user}", "streamingUrl": "http://127.0.0.1/stream"}
        return {"status": 200}


def main() -> None:
    platform = Platform(sys.argv[1])
    print(platform.port, flush=True)
    platform.run()


if __name__ == "__main__":
    main()
