"""What a run must have shown, written as `p99(first_reply) < 800ms`: the verdict, for CI. Pure."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ravatar_audio.errors import SettingsError
from ravatar_audio.load.tally import PHASES
from ravatar_audio.observe.histogram import Histogram

COUNTS = (
    "clients", "started", "failed", "errors", "lost_workers", "lost_clients", "messages", "replies", "reconnects",
    "dropped_samples", "unsent_samples", "sessions_unended",
)  # fmt: skip
"""What may stand without a function; `errors` and `failed` also as a share of what was started, in %."""

_SHAPE = re.compile(
    r"\s*(?:(?P<what>p\d{1,2}(?:\.\d+)?|max|count)\s*\(\s*(?P<phase>\w+)\s*\)|(?P<name>\w+))"
    r"\s*(?P<sign><=|>=|==|<|>)\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>us|ms|s|%|)\s*"
)
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
}  # fmt: skip
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One comparison, parsed."""

    text: str
    what: str
    """"p99", "max", "count", or "" for one of COUNTS."""
    name: str
    sign: str
    limit: float
    """In seconds, as a share (0.01 for 1%), or a number."""
    is_share: bool

    @classmethod
    def parse(cls, text: str) -> "Requirement":
        """Read a requirement. Raises SettingsError, with what may be written, for anything else."""
        found = _SHAPE.fullmatch(text)
        if found is None:
            raise SettingsError(
                f"the requirement {text!r} cannot be read",
                advice="Write it as 'p99(first_reply) < 800ms', 'max(reconnect) < 5s', 'errors < 1%', 'replies > 0'.",
            )
        what, phase, count, unit = found["what"] or "", found["phase"], found["name"], found["unit"]
        if phase is not None and phase not in PHASES:
            raise SettingsError(f"{text!r}: there is no phase {phase!r}", advice=f"Phases are {', '.join(PHASES)}.")
        if count is not None and count not in COUNTS:
            raise SettingsError(f"{text!r}: there is no count {count!r}", advice=f"Counts are {', '.join(COUNTS)}.")
        is_time = phase is not None and what != "count"
        if is_time != (unit in _UNITS):
            wanted = "a time needs its unit: us, ms or s" if is_time else "a count is no time"
            raise SettingsError(f"{text!r}: {wanted}")
        if unit == "%" and count not in ("errors", "failed"):
            raise SettingsError(f"{text!r}: only errors and failed are known as a share")
        limit = float(found["value"]) * (0.01 if unit == "%" else _UNITS.get(unit, 1.0))
        return cls(text.strip(), what, str(phase or count), found["sign"], limit, unit == "%")

    def judge(self, times: Mapping[str, Histogram], counts: Mapping[str, int]) -> "Judgement":
        """Judge a run's figures. A percentile of nothing is not met, whatever the limit: nothing was shown."""
        value: float | None
        if not self.what:
            value = float(counts.get(self.name, 0))
            if self.is_share:
                started = counts.get("started", 0)
                value = value / started if started else None
        else:
            histogram = times.get(self.name, Histogram())
            if self.what == "count":
                value = float(histogram.count)
            elif not histogram.count:
                value = None
            else:
                value = histogram.percentile_s(1.0 if self.what == "max" else float(self.what[1:]) / 100)
        return Judgement(self, value, value is not None and _SIGNS[self.sign](value, self.limit))

    @property
    def is_of_time(self) -> bool:
        """Whether it is about how long something took."""
        return self.what not in ("", "count")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A requirement and what the run has shown of it."""

    requirement: Requirement
    value: float | None
    """In the requirement's measure; None: nothing was measured."""
    is_met: bool

    @property
    def shown(self) -> str:
        """The value for people."""
        if self.value is None:
            return "not measured"
        if self.requirement.is_share:
            return f"{100 * self.value:.2f} %"
        return f"{1000 * self.value:.1f} ms" if self.requirement.is_of_time else f"{self.value:g}"
