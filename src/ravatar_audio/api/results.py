"""What the HTTP endpoints answer: frozen, accepting the variants that were observed, unknown fields kept. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ravatar_audio.api.messages import finite
from ravatar_audio.errors import ProtocolError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Avatar:
    """An avatar that the project offers."""

    id: str
    name: str
    has_live_mode: bool
    greeting: str = ""
    icons: Mapping[str, str] = field(default_factory=dict)
    """URLs by size: small, medium, large."""
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """As it came, unknown fields included."""

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Avatar":
        """Make it from an item of `avatars_info`."""
        icons = data.get("previewIcons")
        return cls(
            id=_text(data, "_id", "id"),
            name=_text(data, "name", default=""),
            has_live_mode=data.get("hasLiveMode") is True,
            greeting=_text(data, "greetingText", default=""),
            icons=icons if isinstance(icons, dict) else {},
            fields=data,
        )


@dataclass(frozen=True, slots=True)
class Language:
    """A language that the conversation may have."""

    name: str
    code: str
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Language":
        """Make it from an item of `languages`."""
        return cls(_text(data, "name", default=""), _text(data, "language_code", "code"), data)


@dataclass(frozen=True, slots=True)
class Connection:
    """`GET /connection`: the conversation's id, and what can be chosen."""

    session: str
    avatars: tuple[Avatar, ...]
    languages: tuple[Language, ...]
    chat_types: tuple[Any, ...] = ()
    vad_enabled: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Connection":
        """Make it from the answer's body. Raises ProtocolError when `session` or an avatar's id is missing."""
        chat_types = data.get("chat_types")
        return cls(
            session=_text(data, "session"),
            avatars=_items(data, "avatars_info", Avatar.parse),
            languages=_items(data, "languages", Language.parse),
            chat_types=tuple(chat_types) if isinstance(chat_types, list) else (),
            vad_enabled=data.get("vadEnabled") is True,
            fields=data,
        )


@dataclass(frozen=True, slots=True)
class LiveStart:
    """`POST /startLiveSession`: a slot, and where its picture is. Neither is shown by repr."""

    license_id: str = field(repr=False)
    streaming_url: str = field(repr=False)
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "LiveStart":
        """Make it from the answer's body. Raises ProtocolError without LicenseId."""
        return cls(_text(data, "LicenseId"), _text(data, "streamingUrl", default=""), data)


@dataclass(frozen=True, slots=True)
class ChatItem:
    """One item of the history (`GET /chat`)."""

    id: str
    direction: str
    """"outgoing" (the user's; its text is `request`) or "incoming" (the avatar's; its text is `answer`)."""
    text: str
    date_s: float
    """Seconds since 1970 UTC."""
    chat_type: str
    file_url: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "ChatItem":
        """Make it from an item of `payload`."""
        direction = _text(data, "direction", default="")
        url = data.get("fileUrl")
        return cls(
            id=_text(data, "_id", "id"),
            direction=direction,
            text=_text(data, "answer" if direction == "incoming" else "request", default=""),
            date_s=(finite(data.get("date")) or 0.0) / 1000,
            chat_type=_text(data, "chat_type", default="text"),
            file_url=url if isinstance(url, str) else None,
            fields=data,
        )


@dataclass(frozen=True, slots=True)
class ChatPage:
    """One page of the history."""

    items: tuple[ChatItem, ...]
    has_more: bool

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "ChatPage":
        """Make it from the answer's body."""
        return cls(_items(data, "payload", ChatItem.parse), data.get("has_more_messages") is True)


def parse_jwt_answer(data: Mapping[str, Any]) -> str:
    """Return the token of a `POST /jwt` answer, as `jwt` or `token`. Raises ProtocolError when there is none."""
    if data.get("result") == "failure":
        raise ProtocolError("POST /jwt answered result 'failure' instead of a token")
    token = _text(data, "jwt", "token")
    if not re.fullmatch("[!-~]+", token):
        raise ProtocolError("POST /jwt answered a token with characters that no HTTP header can carry")
    return token


def viewer_url(streaming_url: str, token: str, *, page_is_https: bool) -> str:
    """Return the streaming URL as an iframe needs it: `token` added to its query, and https where the page is https."""
    parts = urlsplit(streaming_url)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "token"]
    scheme = "https" if page_is_https and parts.scheme == "http" else parts.scheme
    return urlunsplit(parts._replace(scheme=scheme, query=urlencode([*query, ("token", token)])))


def _text(data: Mapping[str, Any], *names: str, default: str | None = None) -> str:
    """The first of the fields that is there; a number counts as its text."""
    for name in names:
        value = data.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    if default is not None:
        return default
    raise ProtocolError(f"the platform's answer has no usable {' or '.join(repr(name) for name in names)}")


def _items(data: Mapping[str, Any], name: str, parse: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
    items = data.get(name, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ProtocolError(f"the platform's answer has {name!r} that is no list of objects")
    return tuple(parse(item) for item in items)
