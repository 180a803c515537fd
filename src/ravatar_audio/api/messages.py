"""The WebSocket's messages: what the client says, and what the server says, as typed events. Pure."""

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from ravatar_audio.errors import BusyError, PlatformError, SessionExpiredError, StreamError

_PCM_FIELD = "audio_base64_pcm"
_LOST_FIELD = "lost_samples"
_REPEATED_FIELD = "repeated_samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What all messages of one conversation have in common. With a `license_id` it is a live one."""

    avatar_id: str
    user_id: str
    language: str
    source: str
    session: str
    license_id: str | None = field(default=None, repr=False)

    def fields(self) -> dict[str, Any]:
        """Return the common fields, by the platform's names and in its order."""
        common = {
            "avatar_id": self.avatar_id,
            "user_id": self.user_id,
            "language": self.language,
            "source": self.source,
            "isLive": self.license_id is not None,
            "session": self.session,
        }
        return common if self.license_id is None else common | {"LicenseId": self.license_id}

    def text_message(self, text: str) -> str:
        """Make a text message."""
        return json.dumps(self.fields() | {"chat_type": "text", "requestType": "text", "request": text})

    def voice_message(self, recording: bytes, *, push_to_talk: bool = False) -> str:
        """Make the message of a recorded utterance: a whole WAV or WebM file, 16 kHz mono; `push_to_talk` when a
        button was held.
        """
        message = self._voice() | {"file_base64_data": base64.b64encode(recording).decode("ascii")}
        return json.dumps(message | {"isPushToTalk": True} if push_to_talk else message)

    def audio_affixes(self, lost_samples: int = 0, repeated_samples: int = 0) -> tuple[str, str]:
        """Return what stands before and behind the base64 text of a live voice message; the same for a whole session.

        `lost_samples` are those missing before this message, `repeated_samples` those of it that an earlier connection
        may have brought already. The guide has no fields for that; they are added only where there is something to say,
        for platforms that want to know.
        """
        marks = {_LOST_FIELD: lost_samples, _REPEATED_FIELD: repeated_samples}
        text = json.dumps(self._voice() | {_PCM_FIELD: ""} | {name: count for name, count in marks.items() if count})
        mark = text.index(f'"{_PCM_FIELD}": "') + len(_PCM_FIELD) + 5
        return text[:mark], text[mark:]

    def _voice(self) -> dict[str, Any]:
        return self.fields() | {"chat_type": "voice", "requestType": "audio"}


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound or video that came inside a message."""

    data: bytes = field(repr=False)
    media_type: str
    """As in a data URL; "audio/webm" where the message does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMessage:
    """A message from the server; the subclass says its kind."""

    text: str | None = None
    """From `answer`, `content` or `message`, the first that is there."""
    file_url: str | None = None
    audio: Audio | None = None
    chat_type: str | None = None
    request_type: str | None = None
    time_s: float | None = None
    """When the server sent it, in seconds since 1970 UTC, if it says so."""
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The whole message, as it came."""


class ConnectionMessage(ServerMessage):
    """Kind `connection`: the server greets, or reports on the connection."""

    __slots__ = ()


class SystemMessage(ServerMessage):
    """Kind `system`."""

    __slots__ = ()


class Reply(ServerMessage):
    """Kind `incoming`: what the avatar says, as text, file or sound."""

    __slots__ = ()


class EventMessage(ServerMessage):
    """Kind `event`."""

    __slots__ = ()


class UnknownMessage(ServerMessage):
    """A kind that this client does not know; `fields` has all of it."""

    __slots__ = ()


FaultKind = Literal["stream", "timeout", "busy", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFault(ServerMessage):
    """One of the four stream errors of Live Mode."""

    kind: FaultKind
    advice: ClassVar[Mapping[FaultKind, str]] = {
        "stream": "The session has ended; start it again.",
        "timeout": "The stream's connection timed out; it is made again.",
        "busy": "All AI assistants are busy at the moment. Please try again later.",
        "expired": "The session has expired; start a new one.",
    }

    def error(self) -> PlatformError | None:
        """Return the error that ends the session, or None for a time-out, which only ends the connection."""
        errors: dict[FaultKind, type[PlatformError]] = {
            "stream": StreamError,
            "busy": BusyError,
            "expired": SessionExpiredError,
        }
        kind = errors.get(self.kind)
        return kind(f"the platform says: {self.text or self.kind}", advice=self.advice[self.kind]) if kind else None


_KINDS: dict[str, type[ServerMessage]] = {
    "connection": ConnectionMessage,
    "system": SystemMessage,
    "incoming": Reply,
    "event": EventMessage,
}
_FAULT_NAMES: dict[str, FaultKind] = {
    "stream error": "stream",
    "timeout": "timeout",
    "busy": "busy",
    "expired": "expired",
    "something went wrong": "stream",
    "connection timeout": "timeout",
    "all ai assistants are busy at the moment": "busy",
    "session expired": "expired",
}


def parse_server_message(data: str | bytes) -> ServerMessage:
    """Return the message as a typed event. Raises ValueError for what is not a JSON object; nothing else is refused."""
    try:
        fields = json.loads(data)
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    if not isinstance(fields, dict):
        raise ValueError(f"a JSON {type(fields).__name__}, not an object")  # noqa: TRY004 - bad data, not a bad call
    named = [fields.get("type"), fields.get("direction")]
    kind = next((name for name in named if isinstance(name, str) and name in _KINDS), None)
    common: dict[str, Any] = {
        "text": _first_text(fields, "answer", "content", "message"),
        "file_url": _first_text(fields, "fileUrl"),
        "audio": _audio(_first_text(fields, "file_base64_data", "audio_base64")),
        "chat_type": _first_text(fields, "chat_type"),
        "request_type": _first_text(fields, "requestType"),
        "time_s": _time_s(fields),
        "fields": fields,
    }
    if kind != "incoming" and (fault := _fault(fields, common["text"])):
        return StreamFault(kind=fault, **common)
    return _KINDS.get(kind or "", UnknownMessage)(**common)


def _fault(fields: Mapping[str, Any], text: str | None) -> FaultKind | None:
    """By the error's name; by the table's sentence where there is no name."""
    error = fields.get("error")
    for name in (error, text):
        if isinstance(name, str) and (kind := _FAULT_NAMES.get(name.strip().rstrip(".").lower())):
            return kind
    return None  # any other error refuses what was sent; whether that is the end shows when it comes again and again


def _first_text(fields: Mapping[str, Any], *names: str) -> str | None:
    return next((value for name in names if isinstance(value := fields.get(name), str) and value), None)


def _audio(text: str | None) -> Audio | None:
    if text is None:
        return None
    media_type = "audio/webm"
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        media_type = head[len("data:") :].removesuffix(";base64") or media_type
    try:
        return Audio(base64.b64decode(text, validate=True), media_type)
    except (binascii.Error, ValueError):
        return None  # the text stays in `fields`


def _time_s(fields: Mapping[str, Any]) -> float | None:
    date, stamp = fields.get("date"), fields.get("timestamp")
    if isinstance(stamp, str):
        try:
            when = datetime.fromisoformat(stamp)
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return finite(date)


def finite(value: object) -> float | None:
    """Return a JSON number as a float, or None: for what is no number, and for one that no float can hold."""
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
