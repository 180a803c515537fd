"""Reads along with the bytes of one client: where frames begin and end, and what its Close says. Pure.

The server library does not tell the application with which code a client closed, nor that a frame was torn; both are
what tests want to know. RFC 6455, section 5.2.
"""

import re

_UPGRADE = re.compile(rb"\nupgrade:[ \t]*websocket", re.IGNORECASE)
_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA
NO_CODE = 1005


class FrameSniffer:
    """Feed it everything that the client sends, from the first byte of the connection on."""

    def __init__(self) -> None:
        self.close_code: int | None = None
        """Of the Close frame; 1005 for one without a code; None when there was none."""
        self.frames: int = 0
        self.pings: int = 0
        self.pongs: int = 0
        self._is_http = True
        self._waiting = bytearray()
        self._skip = 0

    @property
    def is_torn(self) -> bool:
        """The bytes so far end within a frame."""
        return not self._is_http and bool(self._skip or self._waiting)

    def feed(self, data: bytes | bytearray) -> int | None:
        """Look at more bytes.

        Where they end a request for the WebSocket, return how many of them belong to it; else None.
        """
        if self._is_http:
            return self._feed_http(data)
        self._feed_frames(data)
        return None

    def _feed_http(self, data: bytes | bytearray) -> int | None:
        self._waiting += data
        head, end, rest = self._waiting.partition(b"\r\n\r\n")
        if not end:
            self._waiting = self._waiting[-65_536:]
            return None
        self._waiting = bytearray()
        if not _UPGRADE.search(head):
            return None  # another request; if it has a body, that ends where the next request begins
        self._is_http = False
        self._feed_frames(rest)
        return len(data) - len(rest)

    def _feed_frames(self, data: bytes | bytearray) -> None:
        if not self._waiting and self._skip >= len(data):  # the usual case: the middle of a payload
            self._skip -= len(data)
            return
        self._waiting += data
        while self._step():
            pass

    def _step(self) -> bool:
        if self._skip:
            taken = min(self._skip, len(self._waiting))
            del self._waiting[:taken]
            self._skip -= taken
            return bool(self._waiting)
        if len(self._waiting) < 2:
            return False
        opcode, length = self._waiting[0] & 0x0F, self._waiting[1] & 0x7F
        masked = bool(self._waiting[1] & 0x80)
        extended = {126: 2, 127: 8}.get(length, 0)
        header = 2 + extended + 4 * masked
        if len(self._waiting) < header:
            return False
        if extended:
            length = int.from_bytes(self._waiting[2 : 2 + extended], "big")
        if opcode == _CLOSE:
            if len(self._waiting) < header + min(length, 2):
                return False
            key = self._waiting[header - 4 : header] if masked else bytes(4)
            body = self._waiting[header : header + 2]
            self.close_code = (body[0] ^ key[0]) << 8 | body[1] ^ key[1] if length >= 2 else NO_CODE
        self.frames += 1
        self.pings += opcode == _PING
        self.pongs += opcode == _PONG
        del self._waiting[:header]
        self._skip = length
        return bool(self._waiting)
