"""What can be set of the emulator."""

import os
import re
import ssl
from dataclasses import dataclass, field
from typing import NamedTuple

from ravatar_audio.emulator.faults import Fault
from ravatar_audio.errors import SettingsError


class EmulatedAvatar(NamedTuple):
    """An avatar that /connection offers."""

    id: str
    name: str
    has_live_mode: bool
    greeting: str


AVATARS = (
    EmulatedAvatar("ava", "Ava", True, "Hello, I am Ava. I tell you what I hear."),
    EmulatedAvatar("ben", "Ben", True, "Hi, this is Ben. Say something, and I tell you how it arrived."),
    EmulatedAvatar("clara", "Clara", False, "Good day, I am Clara. I take messages only."),
)
LANGUAGES = (("English", "en-US"), ("Deutsch", "de-DE"), ("Français", "fr-FR"))


_HEADER_WORDS = re.compile(r"[!-+./0-:<-~-]+( [!-+./0-:<-~-]+)*")
"""Words of a directive: printable, without the comma and the semicolon that end one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorSettings:
    """Everything that can be set, with defaults for a developer's own machine. Raises SettingsError for bad values."""

    host: str = "127.0.0.1"
    """Address to listen on; loopback unless told otherwise."""
    port: int = 0
    """0: any free one."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """Server-side context; None: plain HTTP. `server_tls` makes one from files."""
    wav_dir: str | os.PathLike[str] | None = None
    """Folder for what was heard; made where it is missing. None: a temporary one that goes with the emulator."""

    slots: int = 4
    """Live sessions at a time."""
    token_lifetime_s: float = 86_400.0
    session_idle_s: float = 120.0
    """A live session expires when no connection has carried it for so long."""
    session_lifetime_s: float | None = None
    """A live session expires after so long in any case; None: never."""
    reply_every_s: float = 5.0
    """A turn that goes on is answered after so many seconds of sound."""
    projects: tuple[str, ...] | None = None
    """Project ids that exist; None: every one does."""
    avatars: tuple[EmulatedAvatar, ...] = AVATARS
    languages: tuple[tuple[str, str], ...] = LANGUAGES
    """(name, language_code)."""
    vad_enabled: bool = False
    ping_every_s: float | None = None
    """The server pings its clients; None: never."""
    observed_names: bool = False
    """Answer with the variants seen on deployments: token for jwt, id for _id, code for language_code; in messages
    direction for type, content for the text, date for timestamp, and sound inline for its address."""
    refusal: str | None = None
    """What a client is sent whose message breaks the contract, as it goes over the WebSocket; None: what is wrong."""
    frame_ancestors: str | None = None
    """Who may frame the streaming page (Content-Security-Policy), as "'none'"; None: everybody."""
    receive_buffer_bytes: int | None = None
    """SO_RCVBUF of the listening socket: how much the system takes for a server that has stopped reading."""
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise SettingsError(f"port is {self.port}; it must be 0 to 65535")
        for name in ("token_lifetime_s", "session_idle_s", "session_lifetime_s", "reply_every_s", "ping_every_s"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise SettingsError(f"{name} is {value}; it must be above 0")
        if self.receive_buffer_bytes is not None and self.receive_buffer_bytes < 1:
            raise SettingsError(f"receive_buffer_bytes is {self.receive_buffer_bytes}; it must be above 0")
        for what, names in (
            ("avatar", [avatar.id for avatar in self.avatars]),
            ("language", [code for _, code in self.languages]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise SettingsError(f"{what} {twice[0]!r} is there twice")
        sources = self.frame_ancestors
        if sources is not None and not _HEADER_WORDS.fullmatch(sources):
            raise SettingsError(f"frame_ancestors is {sources!r}; write it as \"'none'\" or \"'self' https://my.site\"")
        if self.slots < 0:
            raise SettingsError(f"slots is {self.slots}; it must be 0 or more")
        if not self.avatars or not self.languages:
            raise SettingsError("an emulator needs at least one avatar and one language")


def server_tls(certificate: str | os.PathLike[str], key: str | os.PathLike[str] | None = None) -> ssl.SSLContext:
    """Make a server-side TLS context from PEM files; raises SettingsError when they cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"certificate {os.fspath(certificate)!r} cannot be used: {error}") from error
    return context
