"""What a run has shown: merged from what its workers told each second, so that one that dies takes nothing along."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ravatar_audio.load.machine_clock import ClockOffset
from ravatar_audio.load.requirements import Judgement, Requirement
from ravatar_audio.load.tally import PHASES, Second, total
from ravatar_audio.observe.histogram import Histogram

OVERLOAD_P99_S: Final = 0.020
OVERLOAD_CPU: Final = 0.9
"""Of one core, for a whole second: beyond either, the generator is what was measured."""

STEADY_S: Final = 2.0
"""From the beginning: so long a late generator is taken to be warming up."""


@dataclass(slots=True)
class WorkerResult:
    """One worker's part."""

    name: str
    clients: int
    machine: Mapping[str, Any] = field(default_factory=dict)
    clocks: list[ClockOffset] = field(default_factory=list)
    """At the beginning, and later ones."""
    clients_up: int = 0
    cpu: list[float] = field(default_factory=list)
    """Share of a core, of each second."""
    cpu_s: float = 0.0
    steal: float = 0.0
    """Most of a second that the hypervisor took, in cores."""
    memory_mb: float = 0.0
    is_done: bool = False
    lost: str | None = None
    """Why it is lost; its numbers until then count."""
    lost_at_s: float | None = None
    lost_clients: int = 0
    remains: tuple[int, int] = (0, 0)
    """Live sessions of a lost worker that were ended in its place, and that could not be."""

    def note_beat(self, beat: Mapping[str, Any]) -> None:
        """Note what it has reported."""
        self.clients_up = int(beat["clients_up"])
        self.cpu_s = float(beat["cpu_s"])
        self.memory_mb = float(beat["memory_mb"])
        self.steal = max(self.steal, float(beat["steal"]))
        if beat["cpu"]:
            self.cpu.append(float(beat["cpu"]))


class LoadResult:
    """Grows while the run goes on."""

    def __init__(self, described: Mapping[str, Any], clients: int) -> None:
        self.described: dict[str, Any] = dict(described)
        """What was asked for."""
        self.clients = clients
        self.began_at: datetime | None = None
        self.seconds: dict[int, Second] = {}
        self.workers: list[WorkerResult] = []
        self.is_interrupted = False
        self.is_over_deadline = False

    def note_seconds(self, seconds: Mapping[str, Any]) -> None:
        """Note a worker's finished seconds; any of them may come again with more in it."""
        for number, data in seconds.items():
            self.seconds.setdefault(int(number), Second()).add(Second.from_dict(data))

    def whole(self) -> Second:
        """Return all seconds in one."""
        return total(self.seconds.values())

    def counts(self) -> dict[str, int]:
        """Return the counts of the whole run, with those that may be required."""
        counts = dict(self.whole().counts)
        counts.pop("clients_up", None)
        lost = [worker for worker in self.workers if worker.lost is not None]
        left = sum(worker.remains[1] for worker in lost)
        return counts | {
            "clients": max((second.counts["clients_up"] for second in self.seconds.values()), default=0),
            "lost_workers": len(lost),
            "lost_clients": sum(worker.lost_clients for worker in lost),
            "sessions_unended": counts.get("sessions_unended", 0) + left,
        }

    @property
    def overload(self) -> str | None:
        """Why the generator itself was too slow, so that its times are not the platform's; None: it was not."""
        late = Histogram()
        for number, second in self.seconds.items():
            if number >= STEADY_S and (histogram := second.times.get("own_lateness")) is not None:
                late.add(histogram)
        busiest = max((cpu for worker in self.workers for cpu in worker.cpu), default=0.0)
        p99_s = late.percentile_s(0.99) if late.count else 0.0
        if p99_s > OVERLOAD_P99_S:
            most = 1000 * OVERLOAD_P99_S
            return f"its own lateness is {1000 * p99_s:.0f} ms at p99; it must be no more than {most:.0f}"
        if busiest > OVERLOAD_CPU:
            most = 100 * OVERLOAD_CPU
            return f"a worker took {100 * busiest:.0f} % of a core for a second; it must be no more than {most:.0f}"
        return None

    def judge(self, requirements: Sequence[Requirement]) -> list[Judgement]:
        """Judge each of them; what is about time is not met by an overloaded generator, which has not measured it."""
        whole, counts = self.whole(), self.counts()
        verdicts = [requirement.judge(whole.times, counts) for requirement in requirements]
        if self.overload is None:
            return verdicts
        return [
            Judgement(item.requirement, item.value, False) if item.requirement.is_of_time else item for item in verdicts
        ]

    def as_dict(self, requirements: Sequence[Requirement] = ()) -> dict[str, Any]:
        """Return it for JSON: everything, with the histograms of the whole run."""
        whole = self.whole()
        return {
            "run": self.described | {"began_at": self.began_at.astimezone(UTC).isoformat() if self.began_at else None},
            "counts": dict(sorted(self.counts().items())),
            "phases": {phase: _figures(whole.times[phase]) for phase in PHASES if phase in whole.times},
            "histograms": {phase: whole.times[phase].as_dict() for phase in PHASES if phase in whole.times},
            "generator": {
                "overload": self.overload,
                "cpu_s": round(sum(worker.cpu_s for worker in self.workers), 3),
                "busiest_second_cores": max((cpu for worker in self.workers for cpu in worker.cpu), default=0.0),
                "coordinator_cores": os.cpu_count(),
            },
            "workers": [_worker(worker) for worker in self.workers],
            "seconds": [
                {
                    "second": number,
                    "counts": dict(second.counts),
                    "phases": {phase: _figures(histogram) for phase, histogram in second.times.items()},
                }
                for number, second in sorted(self.seconds.items())
            ],
            "requirements": [
                {"requirement": item.requirement.text, "value": item.value, "shown": item.shown, "is_met": item.is_met}
                for item in self.judge(requirements)
            ],
            "is_interrupted": self.is_interrupted,
            "is_over_deadline": self.is_over_deadline,
        }


def _figures(histogram: Histogram) -> dict[str, float]:
    told = histogram.distribution()
    times_ms = {name: round(1000 * getattr(told, f"{name}_s"), 3) for name in ("p50", "p90", "p99", "p999", "max")}
    return {"count": told.count} | {f"{name}_ms": value for name, value in times_ms.items()}


def _worker(worker: WorkerResult) -> dict[str, Any]:
    return {
        "name": worker.name,
        "clients": worker.clients,
        "machine": dict(worker.machine),
        "clocks": [
            {"offset_ms": round(1000 * clock.offset_s, 3), "uncertainty_ms": round(1000 * clock.uncertainty_s, 3)}
            for clock in worker.clocks
        ],
        "cpu_s": round(worker.cpu_s, 3),
        "busiest_second_cores": round(max(worker.cpu, default=0.0), 3),
        "cores_by_second": [round(cpu, 3) for cpu in worker.cpu],
        "steal_cores": round(worker.steal, 3),
        "memory_mb": round(worker.memory_mb, 1),
        "lost": worker.lost,
        "lost_at_s": worker.lost_at_s,
        "lost_clients": worker.lost_clients,
        "ended_in_its_place": worker.remains[0],
        "left_on_the_platform": worker.remains[1],
    }
