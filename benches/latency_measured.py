"""What one contender of latency.py took, message by message, and how two of them compare."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .latency_child import Times
from .rig.harness import Report, percentile

STAGES = {
    "ours": ("block_and_filter", "wake_up", "encode", "write", "server"),
    "usual": ("wake_up", "convert", "encode", "write", "server"),
    "floor": ("wake_up", "encode", "write", "server"),
    "trio": ("wake_up", "server"),
}
STAGES["large_pages"] = STAGES["ours"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender's run."""

    contender: str
    times: Times
    lost_samples: float
    group_delay_s: float
    longest_hold_s: float

    def stage_s(self, name: str) -> list[float]:
        at = STAGES[self.contender].index(name)
        return [max(0.0, times[at + 1] - times[at]) for times in self.times]

    @property
    def ready_to_written_s(self) -> list[float]:
        """Without the usual pipeline's conversion, as ours has been done by then."""
        if self.contender != "usual":
            return [times[-2] - times[STAGES[self.contender].index("wake_up")] for times in self.times]
        return [written - came - (framed - awake) for came, awake, framed, _, written, _ in self.times]

    @property
    def ready_to_server_s(self) -> list[float]:
        return [sent + (times[-1] - times[-2]) for sent, times in zip(self.ready_to_written_s, self.times, strict=True)]

    @property
    def ready_to_server_with_conversion_s(self) -> list[float]:
        return [times[-1] - times[STAGES[self.contender].index("wake_up")] for times in self.times]


def pooled(rounds: Sequence[Measured]) -> Measured:
    """All messages of a contender's turns as if they were of one."""
    first = rounds[0]
    return Measured(
        first.contender,
        [times for turn in rounds for times in turn.times],
        sum(turn.lost_samples for turn in rounds),
        first.group_delay_s,
        max(turn.longest_hold_s for turn in rounds),
    )


Contender = tuple[str, str]
"""Its name, and ws or wss."""
Runs = dict[Contender, Measured]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours over another's, both over wss: a figure for each percentile, with its goal."""

    name: str
    over: str
    of: Callable[[Measured], list[float]]
    goals: Mapping[int, float | None] = field(default_factory=lambda: {50: None, 99: None})

    def at(self, percent: int, ours: Measured, other: Measured) -> float:
        return percentile(self.of(ours), percent) / percentile(self.of(other), percent)


RATIOS = (
    # A goal in microseconds would tell the machine, and one of a rival's return its work after the system call.
    Ratio("ready to server, idle, wss, ours to usual", "usual", lambda run: run.ready_to_server_s, {50: 0.8, 99: 0.5}),
    Ratio(
        "ready to server, idle, wss, ours to usual with its conversion",
        "usual",
        lambda run: run.ready_to_server_with_conversion_s,
    ),
    Ratio("ready to written, idle, wss, ours to usual", "usual", lambda run: run.ready_to_written_s),
    Ratio("ready to written, idle, wss, ours over the floor", "floor", lambda run: run.ready_to_written_s, {50: 2.2}),
    Ratio("ready to server, idle, wss, ours over the floor", "floor", lambda run: run.ready_to_server_s, {50: None}),
)


def add_ratios(report: Report, turns: Mapping[Contender, Sequence[Measured]]) -> None:
    """Of all messages of each; their repeats are the rounds, in each of which both met the same machine."""
    for ratio in RATIOS:
        ours, others = turns["ours", "wss"], turns.get((ratio.over, "wss"), ())
        if not any(turn.times for turn in ours) or not any(turn.times for turn in others):
            continue  # what lacks has been named
        for percent, goal in ratio.goals.items():
            value = ratio.at(percent, pooled(ours), pooled(others))
            rounds = [ratio.at(percent, *pair) for pair in zip(ours, others, strict=True) if all(r.times for r in pair)]
            report.at_most(f"{ratio.name}, p{percent}", value, "ratio", goal, rounds)
