"""The WebSocket protocol (RFC 6455) as a client must keep it: cases of the kinds that Autobahn's suite has.

A server sends what a case says, raw, whole and in pieces as small as one octet. What is right arrives as it was meant,
and the connection goes on; what is wrong ends it, and nothing wrong is ever handed on.
"""

import struct
from typing import NamedTuple

import pytest
import trio

from ravatar_audio.api.link import open_link
from ravatar_audio.api.link_end import Cause, LinkDown

from .linked import QUICK, Tls
from .scripted import Peer, scripted

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
LAST = "the last"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = False) -> bytes:
    """One frame as RFC 6455, 5.2, has it; a server's is not masked."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    mask = 0x80 if masked else 0
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, mask | length)
    elif length < 65_536:
        head = struct.pack("!BBH", first, mask | 126, length)
    else:
        head = struct.pack("!BBQ", first, mask | 127, length)
    return head + (bytes(4) if masked else b"") + payload


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


class Case(NamedTuple):
    sent: bytes
    arrives: list[str | bytes]


LENGTHS = [0, 1, 125, 126, 127, 128, 65_535, 65_536]
GREEK = "κόσμε"
GOOD: dict[str, Case] = {
    **{f"1.1 a text of {n}": Case(frame(TEXT, b"*" * n), ["*" * n]) for n in LENGTHS},
    **{f"1.2 {n} octets": Case(frame(BINARY, b"\xfe" * n), [b"\xfe" * n]) for n in LENGTHS},
    "2.1 an empty ping": Case(frame(PING), []),
    "2.3 a ping with binary content": Case(frame(PING, b"\x00\xff\xfe\xfd"), []),
    "2.4 a ping of 125": Case(frame(PING, b"\xfe" * 125), []),
    "2.7 a pong that was not asked for": Case(frame(PONG) + frame(PONG, b"unasked"), []),
    "2.10 ten pings": Case(b"".join(frame(PING, b"payload %d" % n) for n in range(10)), []),
    "5.3 a text in two": Case(frame(TEXT, b"frag", fin=False) + frame(CONTINUATION, b"ment"), ["fragment"]),
    "5.6 a ping within a message": Case(
        frame(TEXT, b"frag", fin=False) + frame(PING, b"now") + frame(CONTINUATION, b"ment"), ["fragment"]
    ),
    "5.19 a ping and a pong between five parts": Case(
        frame(TEXT, b"a", fin=False)
        + frame(CONTINUATION, b"b", fin=False)
        + frame(PING, b"one")
        + frame(CONTINUATION, b"c", fin=False)
        + frame(PONG, b"two")
        + frame(CONTINUATION, b"d", fin=False)
        + frame(CONTINUATION, b"e"),
        ["abcde"],
    ),
    "6.1 parts without content": Case(
        frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION), [""]
    ),
    "6.1 content in the middle part": Case(
        frame(TEXT, fin=False) + frame(CONTINUATION, b"middle", fin=False) + frame(CONTINUATION), ["middle"]
    ),
    "6.2 a character across parts": Case(
        b"".join(
            frame(CONTINUATION if n else TEXT, GREEK.encode()[n : n + 1], fin=False) for n in range(len(GREEK.encode()))
        )
        + frame(CONTINUATION),
        [GREEK],
    ),
    **{
        f"6.5 U+{point:04X}": Case(frame(TEXT, chr(point).encode()), [chr(point)])
        for point in (0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD, 0xFFFF, 0x10000, 0x10FFFF)
    },
    "9.1 a text of a million": Case(frame(TEXT, b"BAsd7&jh" * 131_072), ["BAsd7&jh" * 131_072]),
    "9.3 that in 256 parts": Case(
        frame(TEXT, b"*" * 4_096, fin=False)
        + frame(CONTINUATION, b"*" * 4_096, fin=False) * 254
        + frame(CONTINUATION, b"*" * 4_096),
        ["*" * 4_096 * 256],
    ),
}

NOT_UTF8 = {
    "a lone continuation": b"\x80",
    "an overlong slash": b"\xc0\xaf",
    "an overlong NUL": b"\xe0\x80\x80",
    "a surrogate": b"\xed\xa0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "five octets": b"\xf8\x88\x80\x80\x80",
    "cut off": "κ".encode()[:1],
    "FE and FF": b"\xfe\xff",
    "between good ones": "κόσ".encode() + b"\xed\xa0\x80" + b"edited",
}
WRONG: dict[str, bytes] = {
    "2.5 a ping of 126": frame(PING, b"\xfe" * 126),
    **{f"3.1 reserved bits {bits:03b}": frame(TEXT, b"*", reserved=bits) for bits in range(1, 8)},
    "3.6 reserved bits of a ping": frame(PING, b"*", reserved=5),
    **{f"4 the opcode {code}": frame(code, b"*") for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "5.1 a ping in two": frame(PING, b"frag", fin=False) + frame(CONTINUATION, b"ment"),
    "5.2 a pong in two": frame(PONG, b"frag", fin=False) + frame(CONTINUATION, b"ment"),
    "5.9 a continuation of nothing": frame(CONTINUATION, b"nothing"),
    "5.12 a continuation of nothing, not the last": frame(CONTINUATION, b"nothing", fin=False) + frame(TEXT, b"then"),
    "5.15 a text where a continuation is due": frame(TEXT, b"frag", fin=False) + frame(TEXT, b"ment"),
    **{f"6.3 {name}": frame(TEXT, octets) for name, octets in NOT_UTF8.items()},
    "6.4 no UTF-8 in a later part": frame(TEXT, GREEK.encode(), fin=False) + frame(CONTINUATION, b"\xf4\x90\x80\x80"),
    "7.3 a Close of one octet": frame(CLOSE, b"\x03"),
    "7.3 a Close of 126": close(1000, b"*" * 124),
    "7.5 a reason that is no UTF-8": close(1000, b"\xed\xa0\x80"),
    **{
        f"7.9 the code {code}": close(code) for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
    "a masked frame from a server": frame(TEXT, b"*" * 8, masked=True),
    "a length of 2**63": struct.pack("!BBQ", 0x81, 127, 1 << 63),
}
CLOSES = {
    "7.3 without a code": (frame(CLOSE), 1005, ""),
    "7.3 with a code": (close(1000), 1000, ""),
    "7.3 with a reason": (close(1000, b"Hello World!"), 1000, "Hello World!"),
    "7.3 with a reason of 123": (close(1000, b"*" * 123), 1000, "*" * 123),
    **{
        f"7.7 the code {code}": (close(code), code, "")
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    },
}


async def take(sent: bytes, piece: int, tls: Tls) -> tuple[list[str | bytes], LinkDown | None, bytes]:
    """What arrives of it, how the connection ended (None: it went on until the last), and what the client wrote."""
    wrote = bytearray()

    async def script(peer: Peer) -> None:
        await peer.accept()

        async def read() -> None:
            while data := await peer.stream.receive_some():
                wrote.extend(data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            octets = sent + frame(TEXT, LAST.encode())
            for begin in range(0, len(octets), piece):
                await peer.stream.send_all(octets[begin : begin + piece])

    arrived: list[str | bytes] = []
    down = None
    async with scripted(script, tls=tls.server) as url:
        with trio.fail_after(20):
            async with open_link(url, "token", tls.client, QUICK) as link:
                try:
                    while (message := await link.receive()) != LAST:
                        arrived.append(message)
                except LinkDown as error:
                    down = error
    return arrived, down, bytes(wrote)


def pieces_of(sent: bytes) -> list[int]:
    """Whole, an octet at a time where that is quick enough, and sizes that fit nothing."""
    return [len(sent) + 99, 1, 3] if len(sent) < 300 else [len(sent) + 99, 1_021]


@pytest.mark.parametrize("name", GOOD)
async def test_what_keeps_the_protocol_arrives_and_the_connection_goes_on(name: str, tls: Tls) -> None:
    case = GOOD[name]
    for piece in pieces_of(case.sent):
        arrived, down, _ = await take(case.sent, piece, tls)
        assert (arrived, down) == (case.arrives, None), piece


@pytest.mark.parametrize("name", WRONG)
async def test_what_breaks_the_protocol_ends_the_connection_and_is_not_handed_on(name: str, tls: Tls) -> None:
    for piece in pieces_of(WRONG[name]):
        arrived, down, _ = await take(WRONG[name], piece, tls)
        assert arrived == [], piece
        assert down is not None, piece
        assert (down.cause, down.close_code) == (Cause.VIOLATION, None), (piece, down.why)


@pytest.mark.parametrize("name", CLOSES)
async def test_a_close_is_told_with_its_code_and_answered_with_it(name: str, tls: Tls) -> None:
    sent, code, reason = CLOSES[name]
    for piece in pieces_of(sent):
        arrived, down, wrote = await take(sent, piece, tls)
        assert arrived == []
        assert down is not None
        assert (down.cause, down.close_code, down.why) == (Cause.CLOSED, code, reason), piece
        assert wrote[:1] == bytes([0x80 | CLOSE]), piece


async def test_each_ping_is_answered_with_its_content_in_order(tls: Tls) -> None:
    contents = [b"", b"payload", b"\x00\xff\xfe\xfd", b"\xfe" * 125, *(b"%d" % n for n in range(20))]
    arrived, down, wrote = await take(b"".join(frame(PING, content) for content in contents), 7, tls)
    assert (arrived, down) == ([], None)
    pongs = []
    while wrote and wrote[0] == 0x80 | PONG:
        length, mask, wrote = wrote[1] & 0x7F, wrote[2:6], wrote[6:]
        pongs.append(bytes(octet ^ mask[index % 4] for index, octet in enumerate(wrote[:length])))
        wrote = wrote[length:]
    assert pongs == contents
