"""How far another machine's clock is from ours, and how well that is known. Pure."""

from dataclasses import dataclass

PINGS = 5


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Of one question and its answer."""

    sent_s: float
    """By our clock, as `came_s`."""
    came_s: float
    theirs_s: float
    """When it was answered, by theirs."""

    @property
    def round_trip_s(self) -> float:
        return self.came_s - self.sent_s


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """Theirs less ours; the truth lies within `uncertainty_s` of it, as the answer was given between asking and hearing
    (Cristian, "Probabilistic clock synchronization", 1989)."""

    offset_s: float
    uncertainty_s: float

    @classmethod
    def best_of(cls, readings: list[ClockReading]) -> "ClockOffset":
        """Take that of the quickest of several: it is known best."""
        best = min(readings, key=lambda reading: reading.round_trip_s)
        return cls(best.theirs_s - (best.sent_s + best.came_s) / 2, best.round_trip_s / 2)
