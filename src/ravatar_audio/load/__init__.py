"""Simulated clients by the thousand, each a whole one, on one machine or many; and what they show of a platform.

draws, workload, schedule   who comes when, how long, and says what: fixed by a seed (pure)
client                      one of them, through the real sessions
tally, requirements         histograms by second and phase, merged exactly; what must have been shown (pure)
share                       a worker's part of them, as a program: lines in and out
workers, dask_workers       where shares run: processes of this machine; tasks of a Dask scheduler
run, result, report         a run, what it has shown, for people
targets, machine_clock, sizing, remains    which addresses; other machines' clocks; what a run takes; what is left over
"""

from ravatar_audio.load.draws import Draw
from ravatar_audio.load.requirements import Judgement, Requirement
from ravatar_audio.load.result import LoadResult
from ravatar_audio.load.run import LoadPlan, LoadRun, Progress
from ravatar_audio.load.schedule import Schedule, Visit
from ravatar_audio.load.sizing import Costs, Demand, demand
from ravatar_audio.load.workers import Worker, local_workers
from ravatar_audio.load.workload import Workload

__all__ = [
    "Costs",
    "Demand",
    "Draw",
    "Judgement",
    "LoadPlan",
    "LoadResult",
    "LoadRun",
    "Progress",
    "Requirement",
    "Schedule",
    "Visit",
    "Worker",
    "Workload",
    "demand",
    "local_workers",
]
