"""Every parser of what others send or write: whatever comes, it is an answer or the error that it promises, and soon.

Each begins from seeds that are right, which are cut, joined, repeated and mixed. tests/fuzz/parsers/NAME/ holds
what was once found, one input a file, and is replayed first. RAVATAR_FUZZ_EXAMPLES=20000 looks for longer.
"""

import base64
import gzip
import json
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ravatar_audio.api.backoff import parse_retry_after
from ravatar_audio.api.content import decode_content
from ravatar_audio.api.link_end import redirect_target
from ravatar_audio.api.messages import parse_server_message
from ravatar_audio.api.proxy import is_exempt, parse_proxy
from ravatar_audio.api.results import ChatPage, Connection, LiveStart, parse_jwt_answer
from ravatar_audio.api.tokens import token_lifetime_s
from ravatar_audio.capture.sources.wav import parse_wav_header
from ravatar_audio.cli.keys import KeyReader
from ravatar_audio.emulator.faults import Fault, read_faults
from ravatar_audio.errors import ProtocolError, SettingsError
from ravatar_audio.settings import Settings
from tests.conftest import IS_EMULATED, ROOT

EXAMPLES = int(os.environ.get("RAVATAR_FUZZ_EXAMPLES", "10" if IS_EMULATED else "100"))
SLOW_S = 20.0
"""For one input of a few kB: far beyond any machine's pauses, and far below what an endless loop takes."""

CORPUS = ROOT / "tests" / "fuzz" / "parsers"


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def json_object(data: bytes) -> dict[str, Any]:
    """A JSON object, as HTTP answers are before they are looked into; others' shapes are made into one."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = text(data)
    return value if isinstance(value, dict) else {"session": value, "jwt": value, "data": value}


def from_file(suffix: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def parse(data: bytes) -> object:
        path = Path(os.environ["PYTEST_FUZZ_FOLDER"], f"input{suffix}")
        path.write_bytes(data)
        return read(path)

    return parse


def in_pieces(data: bytes) -> None:
    reader = KeyReader()
    whole = KeyReader().feed(data)
    parts = [key for at in range(len(data)) for key in reader.feed(data[at : at + 1])]
    assert len(parts) <= len(data) + 1
    assert len(whole) <= len(data) + 1


class Parser(NamedTuple):
    parse: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: list[bytes]


def jwt(**claims: object) -> bytes:
    return b"e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=") + b".sig"


def as_json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


WAV = b"RIFF" + struct.pack("<I", 36 + 64) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
WAV += b"data" + struct.pack("<I", 64) + bytes(64)
AVATAR = {"_id": "a", "name": "Ava", "languages": [{"name": "English", "language_code": "en-US"}]}

PARSERS: dict[str, Parser] = {
    "server_message": Parser(
        parse_server_message,
        (ValueError,),
        [
            as_json(type="reply", answer="hello", audio_base64="UklGRg==", chat_type="text", time=1.5),
            as_json(direction="incoming", content="x", fileUrl="https://h/f", timestamp="2026-01-01T00:00:00Z"),
            as_json(type="system", message="Session expired", requestType="audio"),
            b"[1, 2.5e308, NaN, null, true]",
        ],
    ),
    "connection": Parser(
        lambda data: Connection.parse(json_object(data)),
        (ProtocolError,),
        [as_json(session="s", avatars_info=[AVATAR], languages=[], chat_types=["text"], vadEnabled=True)],
    ),
    "live_start": Parser(
        lambda data: LiveStart.parse(json_object(data)),
        (ProtocolError,),
        [as_json(LicenseId="l", streamingUrl="https://h/?a=b")],
    ),
    "chat_page": Parser(
        lambda data: ChatPage.parse(json_object(data)),
        (ProtocolError,),
        [as_json(data=[{"id": 1, "direction": "incoming", "content": "x", "createdAt": "2026"}], total=1, page=1)],
    ),
    "jwt_answer": Parser(
        lambda data: parse_jwt_answer(json_object(data)), (ProtocolError,), [as_json(jwt="e30.e30.x", result="ok")]
    ),
    "token": Parser(
        lambda data: token_lifetime_s(text(data)), (), [jwt(exp=2_000_000_000, iat=1), jwt(exp="x"), b"..."]
    ),
    "retry_after": Parser(
        lambda data: parse_retry_after(*text(data).partition("|")[::2]),
        (),
        [b"120", b"1e400", b"Fri, 31 Dec 1999 23:59:59 GMT|Fri, 31 Dec 1999 23:59:50 GMT"],
    ),
    "redirect": Parser(
        lambda data: redirect_target(text(data)), (), [b"https://user:pw@host:8443/path?token=secret#x", b"//[::1]:80/"]
    ),
    "content": Parser(
        lambda data: decode_content(
            data[1:], ("gzip", "deflate", "gzip, deflate", "br")[data[0] % 4] if data else "", 65_536, "GET /"
        ),
        (ProtocolError,),
        [
            b"\0" + gzip.compress(b"hello" * 99, mtime=0),
            b"\1" + zlib.compress(bytes(9_999)),
            b"\2" + zlib.compress(gzip.compress(b"x", mtime=0)),
        ],
    ),
    "proxy": Parser(
        lambda data: parse_proxy(text(data)),
        (SettingsError,),
        [b"http://user:p%40ss@proxy:3128", b"[2001:db8::1]:80", b"proxy"],
    ),
    "no_proxy": Parser(
        lambda data: is_exempt(text(data), "host.example.com", 443),
        (),
        [b".example.com,10.0.0.0/8,[::1]:443,*", b"host:443", b"host:" + b"9" * 5_000],
    ),
    "settings_file": Parser(
        from_file(".toml", lambda path: Settings.load(path)),
        (SettingsError,),
        [
            b'project_id = "p"\nuser_id = "u"\nlatency_ms = 10\noutbox_ms = 2000\n',
            b'api_url = "https://[::1]:8/x y"\nproxy = "none"\n',
        ],
    ),
    "fault_file": Parser(
        from_file(".toml", read_faults),
        (SettingsError,),
        [b'[[fault]]\nat = "message"\ndo = "reset"\nafter = 3\nduration_s = 0.5\n'],
    ),
    "fault_json": Parser(
        from_file(".json", read_faults),
        (SettingsError,),
        [b'{"fault": [{"at": "http", "do": "status", "status": 503, "times": 0}]}'],
    ),
    "fault": Parser(
        lambda data: Fault.parse(text(data)),
        (SettingsError,),
        [b"message black_hole=0.3 after=3", b"http status=503 times=0"],
    ),
    "keys": Parser(in_pieces, (), [b" \x1b[32;1:3u\x1b[A", b"\x1b[?1u\x1b[>1u", "mµ".encode(), b"\x1b[27;5;32~\x03"]),
    "wav": Parser(
        lambda data: parse_wav_header(data, len(data), is_all=True),
        (SettingsError,),
        [WAV, WAV[:40], WAV.replace(b"data", b"LIST")],
    ),
}

Edit = tuple[int, int, bytes]


def mixed(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """A seed with some places replaced by little, by much, or by parts of another; or just anything."""
    others = st.sampled_from(seeds).flatmap(
        lambda other: st.tuples(st.integers(0, len(other)), st.integers(0, len(other))).map(
            lambda ends: other[min(ends) : max(ends)]
        )
    )
    odd = st.sampled_from(
        [
            b"\0",
            b"\xff" * 4,
            b"\xed\xa0\x80",
            b"[" * 3_000,
            b'{"a":' * 2_000,
            b"9" * 5_000,
            b"-1",
            b"\r\n",
            b"%",
            b"\x1b[",
        ]
    )
    put = st.binary(max_size=8) | others | odd
    edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 20), put), max_size=4)

    def apply(seed: bytes, changes: list[Edit]) -> bytes:
        for at, length, new in changes:
            at %= len(seed) + 1
            seed = seed[:at] + new + seed[at + length :]
        return seed[:16_384]

    return st.builds(apply, st.sampled_from(seeds), edits) | st.binary(max_size=200)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_FUZZ_FOLDER", str(tmp_path))


def check(name: str, data: bytes) -> bool:
    """Whether the parser takes these bytes; anything but its own errors comes out."""
    parser = PARSERS[name]
    began_s = time.process_time()
    try:
        parser.parse(data)
        is_taken = True
    except parser.errors:
        is_taken = False
    assert time.process_time() - began_s < SLOW_S
    return is_taken


@pytest.mark.parametrize("name", PARSERS)
def test_a_seed_is_taken(name: str) -> None:
    """Or else the search would begin, and stay, in a parser's first line."""
    assert check(name, PARSERS[name].seeds[0])


@pytest.mark.parametrize("name", PARSERS)
def test_whatever_comes_is_an_answer_or_the_error_that_is_promised(name: str) -> None:
    for found in sorted((CORPUS / name).glob("*")):
        check(name, found.read_bytes())

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(mixed(PARSERS[name].seeds))
    def search(data: bytes) -> None:
        check(name, data)

    search()


def test_the_corpus_belongs_to_parsers() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} <= set(PARSERS) if CORPUS.exists() else True
