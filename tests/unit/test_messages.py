"""Rows of the protocol's message tables: what the client says, what it understands, and what it survives."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.api.messages import (
    Audio,
    ConnectionMessage,
    Envelope,
    EventMessage,
    Reply,
    ServerMessage,
    StreamFault,
    SystemMessage,
    UnknownMessage,
    parse_server_message,
)
from ravatar_audio.api.results import ChatItem
from ravatar_audio.errors import BusyError, SessionExpiredError, StreamError

CHAT = Envelope(avatar_id="ava", user_id="u", language="en-US", source="test", session="s")
LIVE = Envelope(avatar_id="ava", user_id="u", language="en-US", source="test", session="s", license_id="secret-id")
COMMON = {"avatar_id": "ava", "user_id": "u", "language": "en-US", "source": "test", "session": "s"}


@pytest.mark.row("say text")
def test_row_text() -> None:
    assert json.loads(CHAT.text_message("Grüße")) == COMMON | {
        "isLive": False,
        "chat_type": "text",
        "requestType": "text",
        "request": "Grüße",
    }


@pytest.mark.row("say recorded voice", "voice field")
def test_row_recorded_voice() -> None:
    message = json.loads(CHAT.voice_message(b"RIFF", push_to_talk=True))
    assert message == COMMON | {
        "isLive": False,
        "chat_type": "voice",
        "requestType": "audio",
        "file_base64_data": base64.b64encode(b"RIFF").decode(),
        "isPushToTalk": True,
    }
    assert "isPushToTalk" not in json.loads(CHAT.voice_message(b"RIFF"))


@pytest.mark.row("say live PCM voice", "voice field")
def test_row_live_pcm_voice() -> None:
    prefix, suffix = LIVE.audio_affixes()
    assert json.loads(prefix + "AAAA" + suffix) == COMMON | {
        "isLive": True,
        "LicenseId": "secret-id",
        "chat_type": "voice",
        "requestType": "audio",
        "audio_base64_pcm": "AAAA",
    }


@pytest.mark.row("say LicenseId in Live Mode")
def test_in_live_mode_every_message_carries_the_license_id() -> None:
    for text in (LIVE.text_message("x"), LIVE.voice_message(b"x")):
        message = json.loads(text)
        assert message["isLive"] is True
        assert message["LicenseId"] == "secret-id"


def test_the_license_id_is_not_shown() -> None:
    assert "secret-id" not in repr(LIVE)


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        pytest.param("connection", ConnectionMessage, marks=pytest.mark.row("hear connection")),
        pytest.param("system", SystemMessage, marks=pytest.mark.row("hear system")),
        pytest.param("incoming", Reply, marks=pytest.mark.row("hear incoming")),
        pytest.param("event", EventMessage, marks=pytest.mark.row("hear event")),
        pytest.param("telemetry", UnknownMessage, marks=pytest.mark.row("hear unknown kinds")),
    ],
)
@pytest.mark.parametrize("name", ["type", "direction"])
def test_the_kind_is_said_by_type_or_direction(name: str, field: str, kind: type[ServerMessage]) -> None:
    message = parse_server_message(json.dumps({name: field, "answer": "x", "novel": 1}))
    assert type(message) is kind
    assert message.fields["novel"] == 1


@pytest.mark.parametrize("name", ["answer", "content", "message"])
@pytest.mark.row("hear the text by each name")
def test_the_text_has_three_names(name: str) -> None:
    assert parse_server_message(json.dumps({"type": "incoming", name: "hello"})).text == "hello"


@pytest.mark.parametrize("name", ["file_base64_data", "audio_base64"])
@pytest.mark.parametrize(
    ("prefix", "media_type"), [("", "audio/webm"), ("data:audio/wav;base64,", "audio/wav"), ("data:,", "audio/webm")]
)
@pytest.mark.row("hear inline audio")
def test_inline_audio_with_and_without_a_prefix(name: str, prefix: str, media_type: str) -> None:
    text = prefix + base64.b64encode(b"sound").decode()
    assert parse_server_message(json.dumps({"type": "incoming", name: text})).audio == Audio(b"sound", media_type)


def test_inline_audio_that_is_damaged_stays_in_the_fields() -> None:
    message = parse_server_message('{"type": "incoming", "audio_base64": "not base64!"}')
    assert message.audio is None
    assert message.fields["audio_base64"] == "not base64!"


@pytest.mark.row("hear the time")
def test_the_time_as_iso_text_or_unix_seconds() -> None:
    assert parse_server_message('{"timestamp": "2026-01-02T03:04:05Z"}').time_s == 1767323045.0
    assert parse_server_message('{"timestamp": "2026-01-02T04:04:05+01:00"}').time_s == 1767323045.0
    assert parse_server_message('{"date": 1767323045.5}').time_s == 1767323045.5
    assert parse_server_message('{"timestamp": "yesterday"}').time_s is None


@pytest.mark.parametrize(
    ("error", "text", "kind", "raised"),
    [
        ("Stream Error", "Something went wrong", "stream", StreamError),
        ("Timeout", "Connection timeout", "timeout", None),
        ("Busy", "All AI assistants are busy at the moment", "busy", BusyError),
        ("Expired", "Session expired", "expired", SessionExpiredError),
    ],
)
def test_rows_of_the_stream_errors(error: str, text: str, kind: str, raised: type[Exception] | None) -> None:
    for fields in ({"error": error, "message": text}, {"type": "event", "message": text}, {"error": error}):
        message = parse_server_message(json.dumps(fields))
        assert isinstance(message, StreamFault)
        assert message.kind == kind
        failure = message.error()
        assert type(failure) is (raised or type(None))
        assert failure is None or failure.advice


def test_an_avatar_may_speak_of_expired_sessions() -> None:
    assert isinstance(parse_server_message('{"type": "incoming", "answer": "Session expired"}'), Reply)


@pytest.mark.parametrize("data", ["", "{", "[1]", "null", "3", '"text"', "[" * 100_000, b"\xff\xfe{}"])
@pytest.mark.row("hear what is not JSON")
def test_what_is_no_json_object_is_refused_as_such(data: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what is caught and skipped by the session
        parse_server_message(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = ["type", "direction", "answer", "message", "error", "date", "timestamp", "audio_base64", "fileUrl"]


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), JSON))
def test_no_json_object_is_fatal(fields: dict[str, object]) -> None:
    assert isinstance(parse_server_message(json.dumps(fields)), ServerMessage)


@pytest.mark.parametrize("date", ["1" + "0" * 400, "1e999", "NaN", "true", '"soon"'])
@pytest.mark.row("hear the time")
def test_a_time_that_no_float_holds_is_no_time(date: str) -> None:
    assert parse_server_message(f'{{"type": "incoming", "date": {date}}}').time_s is None
    assert ChatItem.parse(json.loads(f'{{"_id": "1", "date": {date}}}')).date_s == 0.0
