"""The counters of a gate."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GateStatistics:
    """Where the samples of the frames that were fed are. received = given + gated + pending, always."""

    received_samples: int
    given_samples: int
    """Given out in turns."""
    gated_samples: int
    """In no turn."""
    pending_samples: int
    """Kept: they may still become a turn's."""
    lost_samples: int
    """Never received: lost by the ring or the device, as the frames reported."""
    turns: int
    """Begun."""
