"""The content of an answer is unpacked within a limit, whatever a few bytes claim to be."""

import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.api.content import decode_content
from ravatar_audio.errors import ProtocolError

gzipped = partial(gzip.compress, mtime=0)
"""Without the time: it would be in the names of tests, which are not collected in one second."""

LIMIT_BYTES = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzipped,
    "x-gzip": gzipped,
    "GZIP": gzipped,
    "deflate": zlib.compress,
    "deflate ": raw_deflate,
    "gzip, gzip": lambda data: gzipped(gzipped(data)),
    "deflate, gzip": lambda data: gzipped(zlib.compress(data)),
    " gzip ,identity": gzipped,
}


@pytest.mark.parametrize("codings", PACKERS)
@given(data=st.binary(max_size=2_000))
def test_what_was_packed_comes_back(codings: str, data: bytes) -> None:
    assert decode_content(PACKERS[codings](data), codings, LIMIT_BYTES, "GET /x") == data


def test_gzip_of_several_members() -> None:
    assert decode_content(gzipped(b"one ") + gzipped(b"two"), "gzip", LIMIT_BYTES, "GET /x") == b"one two"


BOMBS = {
    "gzip": gzipped(bytes(32 << 20)),
    "deflate": zlib.compress(bytes(32 << 20)),
    "gzip, gzip": gzipped(gzipped(bytes(64 << 20))),
}


@pytest.mark.parametrize("codings", BOMBS)
def test_a_few_bytes_that_stand_for_gigabytes_take_no_more_memory_than_the_limit(codings: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="GET /x answered more than 1 MiB"):
            decode_content(BOMBS[codings], codings, LIMIT_BYTES, "GET /x")
        assert tracemalloc.get_traced_memory()[1] < 8 * LIMIT_BYTES
    finally:
        tracemalloc.stop()


def test_many_members_count_together() -> None:
    with pytest.raises(ProtocolError, match="more than 1 MiB"):
        decode_content(gzipped(bytes(LIMIT_BYTES // 4)) * 5, "gzip", LIMIT_BYTES, "GET /x")


@pytest.mark.parametrize(
    ("data", "codings", "said"),
    [
        (b"plain", "gzip", "damaged"),
        (gzipped(b"cut short" * 100)[:-20], "gzip", "damaged"),
        (gzipped(b"x") + b"trailing rubbish", "gzip", "damaged"),
        (b"x", "br", "not asked for"),
        (b"x", "gzip, gzip, gzip", "3 times"),
    ],
)
def test_what_cannot_be_unpacked_is_one_clear_error(data: bytes, codings: str, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        decode_content(data, codings, LIMIT_BYTES, "GET /x")


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "gzip, deflate"]))
def test_no_bytes_are_anything_but_an_answer_or_that_error(data: bytes, codings: str) -> None:
    with contextlib.suppress(ProtocolError):
        decode_content(data, codings, LIMIT_BYTES, "GET /x")
