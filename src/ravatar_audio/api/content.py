"""The content of an HTTP answer, decoded within a limit: a few bytes may stand for gigabytes. Pure."""

import zlib

from ravatar_audio.errors import ProtocolError

_CODINGS_MAX = 2
"""Most codings of an answer: one by the server, one by a proxy on the way."""

_ANY_ZLIB = 32 + zlib.MAX_WBITS
"""zlib's window for gzip or zlib, as the data say."""


def decode_content(data: bytes, codings: str, limit_bytes: int, call: str) -> bytes:
    """Undo Content-Encoding (RFC 9110, 8.4): gzip, x-gzip, deflate, identity, the last one first.

    No step makes more than `limit_bytes`, whatever the data say. Raises ProtocolError, which names `call`.
    """
    names = [name for part in codings.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if len(names) > _CODINGS_MAX:
        raise ProtocolError(f"{call}: the answer is packed {len(names)} times ({codings[:80]})")
    for name in reversed(names):
        if name not in ("gzip", "x-gzip", "deflate"):
            raise ProtocolError(f"{call}: the answer is packed in a way that was not asked for ({name[:40]})")
        data = _unpacked(data, is_gzip=name != "deflate", limit_bytes=limit_bytes, call=call)
    return data


def _unpacked(data: bytes, *, is_gzip: bool, limit_bytes: int, call: str) -> bytes:
    unpacked = bytearray()
    while data:
        try:
            part, rest = _one_member(data, _ANY_ZLIB, limit_bytes - len(unpacked) + 1)
        except zlib.error:
            if is_gzip or unpacked:
                raise ProtocolError(f"{call}: the answer is damaged") from None
            try:
                part, rest = _one_member(data, -zlib.MAX_WBITS, limit_bytes + 1)  # "deflate" of some servers is raw
            except zlib.error:
                raise ProtocolError(f"{call}: the answer is damaged") from None
        unpacked += part
        if len(unpacked) > limit_bytes:
            raise ProtocolError(f"{call} answered more than {limit_bytes >> 20} MiB")
        data = rest if is_gzip else b""  # gzip may be several members, one behind the other (RFC 1952, 2.2)
    return bytes(unpacked)


def _one_member(data: bytes, window_bits: int, most_bytes: int) -> tuple[bytes, bytes]:
    """Unpacked, at most so many bytes, and what follows. Raises zlib.error, also for data that end too soon."""
    unpacker = zlib.decompressobj(window_bits)
    part = unpacker.decompress(data, most_bytes)
    if not unpacker.eof and len(part) < most_bytes:
        raise zlib.error("it ends too soon")
    return part, unpacker.unused_data
