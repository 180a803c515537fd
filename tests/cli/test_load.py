"""Load runs against the emulator, with real worker processes: none is missed, and nothing is left behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import distributed
import pytest
import trio

from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.load import LoadPlan, LoadRun, Progress, Workload, local_workers
from ravatar_audio.load.dask_workers import dask_workers
from ravatar_audio.load.remains import licence_folder
from ravatar_audio.load.share import Spec
from ravatar_audio.load.workers import COMMAND, LocalWorker, MakeSpec, Worker
from tests.session.examples import examples, fragment, page

PLATFORM = EmulatorSettings(slots=100)
ALL_WAYS = {"clients": {"open": 2, "ptt": 1, "vad": 1, "chat": 1}}
QUICK = {"speech": {"length_s": 1.0, "pause_s": 1.0, "lead_s": 0}, "sessions": {"linger_s": 1.5}}


def plan_for(emulator: Emulator, count: int, seconds: float, **tables: Any) -> LoadPlan:
    workload = Workload.parse(QUICK | tables)
    return LoadPlan({"api_url": emulator.api_url}, count, 20.0, seconds / 60, workload)


async def test_clients_of_every_kind_are_whole_ones_and_all_is_counted() -> None:
    async with Emulator(PLATFORM) as emulator:
        plan = plan_for(emulator, 15, 6.0, **ALL_WAYS)
        result = await LoadRun(plan, partial(local_workers, count=2)).run()
        heard = emulator.statistics()
    told = result.as_dict()
    counts = told["counts"]
    assert (counts["started"], counts["ended"], counts.get("failed", 0)) == (15, 15, 0)
    assert (heard.violation_count, heard.slots_free) == (0, 100)
    assert counts["messages"] == sum(item.messages for item in heard.connections), "each message came"
    assert counts["replies"] == sum(item.replies for item in heard.connections) - len(heard.connections)  # greetings
    assert counts["taken_samples"] == counts["acknowledged_samples"]
    assert heard.tokens_issued == 15
    phases = told["phases"]
    assert [phases[name]["count"] for name in ("token", "connection", "link", "ready")] == [15] * 4
    assert [phases[name]["count"] for name in ("start", "end")] == [len(heard.live)] * 2 == [12] * 2
    assert phases["message_lateness"]["count"] == counts["messages"]
    assert 0 < phases["first_reply"]["count"] <= counts["utterances"]
    assert sum(live.turns for live in heard.live) >= 12, "push-to-talk and voice activity end their turns"
    assert [worker["clients"] for worker in told["workers"]] == [8, 7]
    assert all(worker["clocks"][0]["uncertainty_ms"] < 1_000 for worker in told["workers"])
    assert "eyJ" not in json.dumps(told)


async def test_the_pages_example_runs_as_it_stands_but_smaller() -> None:
    (example,) = examples(page("docs/howto/load.md"))
    async with Emulator(PLATFORM) as emulator:
        for shown, here in (("http://127.0.0.1:8642", emulator.api_url), ("clients=200", "clients=4")):
            assert example.count(shown) == 1
            example = example.replace(shown, here)
        assert example.count("minutes=1,") == 1
        result, verdicts = await fragment(example.replace("minutes=1,", "minutes=0.1,"), "result, verdicts")()
    assert result.as_dict()["counts"]["started"] == 4
    assert [verdict.requirement.text for verdict in verdicts] == ["p99(first_reply) < 800ms"]


@asynccontextmanager
async def handing_over(found: list[LocalWorker], count: int, make_spec: MakeSpec) -> AsyncIterator[list[Worker]]:
    async with local_workers(make_spec, count) as workers:
        found += [worker for worker in workers if isinstance(worker, LocalWorker)]
        yield workers


async def test_a_worker_that_is_killed_costs_its_clients_and_leaves_no_session_behind() -> None:
    async with Emulator(PLATFORM) as emulator:
        found: list[LocalWorker] = []
        run = LoadRun(plan_for(emulator, 12, 8.0), partial(handing_over, found, 3))

        def strike(progress: Progress) -> None:
            if progress.second == 3 and found[1].process.poll() is None:
                found[1].process.kill()

        result = await run.run(strike)
        assert emulator.statistics().slots_free == 100, "the sessions of the dead one are ended in its place"
        ended = [live.state for live in emulator.statistics().live]
    lost = result.workers[1]
    assert lost.lost == "it ended"
    assert (lost.lost_clients, lost.remains) == (4, (4, 0))
    assert [worker.is_done for worker in result.workers] == [True, False, True]
    assert ended == ["ended"] * 12
    counts = result.counts()
    assert (counts["ended"], counts["lost_clients"], counts["sessions_unended"]) == (8, 4, 0)
    assert counts["started"] == 12, "what it told before counts"


async def test_a_generator_that_stalls_is_told_from_a_slow_platform() -> None:
    async with Emulator(PLATFORM) as emulator:
        found: list[LocalWorker] = []
        run = LoadRun(plan_for(emulator, 6, 8.0), partial(handing_over, found, 1))

        async with trio.open_nursery() as nursery:

            async def stall() -> None:
                found[0].process.send_signal(signal.SIGSTOP)
                await trio.sleep(1.5)
                found[0].process.send_signal(signal.SIGCONT)

            def strike(progress: Progress) -> None:
                if progress.second == 3:
                    nursery.start_soon(stall)

            result = await run.run(strike)
    assert result.overload is not None
    assert re.search(r"own lateness is \d{3,4} ms at p99", result.overload)
    assert result.workers[0].is_done
    own = result.whole().times["own_lateness"].distribution()
    assert own.max_s > 1.0
    told = result.as_dict()
    slow = [item["second"] for item in told["seconds"] if item["phases"].get("own_lateness", {}).get("max_ms", 0) > 500]
    assert len(slow) <= 3, "and it shows when"


async def test_workers_whose_coordinator_is_gone_end_their_sessions() -> None:
    async with Emulator(PLATFORM) as emulator:
        command = [sys.executable, "-m", "ravatar_audio", "load", "--clients", "6", "--ramp", "20", "--minutes", "1"]
        process = await trio.lowlevel.open_process(
            [*command, "--api-url", emulator.api_url], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        with trio.fail_after(60.0):
            while len(emulator.statistics().live) < 6:  # noqa: ASYNC110 - the emulator has no event for it
                await trio.sleep(0.05)
            process.kill()
            await process.wait()
            while emulator.statistics().slots_free < 100:  # noqa: ASYNC110
                await trio.sleep(0.05)


async def test_an_interrupt_ends_every_session_and_shows_what_there_was(tmp_path: Path) -> None:
    async with Emulator(PLATFORM) as emulator:
        (tmp_path / "load.toml").write_text("[clients]\nopen = 1\nchat = 1\n[speech]\nlead_s = 0\n")
        command = [sys.executable, "-m", "ravatar_audio", "load", "--clients", "8", "--ramp", "20", "--minutes", "1"]
        options = ["--workload", str(tmp_path / "load.toml"), "--json", str(tmp_path / "r.json")]
        options += ["--report", str(tmp_path / "r.html"), "--workers", "2", "--api-url", emulator.api_url]
        async with trio.open_nursery() as nursery:
            process = await nursery.start(
                partial(trio.run_process, [*command, *options], capture_stdout=True, capture_stderr=True, check=False)
            )
            with trio.fail_after(60.0):
                while sum(item.messages for item in emulator.statistics().connections) < 30:  # noqa: ASYNC110
                    await trio.sleep(0.05)
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 130
        heard = emulator.statistics()
        assert heard.slots_free == 100
        assert {live.state for live in heard.live} == {"ended"}
        assert {item.client_close_code for item in heard.connections} == {1000}
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["is_interrupted"]
    assert result["counts"]["messages"] >= 30, "what was counted before it is not lost"
    assert "<svg" in (tmp_path / "r.html").read_text()


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "ravatar_audio", "load", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)


def test_an_address_that_is_not_private_is_refused() -> None:
    ended = command("--clients", "1", "--api-url", "https://192.0.2.7")
    assert ended.returncode == 2
    assert "--i-may-load 192.0.2.7" in ended.stderr


def test_the_plan_is_shown_without_running_it() -> None:
    ended = command("--clients", "10000", "--ramp", "100", "--plan", "--api-url", "https://192.0.2.7")
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"peak clients +[56],\d{3}", ended.stdout)


async def test_the_verdict_is_the_exit_code() -> None:
    async with Emulator(PLATFORM) as emulator:
        line = ["--clients", "2", "--minutes", "0.03", "--api-url", emulator.api_url, "--quiet"]
        met = await trio.to_thread.run_sync(
            partial(command, *line, "--require", "errors == 0", "--require", "clients == 2")
        )
        assert met.returncode == 0, met.stdout + met.stderr
        missed = await trio.to_thread.run_sync(partial(command, *line, "--require", "p99(link) < 1us"))
        assert missed.returncode == 8
        assert "NOT MET  p99(link) < 1us" in missed.stdout


@asynccontextmanager
async def cluster(workers: int) -> AsyncIterator[tuple[str, list[trio.Process]]]:
    """A Dask scheduler and its workers as somebody deploys them, joined by address."""
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
    common = {"stdout": subprocess.DEVNULL, "env": environment}
    scheduler = await trio.lowlevel.open_process(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--no-show"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    started = []
    assert scheduler.stderr is not None
    try:
        told = b""
        with trio.fail_after(60.0):
            while not (found := re.search(rb"Scheduler at:\s+(tcp://\S+)", told)):
                told += await scheduler.stderr.receive_some()
        address = found[1].decode()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain, scheduler.stderr)
            for _ in range(workers):
                line = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
                line += ["--no-dashboard", "--death-timeout", "60"]
                started.append(await trio.lowlevel.open_process(line, stderr=subprocess.DEVNULL, **common))  # type: ignore[call-overload]
            yield address, started
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            for process in (*started, scheduler):
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            await scheduler.stderr.aclose()


async def _drain(stream: trio.abc.ReceiveStream) -> None:
    async for _ in stream:
        pass


async def test_a_cluster_joined_by_address_with_one_worker_killed_in_mid_run() -> None:
    async with Emulator(PLATFORM) as emulator, cluster(3) as (address, processes):
        open_client: Any = distributed.Client

        def wait() -> None:
            with open_client(address, set_as_default=False) as client:
                client.wait_for_workers(3, timeout=60)

        await trio.to_thread.run_sync(wait)
        killed: list[int] = []

        def strike(progress: Progress) -> None:
            if progress.second >= 4 and not killed:
                killed.append(progress.second)
                processes[1].kill()

        run = LoadRun(plan_for(emulator, 12, 12.0), partial(dask_workers, scheduler=address))
        with trio.fail_after(100.0):
            result = await run.run(strike)
            while emulator.statistics().slots_free < 100:  # noqa: ASYNC110 - its child ends them when its input ends
                await trio.sleep(0.1)
    assert killed
    assert sorted(worker.is_done for worker in result.workers) == [False, True, True]
    lost = next(worker for worker in result.workers if worker.lost is not None)
    assert lost.lost_clients == 4
    assert "tcp://" in lost.name, "it is named"
    counts = result.counts()
    assert (counts["started"], counts["ended"], counts["lost_workers"]) == (12, 8, 1)
    assert {live.state for live in emulator.statistics().live} == {"ended"}


async def test_a_scheduler_that_is_not_there_is_one_error() -> None:
    from ravatar_audio.errors import UnreachableError

    plan = LoadPlan({"api_url": "http://127.0.0.1:9"}, 1, 1.0, 1.0)
    with pytest.raises(UnreachableError, match=r"tcp://127\.0\.0\.1:9"):
        await LoadRun(plan, partial(dask_workers, scheduler="tcp://127.0.0.1:9")).run()


@pytest.mark.parametrize(
    ("change", "named"),
    [({"late_s": 5.0}, "late"), ({"version": "0.0.1"}, "asked by"), ({"clients": 10**7}, "descriptors")],
    ids=["late", "another version", "too many"],
)
async def test_a_share_that_is_not_fit_says_why_and_carries_nobody(change: dict[str, Any], named: str) -> None:
    async with Emulator(PLATFORM) as emulator:
        plan = plan_for(emulator, change.get("clients", 5), 2.0)

        def make_spec(number: int, count: int, folder: str) -> Spec:
            return Spec(plan.schedule, number, count, plan.as_spec_settings(), "load-", folder)

        with licence_folder() as folder:
            spec = make_spec(0, 1, folder).as_dict() | ({"version": change["version"]} if "version" in change else {})
            process = await trio.lowlevel.open_process(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            worker = LocalWorker("one", process, folder)
            await worker.send(spec)
            said: list[dict[str, Any]] = []
            with trio.fail_after(60.0):
                while (line := await worker.receive()) is not None:
                    said.append(line)
                    if "ready" in line:
                        await worker.send({"begin_s": time.time() - change["late_s"]})
            await worker.kill()
        assert any(named in str(line.get("failed")) for line in said), said
        assert emulator.statistics().tokens_issued == 0
