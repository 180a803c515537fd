"""The counters of sessions."""

from collections.abc import Mapping
from dataclasses import dataclass

from ravatar_audio.observe.histogram import Distribution


@dataclass(frozen=True, slots=True)
class LiveStatistics:
    """Counters of a live session. taken = sent + dropped + pending, and sent = acknowledged + in flight, in frames and
    in samples, at every moment.

    Samples are at 16 kHz and count a frame's true length.
    """

    taken_frames: int
    taken_samples: int
    """Taken from the source."""
    sent_frames: int
    sent_samples: int
    """Written to a socket as a whole, and not known to be lost."""
    acknowledged_frames: int
    acknowledged_samples: int
    """Of these, what the peer's system has acknowledged: it is there, whatever becomes of the connection."""
    in_flight_frames: int
    in_flight_samples: int
    """Of these, what is under way. When the connection is lost it goes again where it is no older than `outbox_ms`."""
    acknowledgements_known: bool
    """This system reports what is acknowledged (Linux). Elsewhere that is what was written 8 s ago, and what a lost
    connection took in its last 8 s counts as lost, "in_flight"."""
    repeated_frames: int
    repeated_samples: int
    """Written again on another connection, as it was not acknowledged on the first: it may have come twice."""
    dropped_frames: int
    dropped_samples: Mapping[str, int]
    """By cause: "outbox" - waited too long for the network; "in_flight" - written to a connection that was lost before
    it was acknowledged, and too old to be sent again; "refused" - the platform had it, and did not accept it. Of those
    "in_flight" some may have been heard all the same."""
    pending_frames: int
    pending_samples: int
    source_lost_samples: int
    """Lost before they were taken, as frames reported: the ring was full, or the device lost them."""
    age_newest: Distribution
    """How old a frame's newest sample was when the message had been written."""
    age_oldest: Distribution
    """The same of its oldest sample, had each frame been a whole one: 256 ms more."""
    connects: int
    reconnects: int
    messages_received: int
    messages_skipped: int
    """Not JSON."""
    events_dropped: int
    """Nobody took them from `events()`."""
    first_reply: Distribution
    """From the end of a turn to the first reply: see TurnAnswered."""
    sessions_unended: int = 0
    """Live sessions that the platform did not confirm to have ended: their slots may stay taken until the next start
    gives them back, or the platform does. Counted when the block is left, or a session is renewed."""


@dataclass(frozen=True, slots=True)
class ChatStatistics:
    """Counters of a chat session."""

    connects: int
    reconnects: int
    messages_received: int
    messages_skipped: int
    """Not JSON."""
    events_dropped: int
    """Nobody took them from `events()`."""
    first_reply: Distribution
    """From the end of a turn, or from sending by hand, to the first reply: see TurnAnswered."""
