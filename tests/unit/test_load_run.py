"""A run's own rules, with workers that are played, in virtual time: nobody is waited for without a limit."""

import math
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from ravatar_audio.errors import SettingsError
from ravatar_audio.load import LoadPlan, LoadRun, Progress, Requirement, Worker, Workload
from ravatar_audio.load.report import page, progress_line, text
from ravatar_audio.load.tally import Second
from ravatar_audio.load.workers import MakeSpec
from ravatar_audio.settings import Settings


@pytest.fixture(autouse=True)
def _same_clock(monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock) -> None:
    monkeypatch.setattr(time, "time", lambda: 1e9 + autojump_clock.current_time())


class Played(Worker):
    """Beats each second until its run is over, unless something happens to it."""

    def __init__(self, name: str, clients: int, length_s: float, **happens: Any) -> None:
        self.name, self._clients, self._length_s = name, clients, length_s
        self.happens = happens
        self._put, self._lines = trio.open_memory_channel[dict[str, Any]](math.inf)
        self.said: list[dict[str, Any]] = []
        self.is_killed = False
        self.begun_s = math.nan
        self._stop = trio.Event()
        if "failed" in happens:
            self._put.send_nowait({"failed": happens["failed"]})
        elif "mute" not in happens:
            self._put.send_nowait({"ready": {"host": name, "clients": clients}})

    async def send(self, line: dict[str, Any]) -> None:
        self.said.append(line)
        if "ping" in line:
            self._put.send_nowait({"pong": line["ping"], "time_s": time.time() + self.happens.get("offset_s", 0.0)})
        if "begin_s" in line:
            self.begun_s = line["begin_s"] - self.happens.get("offset_s", 0.0)
            self.nursery.start_soon(self._beat)
        if "stop" in line:
            self._stop.set()

    nursery: trio.Nursery

    async def _beat(self) -> None:
        await trio.sleep(self.begun_s - time.time())
        for number in range(round(self._length_s)):
            with trio.move_on_after(1.0):
                await self._stop.wait()
                break
            if number == self.happens.get("dies_at"):
                self._put.close()
                return
            if number >= self.happens.get("silent_from", math.inf):
                await trio.sleep_forever()
            second = Second()
            second.counts.update(messages=4, clients_up=self._clients, started=1)
            second.record("message_lateness", 0.002)
            second.record("own_lateness", self.happens.get("late_s", 0.001))
            self._tell({str(number): second.as_dict()})
        if self.happens.get("never_done"):
            while True:
                self._tell({})
                await trio.sleep(1.0)
        self._put.send_nowait({"done": True})

    def _tell(self, seconds: dict[str, Any]) -> None:
        beat = {"clients_up": self._clients, "cpu": self.happens.get("cpu", 0.3), "cpu_s": 1.0, "steal": 0.0}
        self._put.send_nowait({"beat": beat | {"memory_mb": 50.0, "seconds": seconds}})

    async def receive(self) -> dict[str, Any] | None:
        try:
            return await self._lines.receive()
        except trio.EndOfChannel:
            return None

    async def kill(self) -> None:
        self.is_killed = True

    async def end_remains(self, settings: Settings) -> tuple[int, int]:
        remains: tuple[int, int] = self.happens.get("remains", (0, 0))
        return remains


PLAN = LoadPlan({"api_url": "http://127.0.0.1:9"}, clients=4, ramp_per_s=2.0, minutes=0.25)


def opening(*workers: Played) -> Callable[[MakeSpec], Any]:
    @asynccontextmanager
    async def open_workers(make_spec: MakeSpec) -> AsyncIterator[list[Worker]]:
        async with trio.open_nursery() as nursery:
            for worker in workers:
                worker.nursery = nursery
            yield list(workers)
            nursery.cancel_scope.cancel()

    return open_workers


async def test_all_workers_begin_at_one_moment_each_by_its_own_clock(autojump_clock: trio.testing.MockClock) -> None:
    workers = [Played("a", 2, 17, offset_s=0.0), Played("b", 2, 17, offset_s=0.7)]
    progress: list[Progress] = []
    result = await LoadRun(PLAN, opening(*workers)).run(progress.append)
    assert workers[0].begun_s == pytest.approx(workers[1].begun_s, abs=1e-3)
    assert result.counts()["messages"] == 2 * 4 * 17
    assert result.counts()["lost_workers"] == 0
    assert result.workers[1].clocks[0].offset_s == pytest.approx(0.7, abs=1e-3)
    assert len(result.workers[1].clocks) == 2, "and asked again in the run"
    assert [item.second for item in progress] == list(range(17))
    assert progress[5].clients_up == 4
    assert progress[5].messages == 8, "a second is shown when all have told of it"
    assert result.overload is None
    assert "4/4 up" in progress_line(progress[5], 4)


@pytest.mark.parametrize(
    ("happens", "why"),
    [({"dies_at": 5}, "it ended"), ({"silent_from": 5}, "silent for 5 s"), ({"never_done": True}, "deadline")],
    ids=["dies", "silent", "never done"],
)
async def test_a_worker_that_is_lost_costs_its_clients_and_not_the_run(
    happens: dict[str, Any], why: str, autojump_clock: trio.testing.MockClock
) -> None:
    workers = [Played("good", 2, 17), Played("bad", 2, 17, remains=(1, 1), **happens)]
    with trio.fail_after(17 + 30 + 6 + 1):
        result = await LoadRun(PLAN, opening(*workers)).run()
    good, bad = result.workers
    assert good.is_done
    assert why in str(bad.lost)
    assert workers[1].is_killed
    counts = result.counts()
    assert (counts["lost_workers"], counts["lost_clients"]) == (1, 2)
    assert counts["sessions_unended"] == 1, "what could not be ended in its place"
    seconds_of_bad = happens.get("dies_at", happens.get("silent_from", 17))
    assert counts["messages"] == 4 * (17 + seconds_of_bad), "what it told until then counts"
    told = text(result.as_dict())
    assert "bad on bad: 2 clients" in told
    assert "LOST at" in told


@pytest.mark.parametrize(
    ("happens", "named"),
    [
        ({"failed": "no such file"}, "no such file"),
        ({"mute": True}, "before it was ready"),
        ({"offset_s": -3.0}, "clock is -3.00 s"),
    ],
    ids=["failed", "mute", "clock"],
)
async def test_a_worker_that_is_not_fit_ends_the_run_before_it_begins(
    happens: dict[str, Any], named: str, autojump_clock: trio.testing.MockClock
) -> None:
    workers = [Played("good", 2, 17), Played("bad", 2, 17, **happens)]
    with pytest.raises(BaseExceptionGroup) as raised:
        await LoadRun(PLAN, opening(*workers)).run()
    assert raised.group_contains(SettingsError, match=named)
    assert not any("begin_s" in line for worker in workers for line in worker.said)


async def test_a_run_that_is_cancelled_stops_its_workers_and_keeps_what_they_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    workers = [Played("a", 2, 17), Played("b", 2, 17, silent_from=0)]
    run = LoadRun(PLAN, opening(*workers))
    began_s = trio.current_time()
    with trio.move_on_after(4.5) as scope:
        await run.run()
    assert scope.cancelled_caught
    assert trio.current_time() - began_s < 4.5 + 16.0
    assert all({"stop": True} in worker.said for worker in workers)
    assert run.result.is_interrupted
    assert run.result.counts()["messages"] >= 12
    assert "interrupted" in text(run.result.as_dict())


@pytest.mark.parametrize(
    ("happens", "named"),
    [({"late_s": 0.4}, r"40\d ms at p99"), ({"cpu": 0.97}, "97 % of a core")],
    ids=["late", "busy"],
)
async def test_a_generator_that_is_overloaded_says_so_and_meets_no_requirement_of_time(
    happens: dict[str, Any], named: str, autojump_clock: trio.testing.MockClock
) -> None:
    requirements = [Requirement.parse(item) for item in ("p99(message_lateness) < 1s", "errors == 0")]
    result = await LoadRun(PLAN, opening(Played("a", 4, 17, **happens))).run()
    assert re.search(named, str(result.overload))
    assert [verdict.is_met for verdict in result.judge(requirements)] == [False, True]
    told = result.as_dict(requirements)
    assert "GENERATOR OVERLOADED" in text(told)
    assert "NOT MET" in page(told)
    good = await LoadRun(PLAN, opening(Played("a", 4, 17))).run()
    assert [verdict.is_met for verdict in good.judge(requirements)] == [True, True]


@pytest.mark.parametrize(
    "values", [(0, 1.0, 1.0), (1, 0.0, 1.0), (1, 1.0, 0.0), (1, math.inf, 1.0), (1, 1.0, math.nan)]
)
def test_a_plan_of_nothing_is_refused(values: tuple[int, float, float]) -> None:
    with pytest.raises(SettingsError, match="above 0"):
        LoadPlan({"api_url": "http://localhost"}, *values)


def test_a_setting_that_does_not_exist_is_refused_before_anything_starts() -> None:
    with pytest.raises((SettingsError, TypeError)):
        LoadPlan({"api_url": "http://localhost"}, 1, 1.0, 1.0, Workload(settings={"widht": 3}))
