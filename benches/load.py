"""How many whole clients does one core carry in a load run, and is the generator on time? Beside the usual harnesses.

A client fetches its token, starts a live session, opens its WebSocket and speaks in real time, over TLS. The platform
is the emulator's mode for load, with a core of its own. The generator has the other one; both have real-time priority
where the system grants that. `ours` is `ravatar-audio load` with one worker. Beside it run the same harness written the
usual way (asyncio, aiohttp, websockets; a task and a timer for each client) and a user class of Locust
(websocket-client), where that is installed. Measured is what lies between the last client's coming and the first one's
going: CPU of the generator's process, and p99 of how late a frame's task ran. A core saturated carries as many clients
as there were over the share of it that they took. Then a cluster of three workers joined by address, one of them killed
in mid-run; and 10,000 clients for 60 s on paper, by a simulation of their schedule, with the costs measured here.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import trio
import trustme

from ravatar_audio.load import Costs, LoadPlan, LoadRun, Progress, Schedule, Workload, demand, local_workers
from ravatar_audio.load.workers import LocalWorker, MakeSpec, Worker
from ravatar_audio.observe.histogram import Histogram

from .rig.harness import Report, progress, running, this_module
from .rig.sink import take_core
from .rivals.load_window import SETTLE_S

RAMP = 40.0
ON_TIME_S = 0.005
HERE = Path(__file__).parent
PACKAGE_COMMAND = (sys.executable, "-m", "ravatar_audio")


def urgent(core: int) -> None:
    """In a child, before its program."""
    take_core(core, real_time=True)


@contextmanager
def platform(folder: str) -> Iterator[tuple[str, str]]:
    """The emulator's mode for load on the second core; its address and authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(Path(folder, "ca.pem"))
    pair = authority.issue_cert("localhost", "127.0.0.1")
    chain = b"".join(item.bytes() for item in pair.cert_chain_pems)
    Path(folder, "server.pem").write_bytes(pair.private_key_pem.bytes() + chain)
    line = [*PACKAGE_COMMAND, "emulator", "--load", "--port", "0", "--slots", "100000"]
    line += ["--tls", str(Path(folder, "server.pem"))]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, preexec_fn=partial(urgent, 1)) as process:
        assert process.stderr is not None
        port = process.stderr.readline().partition("127.0.0.1:")[2].split()[0]
        try:
            yield f"https://localhost:{port}", str(Path(folder, "ca.pem"))
        finally:
            process.kill()


@asynccontextmanager
async def pinned(make_spec: MakeSpec) -> AsyncIterator[list[Worker]]:
    """One worker, on the first core; this process, which hears it, is on the other."""
    async with local_workers(make_spec, 1) as workers:
        worker = workers[0]
        assert isinstance(worker, LocalWorker)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(worker.process.pid, {0})
            with contextlib.suppress(PermissionError):
                os.sched_setscheduler(worker.process.pid, os.SCHED_FIFO, os.sched_param(10))
        yield workers


def ours(url: str, ca: str, clients: int, seconds: float) -> dict[str, float]:
    """One level of ours."""
    length_s = clients / RAMP + seconds + 2 * SETTLE_S
    workload = Workload.parse({"sessions": {"linger_s": 0.1}})
    plan = LoadPlan({"api_url": url, "ca_file": ca}, clients, RAMP, length_s / 60, workload)
    result = trio.run(LoadRun(plan, pinned).run)
    begin = round(clients / RAMP + SETTLE_S)
    late, frames = Histogram(), 0
    window = range(begin, begin + round(seconds))
    for number in window:
        if (second := result.seconds.get(number)) is not None:
            late.add(second.times["own_lateness"])
            frames += second.counts["messages"]
    cores = result.workers[0].cpu[window.start : window.stop]
    counts = result.counts()
    return {
        "cores": sum(cores) / len(cores),
        "p99_s": late.percentile_s(0.99),
        "frames": frames,
        "failed": counts.get("failed", 0),
        "memory_mb": result.workers[0].memory_mb,
    }


def rival(command: list[str], environment: dict[str, str], limit_s: float) -> dict[str, float]:
    """One level of another harness."""
    ended = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        timeout=limit_s, check=False, preexec_fn=partial(urgent, 0), cwd=HERE.parent,
    )  # fmt: skip
    told: dict[str, float] = json.loads(next(line for line in ended.stdout.splitlines() if line.startswith("{")))
    return told


def usual(url: str, ca: str, clients: int, seconds: float) -> dict[str, float]:
    """One level of asyncio and websockets."""
    command = this_module("rivals.load_usual", url, ca, clients, RAMP, seconds)
    return rival(command, {}, 120 + clients / RAMP + seconds)


def by_locust(url: str, ca: str, clients: int, seconds: float) -> dict[str, float]:
    """One level of Locust."""
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "rivals" / "load_locust.py"), "--headless"]
    command += ["-u", str(clients), "-r", str(RAMP), "-H", url, "--only-summary", "--exit-code-on-error", "0"]
    values = {"CA": ca, "CLIENTS": str(clients), "RAMP": str(RAMP), "SECONDS": str(seconds)}
    environment = {f"LOAD_{name}": value for name, value in values.items()}
    return rival(command, environment, 120 + clients / RAMP + seconds)


def measure(report: Report, quick: bool) -> float:
    """All contenders, each at its levels; the CPU of a frame of ours at its largest."""
    seconds = 5.0 if quick else 8.0
    contenders = {
        "ours": (ours, (300,) if quick else (600, 1_200, 1_600)),
        "asyncio + websockets": (usual, (100,) if quick else (200, 400)),
        "Locust": (by_locust, (50,) if quick else (100, 200)),
    }
    saturated: dict[str, float | None] = {}
    frame_cpu_s = Costs().frame_cpu_s
    with tempfile.TemporaryDirectory() as folder, platform(folder) as (url, ca):
        take_core(1)
        for position, (name, (contender, levels)) in enumerate(contenders.items()):
            if name == "Locust" and importlib.util.find_spec("locust") is None:
                report.lacks("Locust", "it is not installed: pip install locust")
                continue
            on_time = 0
            for clients in levels:
                progress(position / len(contenders), f"{name}, {clients} clients")
                try:
                    told = contender(url, ca, clients, seconds)
                except (subprocess.TimeoutExpired, StopIteration, RuntimeError) as error:
                    report.lacks(f"{name}, {clients} clients", f"it did not come to its end: {type(error).__name__}")
                    break
                report.at_most(f"{name}, {clients} clients: own lateness p99", told["p99_s"] * 1e3, "ms", None)
                report.at_most(f"{name}, {clients} clients: failed", told["failed"], "clients", 0)
                per_frame_s = told["cores"] * seconds / max(1, told["frames"])
                report.at_most(f"{name}, {clients} clients: CPU of a frame", per_frame_s * 1e6, "us", None)
                saturated[name] = max(saturated.get(name) or 0.0, clients / told["cores"])
                if told["p99_s"] < ON_TIME_S and not told["failed"]:
                    on_time = max(on_time, clients)
                if name == "ours":
                    frame_cpu_s = per_frame_s
            goal = 1_200 if name == "ours" else None
            report.at_least(f"{name}: clients at p99 of own lateness below 5 ms", on_time, "clients", goal)
            if (carried := saturated.get(name)) is not None:
                report.at_least(f"{name}: a core saturated", carried, "clients", 2_000 if name == "ours" else None)
    others = [value for name, value in saturated.items() if name != "ours" and value]
    if others and saturated.get("ours"):
        report.at_least("ours over the best of the usual", (saturated["ours"] or 0.0) / max(others), "times", 3.0)
    report.comparison("clients that a core saturated carries", saturated, "clients", ours=("ours",))
    return frame_cpu_s


def cluster(report: Report, quick: bool) -> None:
    """Three workers joined by address; one is killed."""
    if importlib.util.find_spec("distributed") is None:
        report.lacks("a cluster", "Dask is not installed: pip install 'ravatar-audio[load]'")
        return
    from ravatar_audio.load.dask_workers import dask_workers

    environment = os.environ | {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
    started: list[subprocess.Popen[str]] = []

    def start(module: str, *words: str) -> "subprocess.Popen[str]":
        line = [sys.executable, "-m", f"distributed.cli.{module}", *words]
        process = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        started.append(process)
        return process

    with tempfile.TemporaryDirectory() as folder, platform(folder) as (url, ca):
        try:
            scheduler = start("dask_scheduler", "--port", "0", "--no-dashboard", "--no-show")
            assert scheduler.stderr is not None
            address = next(line for line in scheduler.stderr if "tcp://" in line).rpartition("at:")[2].strip()
            for _ in range(3):
                start("dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
            time.sleep(8.0)
            killed: list[int] = []

            def strike(now: Progress) -> None:
                if now.second >= 5 and not killed:
                    killed.append(now.second)
                    started[2].send_signal(signal.SIGKILL)

            plan = LoadPlan({"api_url": url, "ca_file": ca}, 60 if quick else 240, RAMP, 0.25)
            result = trio.run(LoadRun(plan, partial(dask_workers, scheduler=address)).run, strike)
        finally:
            for process in started:
                process.kill()
                process.wait()
    counts = result.counts()
    lost = plan.clients // 3
    report.at_most("cluster of three, one killed: workers lost", counts["lost_workers"], "workers", 1)
    report.at_most("cluster of three, one killed: clients lost", counts["lost_clients"], "clients", lost)
    report.at_least("cluster of three, one killed: clients that ended in order", counts["ended"], "clients", 2 * lost)


def on_paper(report: Report, frame_cpu_s: float) -> None:
    """10,000 clients for a minute, all at once."""
    schedule = Schedule(Workload(), 10_000, 500.0, 60.0)
    need = demand(schedule, Costs(frame_cpu_s=frame_cpu_s))
    report.note(f"10,000 clients at 500/s for 60 s, by their schedule: {'; '.join(need.lines())}")
    report.at_most("10,000 clients: cores to be planned", need.cores, "cores", None)
    report.at_most("10,000 clients: memory", need.memory_mb, "MB", None)


def main() -> None:
    with running("load", __doc__) as (report, options):
        frame_cpu_s = measure(report, options.quick)
        progress(0.9, "a cluster")
        cluster(report, options.quick)
        on_paper(report, frame_cpu_s)


if __name__ == "__main__":
    main()
