"""A worker's share of the clients, as a program: lines of JSON in and out. Whoever starts it is no concern of its.

in                                          out
the spec                                    {"ready": …}, or {"failed": why}
{"ping": n}                                 {"pong": n, "time_s": this machine's clock}
{"begin_s": by this machine's clock}        {"beat": …} once a second
{"stop": true}, or the end of the input     {"done": …} when every session has ended
"""

import gc
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

import ravatar_audio.api.exchange  # noqa: F401 - else the first client would wait for it to be loaded
from ravatar_audio._version import __version__
from ravatar_audio.api.shared import Shared
from ravatar_audio.capture.sources import FileSource, SyntheticSource
from ravatar_audio.capture.sources.prepared import SharedClock, Utterance
from ravatar_audio.errors import RavatarError, SettingsError
from ravatar_audio.load.client import Client, World
from ravatar_audio.load.schedule import Schedule
from ravatar_audio.load.workload import Workload
from ravatar_audio.settings import Settings

LATE_START_S: Final = 1.0
"""A share that would begin later than this does not: all its clients would come at once."""

GRACE_S: Final = 30.0
"""For the last sessions' ends, and what the platform takes for them."""

FILES_PER_CLIENT: Final = 4
"""Descriptors: a WebSocket, up to two HTTP connections, the LicenseId's file."""

COLLECTING: Final = (2_000, 10, 1_000_000)
"""Garbage: the young often, in 1 to 2 ms; of all objects, which stops thousands of clients for 0.3 s, never..."""

COLLECT_AFTER_VISITS: Final = 5_000
"""... but when so many sessions may have left something behind."""

_SPARE_FILES: Final = 64


@dataclass(frozen=True, slots=True)
class Spec:
    """What a share is to do."""

    schedule: Schedule
    first: int
    """The share's clients are this one and each `step`-th after it."""
    step: int
    settings: Mapping[str, Any]
    user_prefix: str
    folder: str
    """Where LicenseIds are kept until their sessions have ended; made by whoever starts the share."""

    @property
    def clients(self) -> int:
        """How many it has."""
        return len(range(self.first, self.schedule.clients, self.step))

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        schedule = self.schedule
        return {
            "version": __version__,
            "workload": schedule.workload.as_dict(),
            "schedule": [schedule.clients, schedule.ramp_per_s, schedule.length_s],
            "share": [self.first, self.step],
            "settings": dict(self.settings),
            "user_prefix": self.user_prefix,
            "folder": self.folder,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Spec":
        """Make it from what `as_dict` gave. Raises SettingsError for another version's."""
        if data["version"] != __version__:
            raise SettingsError(
                f"this worker has ravatar-audio {__version__}, and was asked by {data['version']}",
                advice="Install the same version on all machines of a run.",
            )
        schedule = Schedule(Workload.from_dict(data["workload"]), *data["schedule"])
        first, step = data["share"]
        return cls(schedule, first, step, data["settings"], data["user_prefix"], data["folder"])


class Share:
    """Runs in a process of its own."""

    def __init__(self, spec: Spec, world: World, lines: "Lines") -> None:
        self._spec, self._world, self._lines = spec, world, lines
        self._begin_s: float | None = None
        self._collected_at = 0
        self._begun, self._stopped = trio.Event(), trio.CancelScope()

    async def run(self) -> None:
        """Run until all clients have gone, or it was stopped."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            with self._stopped:
                await self._begun.wait()
                assert self._begin_s is not None
                late_s = time.time() - self._begin_s
                if late_s > LATE_START_S:
                    self._lines.put(
                        {"failed": f"it would have begun {late_s:.1f} s late, with all its clients at once"}
                    )
                else:
                    self._world.zero_s = trio.current_time() - late_s
                    await self._carry()
            nursery.cancel_scope.cancel()

    async def _listen(self) -> None:
        async for line in self._lines:
            if "ping" in line:
                self._lines.put({"pong": line["ping"], "time_s": time.time()})
            if "begin_s" in line:
                self._begin_s = float(line["begin_s"])
                self._begun.set()
            if line.get("stop"):
                break
        self._stopped.cancel()  # also when whoever started this is gone

    async def _carry(self) -> None:
        world, schedule = self._world, self._spec.schedule
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTING)
        async with trio.open_nursery() as helpers:
            helpers.start_soon(self._beat)
            helpers.start_soon(world.clock.run)
            try:
                with trio.move_on_at(world.zero_s + schedule.end_s() + GRACE_S):
                    async with trio.open_nursery() as clients:
                        for visit in schedule.visits(self._spec.first, self._spec.step):
                            await trio.sleep_until(world.zero_s + visit.due_s)
                            clients.start_soon(Client(visit, world).run)
            finally:
                helpers.cancel_scope.cancel()
                self._lines.put({"beat": self._told(0.0, 0.0, float("inf"))})  # also when it was stopped

    async def _beat(self) -> None:
        """Once a second: what the seconds before have shown. The report is made of these alone."""
        cpu_s, steal_s, at_s = time.process_time(), _steal_s(), time.monotonic()
        number = 0
        while True:
            number = max(number + 1, int(trio.current_time() - self._world.zero_s))
            await trio.sleep_until(self._world.zero_s + number)
            now_s, now_cpu_s, now_steal_s = time.monotonic(), time.process_time(), _steal_s()
            took_s = max(1e-6, now_s - at_s)
            second = self._world.tally.at(number - 0.5)
            second.counts["clients_up"] += self._world.clients_up
            told = self._told((now_cpu_s - cpu_s) / took_s, (now_steal_s - steal_s) / took_s, number)
            cpu_s, steal_s, at_s = now_cpu_s, now_steal_s, now_s
            self._lines.put({"beat": told})
            self._tidy()

    def _tidy(self) -> None:
        ended = self._world.visits_ended
        if ended - self._collected_at >= COLLECT_AFTER_VISITS:
            self._collected_at = ended
            gc.collect()

    def _told(self, cpu: float, steal: float, before_s: float) -> dict[str, Any]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "clients_up": self._world.clients_up,
            "cpu": cpu,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "steal": steal,
            "memory_mb": usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10),
            "seconds": self._world.tally.take(before_s),
        }


class Lines:
    """Lines of JSON on standard input and output; what is put is written in the background."""

    def __init__(self, read: trio.abc.ReceiveStream, write: trio.abc.SendStream) -> None:
        self._read, self._write = read, write
        self._queue, self._queued = trio.open_memory_channel[dict[str, Any]](1_000)
        self._held = bytearray()

    def put(self, line: dict[str, Any]) -> None:
        """Write it soon. Raises trio.WouldBlock when nobody has read for a quarter of an hour."""
        self._queue.send_nowait(line)

    async def write(self) -> None:
        """Write what was put, until `end`."""
        async for line in self._queued:
            await self._write.send_all(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def end(self) -> None:
        """Let nothing more be put."""
        self._queue.close()

    def __aiter__(self) -> "Lines":
        return self

    async def __anext__(self) -> dict[str, Any]:
        while (end := self._held.find(b"\n")) < 0:
            data = await self._read.receive_some()
            if not data:
                raise StopAsyncIteration
            self._held += data
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        made = json.loads(line)
        assert isinstance(made, dict)
        return made


def _steal_s() -> float:
    """Processor time that the hypervisor has given to others, of all cores; 0 where the system does not tell."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0.0


def raise_file_limit(clients: int) -> None:
    """Let this process have as many descriptors as so many clients need. Raises SettingsError where it may not."""
    wanted = clients * FILES_PER_CLIENT + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise SettingsError(
            f"{clients} clients in one process need {wanted} descriptors, and the system allows {hard}",
            advice="Use more workers, or raise the limit: LimitNOFILE in a unit, nofile in limits.conf.",
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def make_utterances(workload: Workload, folder: Path) -> list[Utterance]:
    """Convert once what all clients say. Raises SettingsError for files that cannot be used."""
    if workload.files:
        made = []
        for number, (name, content) in enumerate(workload.files):
            path = folder / f"{number}-{name}"
            path.write_bytes(content)
            made.append(await Utterance.prepare(FileSource(path, pace="full")))
            path.unlink()
        return made
    import random

    chance = random.Random(f"{workload.seed}:speech")  # noqa: S311 - no secret
    lengths_s = [max(0.256, workload.length_s.draw(chance)) for _ in range(workload.synthetic)]
    return [
        await Utterance.prepare(SyntheticSource("speech", rate_hz=16_000, duration_s=length_s, seed=seed, pace="full"))
        for seed, length_s in enumerate(lengths_s, 1)
    ]


def machine() -> dict[str, Any]:
    """Return what figures depend on."""
    model = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        pass
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "version": __version__,
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
    }


async def _main(spec: dict[str, Any], lines: Lines) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lines.write)
        try:
            await _run_spec(Spec.from_dict(spec), lines)
        except RavatarError as error:
            lines.put({"failed": error.message})
        lines.put({"done": True})
        lines.end()


async def _run_spec(spec: Spec, lines: Lines) -> None:
    raise_file_limit(spec.clients)
    settings = Settings(**spec.settings)
    folder = Path(spec.folder)
    utterances = await make_utterances(spec.schedule.workload, folder)
    async with Shared(settings) as shared:
        world = World(
            workload=spec.schedule.workload,
            settings=settings,
            shared=shared,
            clock=SharedClock(),
            utterances=utterances,
            folder=folder,
            user_prefix=spec.user_prefix,
        )
        lines.put({"ready": machine() | {"pid": os.getpid(), "clients": spec.clients}})
        await Share(spec, world, lines).run()


async def on_pipes() -> None:
    """Run the whole program."""
    lines = Lines(trio.lowlevel.FdStream(os.dup(0)), trio.lowlevel.FdStream(os.dup(1)))
    os.dup2(2, 1)  # nothing else may come between the lines
    async for spec in lines:
        await _main(spec, lines)
        break
