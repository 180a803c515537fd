"""What the platform accepts, message by message. Pure: no I/O, no state beyond what it is asked to look things up in.

A `Violation` names the field and says what is wrong with it; the emulator answers with it and counts it.
"""

import binascii
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar

from ravatar_audio.frames import FRAME_BYTES, FRAME_SAMPLES, RATE_HZ
from ravatar_audio.settings import PROJECT_ID, USER_ID

FRAME_CHARACTERS: Final = 4 * ((FRAME_BYTES + 2) // 3)
"""Base64 characters of one live PCM message: 10,924."""

GAP_FIELD: Final = "lost_samples"
REPEATED_FIELD: Final = "repeated_samples"
"""The one field beyond the platform's guide: a client may say how many samples it dropped before this message."""

LOST_SAMPLES_MAX: Final = 2**53 - 1
"""The largest integer that JSON carries everywhere (RFC 8259, section 6)."""

_T = TypeVar("_T")

LIMITS: Final = {"width": 1920, "height": 1080}
PAGE_LIMIT: Final = 100

_COMMON = frozenset({"avatar_id", "user_id", "language", "source", "isLive", "session", "chat_type", "requestType"})
_FURTHER = {
    "text": frozenset({"request"}),
    "voice": frozenset({"file_base64_data", "isPushToTalk"}),
    "pcm": frozenset({"audio_base64_pcm", GAP_FIELD, REPEATED_FIELD}),
}


class Violation(Exception):  # noqa: N818 - the contract's word; it is an answer, not a failure of this program
    """One field that is not what the protocol says. `code` is the platform's error word."""

    def __init__(self, field: str, why: str, *, code: str | None = None, status: int = 400) -> None:
        super().__init__(f"{field}: {why}")
        self.field: str = field
        self.why: str = why
        self.status: int = status
        self.code: str = code or f"invalid_{field}"


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who holds the token, and what the platform knows about it: lookups that the message is checked against."""

    user_id: str
    avatars: frozenset[str]
    languages: frozenset[str]
    is_session: Callable[[str], bool]
    is_license: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """A message that keeps the contract. `data` is decoded sound: PCM, or the bytes of a WAV or WebM file."""

    kind: Literal["text", "voice", "pcm"]
    avatar_id: str
    language: str
    session: str
    license_id: str | None = field(repr=False)
    text: str = ""
    data: bytes = field(default=b"", repr=False)
    is_push_to_talk: bool = False
    lost_samples: int = 0
    repeated_samples: int = 0


def check_message(raw: str | bytes, speaker: Speaker) -> ClientMessage:
    """Check one WebSocket message from a client; raises Violation for the first field that is wrong."""
    if isinstance(raw, bytes):
        raise Violation("message", "it is a binary frame; messages are text frames of JSON")
    message = as_object(raw, "message")
    is_live = _take(message, "isLive", bool)
    kind = _kind(message, is_live)
    allowed = _COMMON | _FURTHER[kind] | ({"LicenseId"} if is_live else set())
    if unknown := sorted(set(message) - allowed):
        raise Violation(unknown[0], f"a {kind} message with isLive {str(is_live).lower()} has no such field")
    avatar_id = _one_of(message, "avatar_id", speaker.avatars, "an avatar of /connection")
    language = _one_of(message, "language", speaker.languages, "a language_code of /connection")
    if _take(message, "user_id", str) != speaker.user_id:
        raise Violation("user_id", "it is not the user of the token")
    if not _take(message, "source", str):
        raise Violation("source", "it is empty; it names the client application")
    session = _take(message, "session", str)
    if not speaker.is_session(session):
        raise Violation("session", "it is no session that /connection gave to this user")
    license_id = _take(message, "LicenseId", str) if is_live else None
    if license_id is not None and not speaker.is_license(license_id):
        raise Violation("LicenseId", "it is no LicenseId that /startLiveSession gave to this user")
    checked = ClientMessage(kind, avatar_id, language, session, license_id)
    if kind == "text":
        text = _take(message, "request", str)
        if not text.strip():
            raise Violation("request", "it is empty")
        return replace(checked, text=text)
    if kind == "voice":
        held = _take(message, "isPushToTalk", bool) if "isPushToTalk" in message else False
        sound = _decode(message, "file_base64_data")
        check_recording(sound)
        return replace(checked, data=sound, is_push_to_talk=held)
    lost = _take(message, GAP_FIELD, int) if GAP_FIELD in message else 0
    if not 0 <= lost <= LOST_SAMPLES_MAX:
        raise Violation(GAP_FIELD, f"it must be 0 to {LOST_SAMPLES_MAX}")
    repeated = _take(message, REPEATED_FIELD, int) if REPEATED_FIELD in message else 0
    if not 0 <= repeated <= FRAME_SAMPLES:
        raise Violation(REPEATED_FIELD, f"it must be 0 to {FRAME_SAMPLES}")
    return replace(checked, data=_decode_frame(message), lost_samples=lost, repeated_samples=repeated)


def _kind(message: Mapping[str, Any], is_live: bool) -> Literal["text", "voice", "pcm"]:
    chat_type, request_type = _take(message, "chat_type", str), _take(message, "requestType", str)
    if chat_type not in ("text", "voice"):
        raise Violation("chat_type", f"it is {chat_type!r}; it is 'text' or 'voice'")
    wanted = "text" if chat_type == "text" else "audio"
    if request_type != wanted:
        raise Violation("requestType", f"it is {request_type!r}; with chat_type {chat_type!r} it is {wanted!r}")
    if chat_type == "text":
        return "text"
    if "audio_base64_pcm" not in message:
        if "file_base64_data" not in message:
            raise Violation("audio_base64_pcm" if is_live else "file_base64_data", "it is missing")
        return "voice"
    if not is_live:
        raise Violation("audio_base64_pcm", "live PCM needs isLive true; Chat Mode takes file_base64_data")
    return "pcm"


def _decode(message: Mapping[str, Any], field: str) -> bytes:
    text = _take(message, field, str)
    if text.startswith("data:"):  # as a browser's FileReader.readAsDataURL gives it
        raise Violation(field, "it is a data: URL; send what comes after its comma")
    try:
        data = binascii.a2b_base64(text)
    except (binascii.Error, ValueError) as error:
        raise Violation(field, f"it is not base64: {error}") from None
    if not data:
        raise Violation(field, "it is empty")
    if binascii.b2a_base64(data, newline=False) != text.encode():  # decoding is lenient, and strict is 10 times dearer
        raise Violation(field, "it is not base64 in the canonical form: other characters, or unused bits that are set")
    return data


def _decode_frame(message: Mapping[str, Any]) -> bytes:
    field = "audio_base64_pcm"
    size = len(_take(message, field, str))
    if size != FRAME_CHARACTERS:
        raise Violation(
            field, f"it has {size} characters; {FRAME_SAMPLES} int16 samples are {FRAME_CHARACTERS} of base64"
        )
    data = _decode(message, field)
    if len(data) != FRAME_BYTES:
        raise Violation(field, f"it holds {len(data)} bytes; it must be {FRAME_BYTES}")
    return data


def check_recording(data: bytes) -> float | None:
    """Check a recorded voice message: WAV (16 kHz, mono) or WebM. Return its length in seconds, or None for WebM."""
    field = "file_base64_data"
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return None
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise Violation(field, "it is neither a WAV nor a WebM file")
    position, rate_bytes = 12, 0
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        body = position + 8
        if name == b"fmt " and size >= 16 and body + 16 <= len(data):
            _, channels, rate_hz, rate_bytes = struct.unpack_from("<HHII", data, body)
            if rate_hz != RATE_HZ:
                raise Violation(field, f"the WAV has {rate_hz} Hz; it must have {RATE_HZ}")
            if channels != 1:
                raise Violation(field, f"the WAV has {channels} channels; it must be mono")
        if name == b"data":
            if not rate_bytes:
                raise Violation(field, "the WAV has no 'fmt ' chunk before its data")
            if body + size > len(data):
                raise Violation(field, f"the WAV's data chunk says {size} bytes, but {len(data) - body} follow")
            return float(size / rate_bytes)
        position = body + size + size % 2
    raise Violation(field, "the WAV has no data chunk")


def media_type(recording: bytes) -> str:
    """Return the type of a recording that was checked."""
    return "audio/wav" if recording[:4] == b"RIFF" else "audio/webm"


def as_object(raw: str | bytes, what: str) -> dict[str, Any]:
    """Read a JSON object strictly; raises Violation for anything else."""
    try:
        value = json.loads(raw, parse_constant=_no_constant)
    except ValueError as error:
        raise Violation(what, f"it is not JSON: {error}") from None
    except RecursionError:
        raise Violation(what, "it is nested too deep") from None
    if not isinstance(value, dict):
        raise Violation(what, f"it is JSON, but {_kind_of(value)} and not an object")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def check_jwt_request(body: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return (user_id, project_id) of POST /jwt."""
    _only(body, {"user_id", "project_id"})
    user_id = _take(body, "user_id", str)
    if not USER_ID.fullmatch(user_id):
        raise Violation("user_id", "it must be 1 to 128 letters, digits, '-' or '_'")
    project_id = _take(body, "project_id", str) if "project_id" in body else None
    if project_id is not None and not PROJECT_ID.fullmatch(project_id):
        raise Violation("project_id", "it must be 1 to 64 letters, digits or '-'")
    return user_id, project_id


def check_start_request(body: Mapping[str, Any], live_avatars: frozenset[str]) -> tuple[str, int, int]:
    """Return (avatar_id, width, height) of POST /startLiveSession."""
    _only(body, {"avatar_id", "width", "height"})
    avatar_id = _one_of(body, "avatar_id", live_avatars, "an avatar with hasLiveMode")
    return avatar_id, _size(body, "width", 1280), _size(body, "height", 720)


def _size(body: Mapping[str, Any], field: str, default: int) -> int:
    if field not in body:
        return default
    text = _take(body, field, str)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= LIMITS[field]):
        raise Violation(field, f"it is {text[:40]!r}; it is an integer from 1 to {LIMITS[field]}, written as a string")
    return int(text)


def check_end_request(body: Mapping[str, Any]) -> str:
    """Return the LicenseId of POST /endLiveSession."""
    _only(body, {"LicenseId"})
    return _take(body, "LicenseId", str)


def check_history_request(query: Mapping[str, str], user_id: str) -> tuple[int, int]:
    """Return (per_page, page) of GET /chat; pages count from 1."""
    _only(query, {"user_id", "per_page", "page"})
    if _take(query, "user_id", str) != user_id:
        raise Violation("user_id", "it is not the user of the token")
    return _count(query, "per_page", PAGE_LIMIT), _count(query, "page", 1_000_000)


def _count(query: Mapping[str, str], field: str, limit: int) -> int:
    text = _take(query, field, str)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= limit):
        raise Violation(field, f"it is {text[:40]!r}; it must be 1 to {limit}")
    return int(text)


def _only(given: Mapping[str, Any], allowed: set[str]) -> None:
    if unknown := sorted(set(given) - allowed):
        raise Violation(unknown[0], f"no such field; there are {', '.join(sorted(allowed))}")


def _one_of(message: Mapping[str, Any], field: str, known: frozenset[str], what: str) -> str:
    value = _take(message, field, str)
    if value not in known:
        raise Violation(field, f"it is {value[:40]!r}, which is not {what}")
    return value


def _take(message: Mapping[str, Any], field: str, kind: type[_T]) -> _T:
    if field not in message:
        raise Violation(field, "it is missing")
    value = message[field]
    if type(value) is not kind:
        raise Violation(field, f"it is {_kind_of(value)}; it must be {_KINDS[kind]}")
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Violation(field, "it has half a surrogate pair, which is no text")
    return value


_KINDS: dict[type, str] = {str: "a string", bool: "true or false", int: "an integer", float: "a number"}


def _kind_of(value: object) -> str:
    return {**_KINDS, list: "an array", dict: "an object", type(None): "null"}[type(value)]
