"""Lengths of time that are drawn: constant, or by a distribution. Pure; the same seed gives the same lengths."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ravatar_audio.errors import SettingsError

_MOST_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Draw:
    """A distribution of seconds, as a workload's file says it:

        3.0  {uniform = [1, 5]}  {exponential = 4.0}  {normal = [4, 1.5]}  {lognormal = [4, 0.5]}

    Exponential is given by its mean, normal by mean and deviation, lognormal by its median and the deviation of the
    logarithm. `least` and `most` limit what is drawn, 0 and a day where they are not given.
    """

    kind: str
    values: tuple[float, ...]
    least_s: float = 0.0
    most_s: float = _MOST_S

    @classmethod
    def parse(cls, name: str, given: object) -> "Draw":
        """Make it of a file's value; `name` is what errors call it. Raises SettingsError."""
        if isinstance(given, int | float) and not isinstance(given, bool):
            given = {"constant": given}
        if not isinstance(given, Mapping):
            raise SettingsError(f"{name} is {given!r}; it is a number of seconds, or as {{exponential = 4.0}}")
        rest = {key: value for key, value in given.items() if key not in ("least", "most")}
        if len(rest) != 1 or (kind := next(iter(rest))) not in _KINDS:
            raise SettingsError(f"{name} is {dict(given)!r}; it names one of {', '.join(_KINDS)}")
        values = rest[kind] if isinstance(rest[kind], Sequence) else [rest[kind]]
        wanted = _KINDS[kind][0]
        least_s, most_s = given.get("least", 0.0), given.get("most", _MOST_S)
        numbers = [*values, least_s, most_s]
        if len(values) != wanted or not all(_is_time(number) for number in numbers):
            raise SettingsError(
                f"{name} is {dict(given)!r}; {kind} takes {wanted} number{'s' * (wanted > 1)} from 0 to {_MOST_S:g}"
            )
        if not least_s <= most_s or (kind == "uniform" and values[0] > values[1]):
            raise SettingsError(f"{name} is {dict(given)!r}; the lower limit is above the upper one")
        return cls(kind, tuple(map(float, values)), float(least_s), float(most_s))

    def draw(self, chance: random.Random) -> float:
        """Draw the next length, in seconds."""
        return min(self.most_s, max(self.least_s, _KINDS[self.kind][1](chance, self.values)))

    def mean_s(self) -> float:
        """Return about how long they are, by 2,000 draws."""
        chance = random.Random(1)  # noqa: S311 - no secret
        return math.fsum(self.draw(chance) for _ in range(2_000)) / 2_000

    def as_dict(self) -> dict[str, Any]:
        """Return it as in a file."""
        return {self.kind: list(self.values), "least": self.least_s, "most": self.most_s}


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_S


_Make = Callable[[random.Random, tuple[float, ...]], float]
_KINDS: dict[str, tuple[int, _Make]] = {
    "constant": (1, lambda chance, values: values[0]),
    "uniform": (2, lambda chance, values: chance.uniform(*values)),
    "exponential": (1, lambda chance, values: chance.expovariate(1 / values[0]) if values[0] else 0.0),
    "normal": (2, lambda chance, values: chance.gauss(*values)),
    "lognormal": (2, lambda chance, values: values[0] * math.exp(chance.gauss(0.0, values[1]))),
}
