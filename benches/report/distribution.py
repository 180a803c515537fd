"""A distribution of measured values, kept as an HDR histogram: exact to 0.1 % over twelve decades, small as JSON.

Values are recorded after a measurement, never within one: recording takes 10 µs in Python.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

PERCENTS = (50.0, 90.0, 99.0, 99.9, 99.99)
SIGNIFICANT_DIGITS = 3
_LARGEST = 10**12
STEPS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Durations are recorded in nanoseconds, other units in thousandths."""


@dataclass(frozen=True)
class Distribution:
    """Values >= 0 of one unit. `hdr` is HdrHistogram's own compressed form (V2), in `steps` of `unit`."""

    name: str
    unit: str
    hdr: str
    count: int
    max: float
    mean: float
    plot: str = ""
    """Distributions with the same one are drawn into one picture."""

    @classmethod
    def of(
        cls, name: str, values: Iterable[float] | Mapping[float, int] | HdrHistogram, unit: str, plot: str = ""
    ) -> "Distribution":
        """From values, from a mapping of values to how often they occurred, or from a histogram in steps of the unit.

        Negative values count as zero and values beyond 10**12 steps as that. Raises ValueError where one is not finite.
        """
        steps = STEPS_PER_UNIT.get(unit, 1000)
        if isinstance(values, HdrHistogram):
            histogram, largest = values, values.get_max_value() / steps
            count, mean = values.get_total_count(), values.get_mean_value() / steps
        else:
            counts = dict(values) if isinstance(values, Mapping) else _counted(values)
            if not all(map(math.isfinite, counts)):
                raise ValueError(f"distribution {name!r} has values that are not finite")
            histogram = new_histogram()
            for value, times in counts.items():
                histogram.record_value(min(_LARGEST, max(0, round(value * steps))), times)
            count, largest = sum(counts.values()), max(counts, default=0.0)
            mean = math.fsum(value * times for value, times in counts.items()) / count if count else 0.0
        return cls(name, unit, histogram.encode().decode("ascii"), count, float(largest), float(mean), plot)

    @cached_property
    def histogram(self) -> HdrHistogram:
        """The histogram itself, in steps of the unit."""
        return HdrHistogram.decode(self.hdr)

    @cached_property
    def _recorded(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each recorded value and how many are not above it; the library's own iterators take half a second."""
        counts = np.frombuffer(self.histogram.counts, np.uint64).astype(np.int64)
        indices = np.flatnonzero(counts)
        values = np.array([self.histogram.get_value_from_index(int(index)) for index in indices], np.int64)
        return values, np.cumsum(counts[indices])

    def percentile(self, percent: float) -> float:
        """The value that `percent` of the values do not exceed, to 0.1 %; 100 is the maximum. NaN for no values."""
        if not self.count:
            return math.nan
        values, ranks = self._recorded
        rank = min(self.count, max(1, math.ceil(round(percent / 100 * self.count, 6))))
        value: int = self.histogram.get_highest_equivalent_value(int(values[np.searchsorted(ranks, rank)]))
        return min(self.max, value / STEPS_PER_UNIT.get(self.unit, 1000))

    def interval(self, percent: float) -> tuple[float, float]:
        """Where the true percentile lies with 95 % confidence, whatever the distribution: the order statistics
        around its rank (Conover, Practical Nonparametric Statistics, 3.2, with the normal approximation)."""
        if not self.count:
            return math.nan, math.nan
        share = percent / 100
        reach = 1.96 * math.sqrt(share * (1 - share) / self.count)
        return self.percentile(100 * max(0.0, share - reach)), self.percentile(100 * min(1.0, share + reach))

    def curve(self) -> list[tuple[float, float]]:
        """Points (percent, value) for a percentile plot, denser towards 100, as far as the count supports them."""
        nines = math.log10(max(10, self.count))
        steps = round(16 * nines)
        percents = [100 * (1 - 10 ** (-nines * step / steps)) for step in range(steps + 1)]
        return [(percent, self.percentile(percent)) for percent in percents]

    def as_dict(self) -> dict[str, object]:
        """The JSON of it; the percentiles repeat what the histogram holds, for readers without the library."""
        percentiles = {f"{percent:g}": self.percentile(percent) for percent in PERCENTS} if self.count else {}
        return {
            "name": self.name,
            "unit": self.unit,
            "plot": self.plot,
            "count": self.count,
            "mean": self.mean,
            "max": self.max,
            "percentiles": percentiles,
            "hdr": self.hdr,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> "Distribution":
        """What as_dict() gave."""
        fields = ("name", "unit", "hdr", "count", "max", "mean", "plot")
        return cls(**{name: data[name] for name in fields})  # type: ignore[arg-type]  # the schema has their types


def new_histogram() -> HdrHistogram:
    """An empty one, for a bench that records by itself: in nanoseconds for durations, else in thousandths."""
    return HdrHistogram(1, _LARGEST, SIGNIFICANT_DIGITS)


def _counted(values: Iterable[float]) -> dict[float, int]:
    counts: dict[float, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts
