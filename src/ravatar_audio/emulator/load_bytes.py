"""Bytes as the emulator for load reads and writes them: masked payloads, a frame's level, HTTP responses. Pure."""

import base64
import json
import sys
from array import array
from typing import Any, Final

LISTENED_BYTES: Final = 128
"""Bytes of a frame's base64 that its level in one place is taken from: 48 samples."""


def unmask(data: memoryview, mask: bytes) -> bytes:
    """Unmask a payload (RFC 6455, 5.3); as one large number, which is quicker than byte by byte."""
    key = int.from_bytes((mask * (len(data) // 4 + 1))[: len(data)], "little")
    return (int.from_bytes(data, "little") ^ key).to_bytes(len(data), "little")


def level_at(data: memoryview, payload_at: int, at: int, mask: bytes) -> int:
    """Return how loud a frame is in one place of its base64, which is a multiple of 8 letters from its beginning."""
    turn = (at - payload_at) & 3
    try:
        return loudness(base64.b64decode(unmask(data[at : at + LISTENED_BYTES], mask[turn:] + mask[:turn])))
    except ValueError:
        return 0  # it is no base64: a message that is checked as a whole will show that


def loudness(pcm: bytes) -> int:
    """Return the mean magnitude of int16 little-endian samples."""
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return sum(map(abs, samples)) // len(samples)


def response(status: int, values: dict[str, Any]) -> bytes:
    """Make an HTTP response of a JSON object."""
    body = json.dumps(values).encode()
    reason = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}.get(
        status, "Error"
    )
    return (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
