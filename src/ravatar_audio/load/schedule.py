"""Who comes when and for how long: fixed by a seed before anything happens, whatever happens then. Pure.

An open model: nobody waits for the platform before the next client comes, so a slow platform is not spared the load
that it would have had (coordinated omission), and each time is kept from when it was due.
"""

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from ravatar_audio.load.workload import MODES, Workload

SHORTEST_VISIT_S = 1.0
"""What is left of a client's time when it would come again must be so much."""


@dataclass(frozen=True, slots=True, order=True)
class Visit:
    """One session of one client."""

    due_s: float
    """When the client comes, from the run's beginning."""
    number: int
    """Of the client, from 0."""
    turn: int
    """The client's how manyth visit, from 0."""
    hold_s: float
    """How long it talks, from the session's beginning."""
    mode: str
    seed: str
    """Of what it says, and when."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of `clients` that come at `ramp_per_s`, each for `length_s` in one visit or several."""

    workload: Workload
    clients: int
    ramp_per_s: float
    length_s: float

    def arrivals_s(self) -> list[float]:
        """Return when each client comes first, from the run's beginning."""
        if self.workload.process == "even":
            return [number / self.ramp_per_s for number in range(self.clients)]
        chance = random.Random(f"{self.workload.seed}:arrivals")  # noqa: S311 - no secret, as all here
        gaps_s = (chance.expovariate(self.ramp_per_s) for _ in range(self.clients))
        return list(itertools.accumulate(gaps_s))

    def modes(self) -> list[str]:
        """Return how each client talks: in the shares' proportions to within one client, in an order drawn once."""
        total = sum(self.workload.shares.values())
        quotas = [(mode, self.clients * self.workload.shares.get(mode, 0.0) / total) for mode in MODES]
        modes = [mode for mode, quota in quotas for _ in range(int(quota))]
        rest = sorted(quotas, key=lambda item: int(item[1]) - item[1])  # the largest fractions first
        modes += [mode for mode, _ in rest[: self.clients - len(modes)]]
        random.Random(f"{self.workload.seed}:modes").shuffle(modes)  # noqa: S311
        return modes

    def visits(self, first: int = 0, step: int = 1) -> Iterator[Visit]:
        """Yield all of the clients `first`, `first` + `step`, ..., in the order of their coming."""
        arrivals_s, modes = self.arrivals_s(), self.modes()
        numbers = range(first, self.clients, step)
        return heapq.merge(*(self._visits_of(number, arrivals_s[number], modes[number]) for number in numbers))

    def _visits_of(self, number: int, due_s: float, mode: str) -> Iterator[Visit]:
        workload, end_s = self.workload, due_s + self.length_s
        chance = random.Random(f"{workload.seed}:{number}")  # noqa: S311
        for turn in itertools.count():
            hold_s = end_s - due_s
            if workload.hold_s is not None:
                hold_s = min(hold_s, max(SHORTEST_VISIT_S, workload.hold_s.draw(chance)))
            yield Visit(due_s, number, turn, hold_s, mode, f"{workload.seed}:{number}:{turn}")
            due_s += hold_s + workload.away_s.draw(chance)
            if end_s - due_s < SHORTEST_VISIT_S:
                return

    def end_s(self) -> float:
        """Return when the last client has gone, from the beginning; the ends of sessions not counted."""
        return (max(self.arrivals_s()) if self.clients else 0.0) + self.length_s
