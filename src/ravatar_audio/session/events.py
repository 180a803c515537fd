"""What a session emits besides the server's messages."""

from dataclasses import dataclass, field

from ravatar_audio.api.messages import ServerMessage


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The WebSocket is open. `connects` counts from 1."""

    connects: int
    handshake_s: float


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The WebSocket is gone; it is opened again in `retry_in_s`. Sound goes on being captured."""

    why: str
    lasted_s: float
    retry_in_s: float
    close_code: int | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class SendingRefused:
    """The platform begins to refuse what is sent. What it refuses is lost; when it goes on, the session is renewed."""

    why: str
    """In the platform's words, of the first refusal."""


@dataclass(frozen=True, slots=True)
class SendingAccepted:
    """The platform accepts again what is sent."""

    refused_messages: int
    """Since `SendingRefused`."""


@dataclass(frozen=True, slots=True)
class ConversationRenewed:
    """The platform had forgotten the conversation's id, or may have, and has given a new one: what was said before may
    be unknown to it."""


@dataclass(frozen=True, slots=True)
class SessionRenewed:
    """The live session had ended on the server and a new one has begun; the streaming URL has changed."""


@dataclass(frozen=True, slots=True)
class StreamingUrlChanged:
    """The streaming URL is another from now on: the token in it was renewed, or the live session. It holds a secret."""

    streaming_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AvatarSpeaks:
    """The avatar begins to speak, as far as the platform's messages show."""

    is_estimated: bool
    """No message has said so: a reply is taken to be spoken, at the pace of speech."""


@dataclass(frozen=True, slots=True)
class AvatarSilent:
    """The avatar has ended speaking."""

    is_estimated: bool
    """As of AvatarSpeaks."""


@dataclass(frozen=True, slots=True)
class TurnAnswered:
    """The first reply since a turn has ended. It follows the reply."""

    after_s: float
    """From the turn's last sample at the microphone, tail and hangover included, until the reply was here. Of text and
    recordings that were sent by hand: from the call."""
    turn: int | None = None
    """Number of the turn, as in TurnEvent; None for what was sent by hand."""


@dataclass(frozen=True, slots=True)
class EchoEvent:
    """What became of the echo: "echo_settled", "echo_path_changed", "echo_remains", "reference_lost",
    "reference_silent", "reference_back" (VoiceSource says what they mean)."""

    kind: str
    message: str


LiveEvent = (
    ServerMessage
    | LinkUp
    | LinkLost
    | SendingRefused
    | SendingAccepted
    | ConversationRenewed
    | SessionRenewed
    | StreamingUrlChanged
    | EchoEvent
    | AvatarSpeaks
    | AvatarSilent
    | TurnAnswered
)
