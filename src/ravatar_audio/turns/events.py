"""What a gate emits: events with exact positions. Sound comes beside them, as frames."""

from dataclasses import dataclass
from enum import StrEnum


class TurnMode(StrEnum):
    """How turns are taken."""

    OPEN = "open"
    """Everything goes: one turn for as long as the microphone is open."""
    PTT = "ptt"
    """Push-to-talk: while a button is held."""
    VAD = "vad"
    """Voice activity: while somebody speaks."""


class TurnEventKind(StrEnum):
    """What has happened."""

    STARTED = "started"
    """A turn; its first frame follows."""
    EXTENDED = "extended"
    """It would have ended soon, but the button was pressed again, or speech went on."""
    ENDED = "ended"
    """Its last frame came before this event."""
    CAPPED = "capped"
    """Ended, because it had reached the greatest length."""
    CANCELLED = "cancelled"
    """A press too short to count (`turn` is None), or a turn that was called off: what was sent of it is void."""
    MUTED = "muted"
    UNMUTED = "unmuted"
    MODE_CHANGED = "mode_changed"
    GATED = "gated"
    """The avatar speaks: the microphone is not heard."""
    UNGATED = "ungated"
    BARGED_IN = "barged_in"
    """Somebody spoke over the avatar: the microphone is heard again."""


class Reason(StrEnum):
    """Why a turn ended or was cancelled, or what the mode was changed to (then it is a TurnMode)."""

    RELEASED = "released"
    """Push-to-talk's button was let go, and the tail is over."""
    SILENCE = "silence"
    """Nobody has spoken for the hangover."""
    CAP = "cap"
    TAP = "tap"
    """The button was not held long enough."""
    MUTED = "muted"
    MODE = "mode"
    AVATAR = "avatar"
    """The avatar began to speak."""
    CALLED_OFF = "called_off"
    INTERRUPTED = "interrupted"
    """The capture broke off; another may follow."""
    FINISHED = "finished"
    """The capture is at its end."""


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """One event, at the first sample for which it holds: a turn is [its STARTED, its ENDED or CAPPED)."""

    kind: TurnEventKind
    position_samples: int
    """At 16 kHz, counted as in Frame; pre-roll and tail belong to the turn."""
    turn: int | None = None
    """Number of the turn, from 0; None for an event outside of one."""
    reason: Reason | TurnMode | None = None
    sound_samples: int = 0
    """At a turn's end: samples in its frames; less than the turn is long by what was lost."""
