"""A load run: workers are begun together, heard each second, and never waited for without a limit."""

import math
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import trio

from ravatar_audio.errors import SettingsError
from ravatar_audio.load.machine_clock import PINGS, ClockOffset, ClockReading
from ravatar_audio.load.result import LoadResult, WorkerResult
from ravatar_audio.load.schedule import Schedule
from ravatar_audio.load.share import GRACE_S, Spec
from ravatar_audio.load.targets import check_targets
from ravatar_audio.load.workers import MakeSpec, Worker
from ravatar_audio.load.workload import Workload
from ravatar_audio.settings import Settings

READY_LIMIT_S: Final = 120.0
"""For a worker to start, and to convert what its clients say."""

SILENT_S: Final = 5.0
"""A worker that has told nothing for so long, although it tells each second, is lost."""

LARGEST_OFFSET_S: Final = 1.0
"""Of a machine's clock from ours: beyond it, its seconds would be others than ours."""

_ASK_CLOCK_EVERY_S: Final = 5.0
_HEAD_START_S: Final = 0.3
_END_LIMIT_S: Final = 15.0
"""For all sessions' ends when the run is broken off."""

OpenWorkers = Callable[[MakeSpec], AbstractAsyncContextManager[list[Worker]]]


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is to be run. Raises SettingsError for values out of range, and for what the workload's settings are not."""

    settings: Mapping[str, Any]
    """Of every client: `api_url` at least."""
    clients: int
    ramp_per_s: float
    minutes: float
    """How long each client stays, all its visits together; the run takes that and the ramp."""
    workload: Workload = field(default_factory=Workload)
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("clients", self.clients), ("ramp", self.ramp_per_s), ("minutes", self.minutes)):
            if not (math.isfinite(value) and value > 0):
                raise SettingsError(f"{name} is {value}; it must be above 0")
        self.client_settings()

    def client_settings(self) -> Settings:
        """Return the settings as all clients have them."""
        workload = self.workload
        times = {"connect_timeout_ms": round(1000 * workload.connect_s), "slot_wait_s": workload.slot_wait_s}
        given = {"client_name": "ravatar-audio-load", "detector": "energy"} | times
        return Settings(**given | dict(workload.settings) | dict(self.settings))

    def as_spec_settings(self) -> dict[str, Any]:
        """Return the same for a worker, where they differ from the defaults."""
        plain, mine = Settings(api_url="http://localhost"), self.client_settings()
        names = plain.__dataclass_fields__
        return {name: getattr(mine, name) for name in names if getattr(mine, name) != getattr(plain, name)} | {
            "api_url": mine.api_url
        }

    @property
    def schedule(self) -> Schedule:
        """Who comes when."""
        return Schedule(self.workload, self.clients, self.ramp_per_s, 60 * self.minutes)

    def check_targets(self) -> None:
        """Raise SettingsError unless the platform may be loaded."""
        settings = self.client_settings()
        check_targets([settings.api_url, settings.websocket_url], self.allowed_hosts)

    def described(self) -> dict[str, Any]:
        """Return it for the report."""
        workload = self.workload.as_dict()
        workload["files"] = [name for name, _ in self.workload.files]
        settings = self.client_settings()
        return {
            "clients": self.clients,
            "ramp_per_s": self.ramp_per_s,
            "minutes": self.minutes,
            "seed": self.workload.seed,
            "api_url": settings.api_url,
            "workload": workload,
        }


@dataclass(frozen=True, slots=True)
class Progress:
    """A second of the run, once all workers have told of it."""

    second: int
    clients_up: int
    messages: int
    message_p99_s: float
    own_p99_s: float
    errors: int
    """Since the beginning."""
    lost_workers: int


class LoadRun:
    """Runs a plan once; `result` grows meanwhile, and is of use also when the run was cancelled.

    `silent_s`: a worker that says nothing for so long is lost. Raises SettingsError for a platform that may not be
    loaded: see `check_targets`.
    """

    def __init__(self, plan: LoadPlan, open_workers: OpenWorkers, *, silent_s: float = SILENT_S) -> None:
        plan.check_targets()
        self._plan, self._open_workers, self._silent_s = plan, open_workers, silent_s
        self.result: LoadResult = LoadResult(plan.described(), plan.clients)
        self._shown = -1
        self._on_progress: Callable[[Progress], None] = lambda progress: None
        self._begin_s = math.inf
        """By trio's clock."""

    async def run(self, on_progress: Callable[[Progress], None] = lambda progress: None) -> LoadResult:
        """Run to the end, or until cancelled: then all sessions are ended first, which takes up to 15 s.

        Raises SettingsError when no worker can be had, or one is not fit.
        """
        self._on_progress = on_progress
        prefix = f"load-{secrets.token_hex(3)}-"
        plan = self._plan

        def make_spec(number: int, count: int, folder: str) -> Spec:
            return Spec(plan.schedule, number, count, plan.as_spec_settings(), prefix, folder)

        async with self._open_workers(make_spec) as workers:
            if not workers:
                raise SettingsError("there is no worker to run clients on")
            self.result.workers = [WorkerResult(worker.name, 0) for worker in workers]
            pairs = list(zip(workers, self.result.workers, strict=True))
            is_over = False
            try:
                async with trio.open_nursery() as nursery:
                    for worker, told in pairs:
                        nursery.start_soon(self._prepare, worker, told)
                begin_s = trio.current_time() + _HEAD_START_S
                self._begin_s, self.result.began_at = begin_s, datetime.now(UTC)
                deadline_s = begin_s + plan.schedule.end_s() + GRACE_S + self._silent_s
                async with trio.open_nursery() as nursery:
                    for worker, told in pairs:
                        if told.lost is None:
                            nursery.start_soon(self._follow, worker, told, deadline_s)
                is_over = True
            finally:
                if not is_over:
                    self.result.is_interrupted = True
                    await self._stop_all(pairs)
        return self.result

    async def _stop_all(self, pairs: list[tuple[Worker, WorkerResult]]) -> None:
        with trio.move_on_after(_END_LIMIT_S, shield=True):
            async with trio.open_nursery() as nursery:
                for worker, told in pairs:
                    nursery.start_soon(self._stop, worker, told)

    async def _prepare(self, worker: Worker, told: WorkerResult) -> None:
        with trio.move_on_after(READY_LIMIT_S):
            while (line := await worker.receive()) is not None:
                if "failed" in line:
                    raise SettingsError(f"{worker.name}: {line['failed']}")
                if "ready" in line:
                    told.machine, told.clients, told.name = line["ready"], line["ready"]["clients"], worker.name
                    readings = [await self._ask_clock(worker, number) for number in range(PINGS)]
                    told.clocks.append(offset := ClockOffset.best_of(readings))
                    if abs(offset.offset_s) - offset.uncertainty_s > LARGEST_OFFSET_S:
                        raise SettingsError(
                            f"{worker.name}: its clock is {offset.offset_s:+.2f} s from this machine's",
                            advice="Set both by NTP: each second of the run is to be the same on all machines.",
                        )
                    return
        raise SettingsError(f"{worker.name} ended, or was silent for {READY_LIMIT_S:g} s, before it was ready")

    async def _ask_clock(self, worker: Worker, number: int) -> ClockReading:
        sent_s = time.time()
        await worker.send({"ping": number})
        while (line := await worker.receive()) is not None:
            if line.get("pong") == number:
                return ClockReading(sent_s, time.time(), line["time_s"])
        raise SettingsError(f"{worker.name} ended before the run")

    async def _follow(self, worker: Worker, told: WorkerResult, deadline_s: float) -> None:
        """Hear it until it is done, or lost: the end of its lines, silence, or the run's own deadline."""
        begins_in_s = self._begin_s - trio.current_time()
        await worker.send({"begin_s": time.time() + begins_in_s + told.clocks[0].offset_s})
        asked_s, ping, sent_s = trio.current_time(), PINGS, 0.0
        silent_at_s = self._begin_s + self._silent_s
        while True:
            with trio.move_on_at(min(deadline_s, silent_at_s)) as patience:
                line = await worker.receive()
            if patience.cancelled_caught:
                is_too_late = trio.current_time() >= deadline_s
                self.result.is_over_deadline = self.result.is_over_deadline or is_too_late
                why = "the run's deadline has passed" if is_too_late else f"it was silent for {self._silent_s:g} s"
                await self._lose(worker, told, why)
                return
            if line is None:
                await self._lose(worker, told, "it ended")
                return
            silent_at_s = trio.current_time() + self._silent_s
            if "failed" in line:
                await self._lose(worker, told, str(line["failed"]))
                return
            if line.get("pong") == ping:
                told.clocks = [
                    *told.clocks[:1],
                    ClockOffset.best_of([ClockReading(sent_s, time.time(), line["time_s"])]),
                ]
                ping += 1
            if "beat" in line:
                told.note_beat(line["beat"])
                self.result.note_seconds(line["beat"]["seconds"])
                self._show()
                if trio.current_time() - asked_s >= _ASK_CLOCK_EVERY_S:
                    asked_s, sent_s = trio.current_time(), time.time()
                    await worker.send({"ping": ping})
            if "done" in line:
                told.is_done, told.clients_up = True, 0
                self._show()
                return

    async def _lose(self, worker: Worker, told: WorkerResult, why: str) -> None:
        told.lost, told.lost_at_s = why, round(trio.current_time() - self._begin_s, 1)
        told.lost_clients, told.clients_up = told.clients_up, 0
        await worker.kill()
        told.remains = await worker.end_remains(self._plan.client_settings())

    async def _stop(self, worker: Worker, told: WorkerResult) -> None:
        """Let it end its sessions; what it tells until then counts."""
        if told.is_done or told.lost is not None:
            return
        await worker.send({"stop": True})
        while (line := await worker.receive()) is not None:
            if "beat" in line:
                told.note_beat(line["beat"])
                self.result.note_seconds(line["beat"]["seconds"])
            if "done" in line:
                return

    def _show(self) -> None:
        """The newest second that every living worker has told of."""
        living = [worker for worker in self.result.workers if worker.lost is None and not worker.is_done]
        if not self.result.seconds:
            return
        number = max(self.result.seconds) - (1 if len(self.result.workers) > 1 and living else 0)
        if number <= self._shown or number not in self.result.seconds:
            return
        self._shown = number
        second = self.result.seconds[number]
        late, own = second.times.get("message_lateness"), second.times.get("own_lateness")
        self._on_progress(
            Progress(
                number,
                sum(worker.clients_up for worker in self.result.workers),
                second.counts["messages"],
                late.percentile_s(0.99) if late else 0.0,
                own.percentile_s(0.99) if own else 0.0,
                sum(item.counts["errors"] for item in self.result.seconds.values()),
                sum(worker.lost is not None for worker in self.result.workers),
            )
        )
