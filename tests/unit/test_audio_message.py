"""The audio message's cheap path sends what the plain one would, byte for byte after unmasking."""

import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from ravatar_audio._core import ffi, lib
from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.api.messages import Envelope
from ravatar_audio.frames import FRAME_BYTES

ENVELOPE = Envelope(
    avatar_id="ava", user_id="u-1", language="de-DE", source='kiosk "Süd"', session="s", license_id="license-0123456789"
)


def received(frame: bytes) -> str:
    """What a server's WebSocket implementation makes of it."""
    server = Connection(ConnectionType.SERVER)
    server.receive_data(frame)
    events = [event for event in server.events() if isinstance(event, TextMessage)]
    assert events[-1].message_finished
    return "".join(event.data for event in events)


def encoded(prefix: bytes, pcm: bytes, suffix: bytes, mask: bytes) -> bytes:
    size = lib.rva_message_bytes(len(prefix), len(pcm), len(suffix))
    guard = 16
    buffer = ffi.new("uint8_t[]", b"\xa5" * (size + guard))
    assert lib.rva_message_encode(buffer, prefix, len(prefix), pcm, len(pcm), suffix, len(suffix), mask) == size
    content = bytes(ffi.buffer(buffer))
    assert content[size:] == b"\xa5" * guard + b"\0", "written beyond its end"
    return content[:size]


@given(
    prefix=st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=130),
    pcm=st.binary(max_size=300),
    suffix=st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=10),
    mask=st.binary(min_size=4, max_size=4),
)
def test_any_lengths_and_any_mask_arrive_as_they_were(prefix: str, pcm: bytes, suffix: str, mask: bytes) -> None:
    frame = encoded(prefix.encode(), pcm, suffix.encode(), mask)
    assert received(frame) == prefix + base64.b64encode(pcm).decode() + suffix


@pytest.mark.parametrize("payload_bytes", [125, 126, 127, 65_535, 65_536, 70_000])
def test_each_form_of_the_length_field(payload_bytes: int) -> None:
    frame = encoded(b"x" * payload_bytes, b"", b"", b"\1\2\3\4")
    assert received(frame) == "x" * payload_bytes


@pytest.mark.parametrize("lost_samples", [0, 4_096, 123_456])
def test_both_paths_say_what_json_dumps_would(lost_samples: int) -> None:
    pcm = random.Random(lost_samples).randbytes(FRAME_BYTES)
    encoder = AudioEncoder(ENVELOPE)
    whole = ENVELOPE.fields() | {
        "chat_type": "voice",
        "requestType": "audio",
        "audio_base64_pcm": base64.b64encode(pcm).decode(),
    }
    expected = json.dumps(whole | ({"lost_samples": lost_samples} if lost_samples else {}))
    assert encoder.text(pcm, lost_samples) == expected
    assert received(bytes(encoder.frame(pcm, lost_samples))) == expected


def test_each_frame_has_a_mask_of_its_own() -> None:
    encoder = AudioEncoder(ENVELOPE)
    masks = {bytes(encoder.frame(bytes(FRAME_BYTES))[4:8]) for _ in range(100)}
    assert len(masks) == 100


def test_a_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="8192"):
        AudioEncoder(ENVELOPE).frame(bytes(100))
