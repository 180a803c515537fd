"""What the emulator accepts of a client, field by field: the guide's tables of messages to the server."""

import base64
import contextlib
import io
import json
import wave
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.emulator.contract import (
    FRAME_CHARACTERS,
    Speaker,
    Violation,
    as_object,
    check_end_request,
    check_history_request,
    check_jwt_request,
    check_message,
    check_recording,
    check_start_request,
)

SPEAKER = Speaker("user-1", frozenset({"ava"}), frozenset({"en-US"}), {"s1"}.__contains__, {"l1"}.__contains__)
COMMON = {"avatar_id": "ava", "user_id": "user-1", "language": "en-US", "source": "app", "session": "s1"}
LIVE = COMMON | {"isLive": True, "LicenseId": "l1"}
CHAT = COMMON | {"isLive": False}
PCM = base64.b64encode(bytes(range(256)) * 32).decode()


def wav(rate_hz: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setframerate(rate_hz)
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.writeframes(bytes(width * channels * 8_000))
    return buffer.getvalue()


TEXT = {"chat_type": "text", "requestType": "text", "request": "hello"}
BLOB = {"chat_type": "voice", "requestType": "audio", "file_base64_data": base64.b64encode(wav()).decode()}
VOICE = {"chat_type": "voice", "requestType": "audio", "audio_base64_pcm": PCM}
ROWS: dict[str, dict[str, Any]] = {
    "text, Chat Mode": CHAT | TEXT,
    "text, Live Mode": LIVE | TEXT,
    "recorded voice, Chat Mode": CHAT | BLOB,
    "recorded voice, Live Mode": LIVE | BLOB,
    "recorded voice, push-to-talk": CHAT | BLOB | {"isPushToTalk": True},
    "live PCM voice": LIVE | VOICE,
    "live PCM voice behind a declared gap": LIVE | VOICE | {"lost_samples": 4_096},
}


@pytest.mark.parametrize("row", ROWS)
def test_each_row_of_the_messages_table_is_accepted(row: str) -> None:
    message = check_message(json.dumps(ROWS[row]), SPEAKER)
    assert message.license_id == ("l1" if ROWS[row]["isLive"] else None)
    assert message.is_push_to_talk == ("push" in row)
    assert message.lost_samples == (4_096 if "gap" in row else 0)
    assert len(message.data) == {"text": 0, "voice": len(wav()), "pcm": 8_192}[message.kind]


@pytest.mark.row("voice size", "voice encoding")
def test_a_browsers_data_url_is_named_as_what_it_is() -> None:
    with pytest.raises(Violation, match="comes after its comma"):
        check_message(json.dumps(CHAT | BLOB | {"file_base64_data": f"data:audio/wav;base64,{PCM}"}), SPEAKER)


def test_a_live_frame_is_10924_characters_of_base64() -> None:
    assert FRAME_CHARACTERS == len(PCM) == 10_924


@pytest.mark.parametrize("row", ROWS)
def test_each_required_field_is_missed_by_its_name(row: str) -> None:
    for field in ROWS[row]:
        if field in ("isPushToTalk", "lost_samples"):
            continue
        rest = {name: value for name, value in ROWS[row].items() if name != field}
        with pytest.raises(Violation, match="it is missing") as violation:
            check_message(json.dumps(rest), SPEAKER)
        sound = "audio_base64_pcm" if ROWS[row]["isLive"] else "file_base64_data"  # either is missed as what is usual
        assert violation.value.field == (sound if "base64" in field else field)


@pytest.mark.parametrize("row", ROWS)
def test_each_field_of_a_wrong_type_is_named(row: str) -> None:
    for field in ROWS[row]:
        wrong_values: list[Any] = [None, 1.5, [], {}, "yes" if isinstance(ROWS[row][field], bool) else True]
        for wrong in wrong_values:
            with pytest.raises(Violation) as violation:
                check_message(json.dumps(ROWS[row] | {field: wrong}), SPEAKER)
            assert violation.value.field == field


WRONG_VALUES: list[tuple[dict[str, Any], str]] = [
    (LIVE | TEXT | {"avatar_id": "nobody"}, "avatar_id"),
    (LIVE | TEXT | {"user_id": "another"}, "user_id"),
    (LIVE | TEXT | {"language": "tlh"}, "language"),
    (LIVE | TEXT | {"source": ""}, "source"),
    (LIVE | TEXT | {"session": "unknown"}, "session"),
    (LIVE | TEXT | {"LicenseId": "unknown"}, "LicenseId"),
    (LIVE | TEXT | {"isLive": False}, "LicenseId"),
    (LIVE | TEXT | {"request": "  "}, "request"),
    (LIVE | TEXT | {"request": "\ud800"}, "request"),
    (LIVE | TEXT | {"chat_type": "video"}, "chat_type"),
    (LIVE | TEXT | {"requestType": "audio"}, "requestType"),
    (LIVE | VOICE | {"requestType": "text"}, "requestType"),
    (LIVE | TEXT | {"licenseid": "l1"}, "licenseid"),
    (LIVE | VOICE | {"isPushToTalk": True}, "isPushToTalk"),
    (LIVE | VOICE | {"lost_samples": -1}, "lost_samples"),
    (LIVE | VOICE | {"lost_samples": 10**400}, "lost_samples"),
    (CHAT | VOICE, "audio_base64_pcm"),
    (LIVE | VOICE | {"audio_base64_pcm": PCM[:-4]}, "audio_base64_pcm"),
    (LIVE | VOICE | {"audio_base64_pcm": PCM + "AAAA"}, "audio_base64_pcm"),
    (LIVE | VOICE | {"audio_base64_pcm": "-_" + PCM[2:]}, "audio_base64_pcm"),
    (LIVE | VOICE | {"audio_base64_pcm": PCM[:-1] + "A"}, "audio_base64_pcm"),
    (LIVE | VOICE | {"audio_base64_pcm": PCM[:-2] + "9="}, "audio_base64_pcm"),  # bits set that belong to no byte
    (LIVE | VOICE | {"audio_base64_pcm": "\n" + PCM[1:]}, "audio_base64_pcm"),
    (CHAT | BLOB | {"file_base64_data": ""}, "file_base64_data"),
    (CHAT | BLOB | {"file_base64_data": "AAAA"}, "file_base64_data"),
]


@pytest.mark.parametrize(("message", "field"), WRONG_VALUES)
def test_each_wrong_value_is_named(message: dict[str, Any], field: str) -> None:
    with pytest.raises(Violation) as violation:
        check_message(json.dumps(message), SPEAKER)
    assert violation.value.field == field
    assert violation.value.status == 400


@pytest.mark.parametrize(
    "raw", ["", "nope", "[]", "3", "null", '{"a": NaN}', '{"a": 1', "[" * 100_000, b"{}"], ids=lambda raw: str(raw[:8])
)
def test_what_is_no_json_object_is_a_violation_and_no_crash(raw: str | bytes) -> None:
    with pytest.raises(Violation) as violation:
        check_message(raw, SPEAKER)
    assert violation.value.field == "message"


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = SIMPLE | st.lists(SIMPLE, max_size=2) | st.dictionaries(st.text(max_size=5), SIMPLE, max_size=2)


@given(st.sampled_from(sorted(ROWS)), st.sampled_from(sorted(ROWS["live PCM voice"])), JSON)
def test_whatever_is_sent_is_a_message_or_a_violation(row: str, field: str, value: Any) -> None:
    named = "message"
    try:
        check_message(json.dumps(ROWS[row] | {field: value}), SPEAKER)
    except Violation as violation:
        named = violation.field
        str(violation).encode()
    # A field that was changed may ask for another: isLive for LicenseId, a sound for its kind.
    assert named in ("message", *ROWS[row], field, "audio_base64_pcm", "file_base64_data", "LicenseId")


@given(st.binary(max_size=200), st.booleans())
def test_whatever_recording_is_sent_is_measured_or_a_violation(data: bytes, is_riff: bool) -> None:
    with contextlib.suppress(Violation):
        check_recording(b"RIFF\0\0\0\0WAVE" + data if is_riff else data)


# -- the table of recorded voice: WAV or WebM, 16 kHz, mono, any depth --


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.row("voice samples", "voice format")
def test_a_wav_of_any_depth_is_accepted_and_measured(width: int) -> None:
    assert check_recording(wav(width=width)) == 0.5


def test_webm_is_accepted() -> None:
    assert check_recording(b"\x1a\x45\xdf\xa3rest") is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (wav(rate_hz=44_100), "44100 Hz"),
        (wav(channels=2), "2 channels"),
        (wav()[:-10], "data chunk says"),
        (wav()[:36], "no data chunk"),
        (b"RIFF\x04\0\0\0WAVE", "no data chunk"),
        (b"ID3 an mp3", "neither"),
    ],
)
@pytest.mark.row("voice rate and channels", "voice format")
def test_a_recording_that_is_not_16_khz_mono_wav_or_webm_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(Violation, match=why):
        check_recording(data)


# -- HTTP --


@pytest.mark.parametrize("user_id", ["a", "A-z_9", "x" * 128])
def test_user_ids_of_the_guide_are_accepted(user_id: str) -> None:
    assert check_jwt_request({"user_id": user_id}) == (user_id, None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"user_id": ""}, "invalid_user_id"),
        ({"user_id": "x" * 129}, "invalid_user_id"),
        ({"user_id": "a b"}, "invalid_user_id"),
        ({"user_id": "a\n"}, "invalid_user_id"),
        ({"user_id": 7}, "invalid_user_id"),
        ({}, "invalid_user_id"),
        ({"user_id": "a", "project_id": ""}, "invalid_project_id"),
        ({"user_id": "a", "project_id": "p" * 65}, "invalid_project_id"),
        ({"user_id": "a", "project_id": "p_1"}, "invalid_project_id"),
        ({"user_id": "a", "user": "b"}, "invalid_user"),
    ],
)
def test_ids_outside_of_the_guide_are_refused_with_its_code(body: dict[str, Any], code: str) -> None:
    with pytest.raises(Violation) as violation:
        check_jwt_request(body)
    assert (violation.value.code, violation.value.status) == (code, 400)


def test_width_and_height_default_and_are_bounded() -> None:
    live = frozenset({"ava"})
    assert check_start_request({"avatar_id": "ava"}, live) == ("ava", 1280, 720)
    assert check_start_request({"avatar_id": "ava", "width": "1920", "height": "1080"}, live) == ("ava", 1920, 1080)
    for field, wrong in [("width", "1921"), ("height", "1081"), ("width", "0"), ("height", "-1"), ("width", 640)]:
        with pytest.raises(Violation) as violation:
            check_start_request({"avatar_id": "ava", field: wrong}, live)
        assert violation.value.field == field
    with pytest.raises(Violation, match="hasLiveMode"):
        check_start_request({"avatar_id": "clara"}, live)


def test_end_and_history_name_what_is_wrong() -> None:
    assert check_end_request({"LicenseId": "l1"}) == "l1"
    with pytest.raises(Violation, match="LicenseId"):
        check_end_request({})
    assert check_history_request({"user_id": "u", "per_page": "20", "page": "1"}, "u") == (20, 1)
    for query in ({"user_id": "v"}, {"per_page": "0"}, {"per_page": "101"}, {"page": "0"}, {"page": "x"}):
        with pytest.raises(Violation) as violation:
            check_history_request({"user_id": "u", "per_page": "20", "page": "1"} | query, "u")
        assert violation.value.field in query


def test_an_object_is_read() -> None:
    assert as_object('{"a": 1}', "body") == {"a": 1}
