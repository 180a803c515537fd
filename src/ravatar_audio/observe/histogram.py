"""A distribution of durations in constant memory."""

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

_SMALLEST_S = 1e-6
_STEPS_PER_OCTAVE = 32
_BUCKETS = 32 * _STEPS_PER_OCTAVE  # 1 us to 71 minutes


@dataclass(frozen=True, slots=True)
class Distribution:
    """What was measured: count, percentiles and largest, in seconds. All zero when there was nothing."""

    count: int = 0
    p50_s: float = 0.0
    p90_s: float = 0.0
    p99_s: float = 0.0
    p999_s: float = 0.0
    max_s: float = 0.0

    def later_by(self, delay_s: float) -> "Distribution":
        """Return that of the same values, each `delay_s` longer."""
        if not self.count:
            return self
        times_s = (value + delay_s for value in (self.p50_s, self.p90_s, self.p99_s, self.p999_s, self.max_s))
        return Distribution(self.count, *times_s)


class Histogram:
    """Durations in buckets of 2.2 % width, from 1 us to 71 minutes; values beyond count in the outermost ones."""

    __slots__ = ("_counts", "_max_s", "_total")

    def __init__(self) -> None:
        self._counts = array("L", bytes(_BUCKETS * array("L").itemsize))
        self._total = 0
        self._max_s = 0.0

    def record(self, value_s: float) -> None:
        """Count one value."""
        index = int(math.log2(value_s / _SMALLEST_S) * _STEPS_PER_OCTAVE) if value_s > _SMALLEST_S else 0
        self._counts[min(index, _BUCKETS - 1)] += 1
        self._total += 1
        self._max_s = max(self._max_s, value_s)

    @property
    def count(self) -> int:
        """How many values were counted."""
        return self._total

    def add(self, other: "Histogram") -> None:
        """Count what the other one has counted too: exactly as if each value had been recorded here."""
        for index, count in enumerate(other._counts):
            if count:
                self._counts[index] += count
        self._total += other._total
        self._max_s = max(self._max_s, other._max_s)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON: the buckets that are not empty, and the largest value.

        `from_dict` makes the same again.
        """
        counts = {str(index): count for index, count in enumerate(self._counts) if count}
        return {"counts": counts, "max_s": self._max_s}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make it from what `as_dict` gave. Raises ValueError or KeyError for anything else."""
        made = cls()
        for index, count in data["counts"].items():
            if not (0 <= int(index) < _BUCKETS and int(count) >= 0):
                raise ValueError(f"bucket {index} with {count} values is none of a histogram's")
            made._counts[int(index)] = int(count)
        made._total = sum(made._counts)
        made._max_s = float(data["max_s"])
        return made

    def percentile_s(self, share: float) -> float:
        """Return the value that `share` (0 to 1) of all values do not exceed, to the bucket's upper edge."""
        wanted = max(1, math.ceil(share * self._total))
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return min(self._max_s, _SMALLEST_S * math.exp2((index + 1) / _STEPS_PER_OCTAVE))
        return 0.0

    def distribution(self) -> Distribution:
        """All of it, as of now."""
        p50_s, p90_s, p99_s, p999_s = map(self.percentile_s, (0.5, 0.9, 0.99, 0.999))
        return Distribution(self._total, p50_s, p90_s, p99_s, p999_s, self._max_s)
