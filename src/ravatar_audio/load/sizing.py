"""What a run takes, on paper: its schedule is played through, and what each client costs is added up. Pure."""

import math
from collections import Counter
from dataclasses import dataclass, fields
from typing import Final

from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ
from ravatar_audio.load.schedule import Schedule

_FRAMES_PER_S: Final = RATE_HZ / FRAME_SAMPLES
_MESSAGE_BYTES: Final = 11_400
"""Of a frame on the line: base64, envelope, WebSocket and TLS (docs/latency.md); headers of TCP and IP come on top."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one client. The defaults are those measured by `python -m benches.load` on a virtual processor of 2025, over
    TLS; the bench prints this machine's."""

    frame_cpu_s: float = 125e-6
    """Of a message: session, source, counting, its part of replies."""
    session_cpu_s: float = 0.011
    """Of beginning and ending a session."""
    memory_mb: float = 0.14
    process_memory_mb: float = 70.0
    descriptors: int = 4
    ports: int = 3
    """Local ports towards the platform: WebSocket and HTTP connections."""
    busy: float = 0.6
    """Share of a core that may be used, so that the generator is on time (p99 < 5 ms)."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What the generators of a run must have, at its worst second."""

    clients: int
    visits: int
    length_s: float
    peak_clients: int
    peak_starts_per_s: int
    peak_messages_per_s: int
    peak_cpu_cores: float
    cores: int
    """To be planned: whole cores, each used to `Costs.busy`."""
    memory_mb: float
    descriptors: int
    ports: int
    """28,232 is what Linux allows towards one address and port (ip_local_port_range), from each address."""
    megabit_per_s: float

    def lines(self) -> list[str]:
        """Return the lines for people."""
        return [f"{item.name.replace('_', ' '):<22} {getattr(self, item.name):,.5g}" for item in fields(self)]


def demand(schedule: Schedule, costs: Costs | None = None) -> Demand:
    """Play the schedule through, second by second."""
    costs = costs or Costs()
    starts, ends, changes, talking = Counter[int](), Counter[int](), Counter[int](), Counter[int]()
    visits = 0
    for visit in schedule.visits():
        visits += 1
        begin, end = int(visit.due_s), int(visit.due_s + visit.hold_s)
        starts[begin] += 1
        ends[end] += 1
        changes[begin] += 1
        changes[end + 1] -= 1
        if visit.mode != "chat":  # at most: push-to-talk and voice activity send less
            talking[begin] += 1
            talking[end + 1] -= 1
    up = loud = peak_up = peak_loud = 0
    peak_cpu = 0.0
    for second in range(math.ceil(schedule.end_s()) + 2):
        up += changes[second]
        loud += talking[second]
        half_sessions = starts[second] + ends[second]
        cpu = loud * _FRAMES_PER_S * costs.frame_cpu_s + half_sessions * costs.session_cpu_s / 2
        peak_up, peak_loud, peak_cpu = max(peak_up, up), max(peak_loud, loud), max(peak_cpu, cpu)
    cores = max(1, math.ceil(peak_cpu / costs.busy))
    return Demand(
        clients=schedule.clients,
        visits=visits,
        length_s=schedule.end_s(),
        peak_clients=peak_up,
        peak_starts_per_s=max(starts.values(), default=0),
        peak_messages_per_s=round(peak_loud * _FRAMES_PER_S),
        peak_cpu_cores=peak_cpu,
        cores=cores,
        memory_mb=peak_up * costs.memory_mb + cores * costs.process_memory_mb,
        descriptors=peak_up * costs.descriptors,
        ports=peak_up * costs.ports,
        megabit_per_s=peak_loud * _FRAMES_PER_S * _MESSAGE_BYTES * 8 / 1e6,
    )
