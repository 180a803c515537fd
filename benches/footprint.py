"""What does one stream cost? Import time, time to the first frame, memory, threads, files, and share of a core.

The least program that streams a microphone with this package (over wss, in the clear too; through PortAudio instead of
our own thread over ALSA, which is what hardware gets; and one that only listens to the microphone), beside the usual
pipeline on asyncio and on trio (rivals/baselines), each in a process of its own, all at the same time (each is started
when the one before has its first frame), from one virtual USB microphone at 48 kHz to an emulator. The floor beside
them is a C program that reads the same microphone, 10 ms at a time, and no more.
Memory is what is resident, shared libraries included, as the system counts it after some seconds; CPU is user and
system time of the whole process, in nanoseconds where the system counts so.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import trustme

from .rig.harness import Report, interleave, median, progress, running, this_module
from .rig.virtual_microphone import (
    HERE,
    PLUGIN_NAME,
    PLUGIN_SOURCE,
    Pcm,
    VirtualMicrophones,
    build_program,
    build_shared,
)

GOALS = {"cpu": 0.5, "resident": 60.0, "threads": 4.0, "first": 1.0}
UNITS = {"cpu": "% of a core", "resident": "MB", "threads": "threads", "files": "files", "first": "s"}
WORDS = {
    "cpu": "CPU",
    "resident": "resident memory",
    "threads": "threads",
    "files": "open files",
    "first": "start to first frame captured",
}
FLOOR = "a C program that only reads the microphone"
IMPORTS = {
    "ours": "from ravatar_audio import LiveSession, Microphone, Settings; import trio",
    "usual, asyncio": "import asyncio, base64, json, numpy, pyaudio, soxr, websockets.asyncio.client",
    "usual, trio": "import base64, json, numpy, pyaudio, soxr, trio, trio_websocket",
    "bare Python": "pass",
}


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of one running program."""

    cpu: float
    resident: float
    threads: float
    files: float
    first: float
    threads_cpu: tuple[float, ...]
    """CPU of each thread, the main thread's first."""


def main() -> None:
    with running("footprint", __doc__) as (report, options), tempfile.TemporaryDirectory() as scratch:
        progress(0.0, "imports")
        add_imports(report, 2 if options.quick else 10)
        progress(0.2, "streams")
        add_streams(report, measure(Path(scratch), *((2.0, 4.0) if options.quick else (4.0, 40.0))))


def add_imports(report: Report, rounds: int) -> None:
    """How long Python takes until everything is imported that a stream needs."""

    def load(code: str) -> float:
        began_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began_s

    took_s = interleave({name: partial(load, code) for name, code in IMPORTS.items()}, rounds)
    for name, values_s in took_s.items():
        report.at_most(f"start and import, {name}", median(values_s) * 1e3, "ms", repeats=[s * 1e3 for s in values_s])
    report.comparison("Start and import", {name: median(s) * 1e3 for name, s in took_s.items()}, "ms")


def add_streams(report: Report, footprints: Mapping[str, Footprint]) -> None:
    for field in WORDS:
        values = {name: getattr(footprint, field) for name, footprint in footprints.items()}
        for name, value in values.items():
            goal = GOALS.get(field) if name == "ours, wss" else None
            report.at_most(f"{WORDS[field]}, {name}", value, UNITS[field], goal)
        ours = tuple(name for name in values if name.startswith("ours"))
        title = WORDS[field][0].upper() + WORDS[field][1:]
        report.comparison(title, values, UNITS[field], ours=ours, limit=GOALS.get(field))
    split = {}
    for name, footprint in footprints.items():
        python, *others = footprint.threads_cpu
        split[name] = {"main thread": python, "other threads: audio": sum(others)}
        for thread, cpu in split[name].items():
            report.at_most(f"CPU of {thread}, {name}", cpu, "% of a core")
    report.stages("CPU by thread", split, "% of a core")
    report.note(
        f"the audio thread's CPU holds what the virtual microphone and its reading cost, which {FLOOR} costs as well"
    )


def measure(folder: Path, settle_s: float, seconds: float) -> dict[str, Footprint]:
    """All programs at the same time: each has a core's idle half to itself, and the same neighbours."""
    plugin = build_shared(PLUGIN_SOURCE, folder / PLUGIN_NAME, "-lasound")
    pcm = Pcm(rates=(48_000,), channels=(1, 1), exclusive=False)
    environment = VirtualMicrophones(folder, plugin, (pcm,)).environment
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    with ExitStack() as stack:
        urls = {}
        for scheme, more in (("ws", []), ("wss", ["--tls", str(folder / "server.pem")])):
            command = [sys.executable, "-m", "ravatar_audio", "emulator", "--port", "0", "--slots", "9"]
            command += ["--wav-dir", str(folder / f"heard-{scheme}"), *more]
            emulator = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            )
            stack.callback(emulator.terminate)
            assert emulator.stderr is not None
            urls[scheme] = emulator.stderr.readline().split()[2]
        ca_file = str(folder / "ca.pem")
        usual = [urls["wss"], "pyaudio", 48_000, 1, ca_file]
        commands = {
            "ours, wss": this_module("footprint_child", "live", "alsa:usbmic", urls["wss"], ca_file),
            "ours, ws": this_module("footprint_child", "live", "alsa:usbmic", urls["ws"], ""),
            "ours, wss, PortAudio": this_module("footprint_child", "live", "usbmic", urls["wss"], ca_file),
            "ours, only listening": this_module("footprint_child", "idle", "alsa:usbmic"),
            "usual, asyncio, wss": this_module("rivals.baselines", "asyncio", *usual),
            "usual, trio, wss": this_module("rivals.baselines", "trio", *usual),
            FLOOR: [str(build_program(HERE / "reader.c", folder / "reader", "-lasound"))],
        }
        programs = {
            name: stack.enter_context(_Program(command, environment, folder / f"{number}.log"))
            for number, (name, command) in enumerate(commands.items())
        }
        time.sleep(settle_s)
        for program in programs.values():
            program.begin()
        time.sleep(seconds)
        return {name: program.footprint() for name, program in programs.items()}


class _Program:
    """One of the programs, running; it starts when the one before it has its first frame."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._started_s = time.monotonic()
        with log.open("w") as file:
            self._process = psutil.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=file, text=True)
        self._begun_s = 0.0
        self._threads_s: dict[int, float] = {}
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(map(str, command[2:4]))} ended:\n{log.read_text()}")
        self._first_s = float(line.split()[4])

    def __enter__(self) -> "_Program":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def begin(self) -> None:
        self._begun_s, self._threads_s = time.monotonic(), self._by_thread()

    def _by_thread(self) -> dict[int, float]:
        return {
            thread.id: _on_cpu_s(self._process.pid, thread.id) or thread.user_time + thread.system_time
            for thread in self._process.threads()
        }

    def footprint(self) -> Footprint:
        process = self._process
        seconds = time.monotonic() - self._begun_s
        spent_s = {number: spent - self._threads_s.get(number, 0.0) for number, spent in self._by_thread().items()}
        main_s = spent_s.pop(process.pid, 0.0)
        return Footprint(
            threads_cpu=tuple(100 * value_s / seconds for value_s in (main_s, *spent_s.values())),
            cpu=100 * (main_s + sum(spent_s.values())) / seconds,
            resident=process.memory_info().rss / 2**20,
            threads=process.num_threads(),
            files=process.num_fds(),
            first=self._first_s - self._started_s,
        )


def _on_cpu_s(process: int, thread: int) -> float:
    """Time that a thread has run; Linux says so in ns, where its scheduler keeps statistics. 0 where it does not."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/task/{thread}/schedstat").read_text(encoding="ascii").split()[0]) * 1e-9
    return 0.0


if __name__ == "__main__":
    main()
