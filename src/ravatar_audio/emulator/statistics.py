"""What the emulator counted: frozen snapshots, to read and to assert on. No token and no LicenseId is in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ravatar_audio.emulator.wav_writer import Mark


@dataclass(frozen=True, slots=True)
class ViolationRecord:
    """Something that broke the contract, and was answered with an error."""

    where: str
    """The endpoint, or "message" for the WebSocket."""
    field: str
    why: str


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """One WebSocket, from its handshake to its end."""

    number: int
    """From 1, in the order of the handshakes."""
    user_id: str
    opened_s: float
    """On trio's clock."""
    closed_s: float | None
    """None while it is open."""
    messages: int
    frames: int
    pings: int
    """From the client."""
    pongs: int
    """The client's answers to pings."""
    replies: int
    replies_dropped: int
    """Answers that were not sent because the client did not read."""
    client_close_code: int | None
    """Of the client's Close frame; 1005 for one without a code, None when there was none."""
    close_code: int | None
    """How it ended: the code of whoever closed first, 1006 when nobody said Close; None while it is open."""
    is_torn: bool
    """The client's bytes ended in the middle of a frame."""


@dataclass(frozen=True, slots=True)
class EmulatedLiveStatistics:
    """One live session, from /startLiveSession on."""

    number: int
    """From 1, in the order of the starts."""
    user_id: str
    avatar_id: str
    width: int
    height: int
    state: str
    """"active", "ended" (by /endLiveSession), "expired", or "forgotten" (by a fault)."""
    frames: int
    samples: int
    wav: Path | None
    """None until the first frame has come."""
    wav_error: str | None
    """Why not all of the samples are in the WAV file, if so."""
    marks: tuple[Mark, ...]
    connections: tuple[int, ...]
    """Numbers of the connections that carried it, in order."""
    declared_gaps: int
    declared_lost_samples: int
    declared_repeated_samples: int
    """Sound that the client said may have come before, on a connection that broke; it is in `samples` each time."""
    turns: int
    texts: int
    voice_messages: int
    longest_pause_s: float
    """Between two frames of a connection."""
    behind_samples: int
    """What a real-time stream should have brought since its first frame, by the clock, and what neither came nor was
    declared as lost; 0 or more. Sound that is late counts until it is there; a muted microphone and a device clock that
    is slow (100 ppm: 5,760 samples an hour) count as well."""
    end_calls: int
    """Calls of /endLiveSession that named it."""


@dataclass(frozen=True, slots=True)
class EmulatorStatistics:
    """Everything counted since the emulator was started."""

    tokens_issued: int
    requests: Mapping[str, Mapping[int, int]]
    """Per endpoint ("jwt", "startLiveSession", "socket", ...): answers by HTTP status."""
    connections: tuple[ConnectionStatistics, ...]
    live: tuple[EmulatedLiveStatistics, ...]
    violations: tuple[ViolationRecord, ...]
    """The last 1,000."""
    violation_count: int
    faults_fired: int
    links: int
    """TCP connections accepted."""
    slots_free: int
    server_restarts: int
    """How often a connection broke the HTTP server, and all others with it."""

    @property
    def frames(self) -> int:
        """Live frames received, over all live sessions."""
        return sum(live.frames for live in self.live)

    @property
    def samples(self) -> int:
        """Live samples received, over all live sessions."""
        return sum(live.samples for live in self.live)

    @property
    def close_codes(self) -> tuple[int, ...]:
        """Of all connections that have ended, in the order of their handshakes."""
        return tuple(item.close_code for item in self.connections if item.close_code is not None)
