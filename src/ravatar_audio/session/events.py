"""What a live session tells besides the server's messages."""

from dataclasses import dataclass

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
class SessionRenewed:
    """The live session had expired and a new one has begun; the streaming URL has changed."""


LiveEvent = ServerMessage | LinkUp | LinkLost | SessionRenewed
