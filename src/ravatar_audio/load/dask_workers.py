"""Shares on the workers of a Dask scheduler, each as a child of a task. The only module that knows Dask.

The child is the program that also runs without Dask, so the same is measured. With the share in the worker's own
process a message takes 7 to 17 % more, as Dask's loop and thousands of sessions share an interpreter. A task is not
pinned: a worker that is started again has another address, and its task would wait for the old one for ever. So it may
run again elsewhere, where its share refuses to begin late.
"""

import contextlib
import json
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio
from distributed import Client, get_worker

from ravatar_audio._version import __version__
from ravatar_audio.errors import SettingsError, UnreachableError
from ravatar_audio.load.remains import end_remains, licence_folder
from ravatar_audio.load.share import Spec
from ravatar_audio.load.workers import COMMAND, MakeSpec, Worker
from ravatar_audio.settings import Settings

CONNECT_S: Final = 20.0
_SEND_LIMIT_S: Final = 5.0
_REMAINS_LIMIT_S: Final = 20.0
_QUEUED_LINES: Final = 10_000

# On the machines of the workers: what tasks and calls run.

_running: dict[str, "subprocess.Popen[str]"] = {}


def _version() -> str:
    return __version__


def _carry(spec: dict[str, Any], topic: str, key: str) -> None:
    """The task: start the child, hand on its lines, and end what it leaves behind when it dies."""
    worker = get_worker()

    def tell(line: dict[str, Any]) -> None:
        worker.log_event(topic, {"key": key, "address": worker.address, "line": line})

    with licence_folder() as folder:
        command = [get_python(), *COMMAND[1:]]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
            assert process.stdin is not None
            assert process.stdout is not None
            _running[key] = process
            try:
                _write(process, spec | {"folder": folder})
                for line in process.stdout:
                    with contextlib.suppress(ValueError):  # it died in the midst of a line
                        tell(json.loads(line))
            finally:
                del _running[key]
                process.kill()
        tell({"ended": True})
        if process.returncode:
            made = Spec.from_dict(spec)
            ended, left = trio.run(end_remains, Settings(**made.settings), folder)
            tell({"remains": [ended, left]})


def get_python() -> str:
    """Return the interpreter of this machine's worker."""
    return COMMAND[0]


def _write(process: "subprocess.Popen[str]", line: dict[str, Any]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError, ValueError):
        process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()


def _tell(key: str, line: dict[str, Any]) -> None:
    if (process := _running.get(key)) is not None:
        _write(process, line)


def _kill(key: str) -> None:
    if (process := _running.get(key)) is not None:
        process.kill()


# Here.


class DaskWorker(Worker):
    """A task, seen from here."""

    def __init__(self, client: Client, number: int, key: str) -> None:
        self.name: str = f"worker {number}"
        self.key: str = key
        self._client = client
        self._address: str | None = None
        self._lines_in, self._lines = trio.open_memory_channel[dict[str, Any]](_QUEUED_LINES)
        self._remains: tuple[int, int] | None = None
        self._remains_told = trio.Event()
        self.future: Any = None
        self._is_gone = False

    def note(self, event: dict[str, Any]) -> None:
        """Note a line of the share's, or of its task's."""
        line = event["line"]
        if self._address is None:
            self._address = event["address"]
            self.name = f"{self.name} ({self._address})"
        if event["address"] != self._address:
            return  # of a task that was begun again elsewhere: that share refuses, and this one is lost already
        if "remains" in line:
            self._remains = (line["remains"][0], line["remains"][1])
            self._remains_told.set()
        elif "ended" in line:
            self._lines_in.close()
        else:
            with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError, trio.WouldBlock):
                self._lines_in.send_nowait(line)

    async def send(self, line: dict[str, Any]) -> None:
        await self._call(_tell, self.key, line)

    async def receive(self) -> dict[str, Any] | None:
        try:
            return await self._lines.receive()
        except trio.EndOfChannel:
            return None

    async def kill(self) -> None:
        await self._call(_kill, self.key)
        if self.future is not None:
            with trio.move_on_after(_SEND_LIMIT_S, shield=True):
                await trio.to_thread.run_sync(self.future.cancel, abandon_on_cancel=True)

    async def end_remains(self, settings: Settings) -> tuple[int, int]:
        """Leave it to the task; where the whole worker has gone, its child ends its sessions by itself."""
        if self._is_gone:
            return 0, 0
        with trio.move_on_after(_REMAINS_LIMIT_S):
            await self._remains_told.wait()
        return self._remains or (0, 0)

    async def _call(self, function: Any, *arguments: Any) -> None:
        if self._address is None or self._is_gone:
            return
        call = partial(self._client.run, function, *arguments, workers=[self._address], on_error="raise")
        with trio.move_on_after(_SEND_LIMIT_S) as scope:
            try:
                await trio.to_thread.run_sync(call, abandon_on_cancel=True)
            except Exception:  # whatever Dask raises: nobody is there who could be asked
                self._is_gone = True
        self._is_gone = self._is_gone or scope.cancelled_caught


@asynccontextmanager
async def dask_workers(make_spec: MakeSpec, scheduler: str, count: int | None = None) -> AsyncIterator[list[Worker]]:
    """Start `count` shares on the workers of the scheduler at this address, as "tcp://host:8786"; default: one for
    each.

    Raises UnreachableError where no scheduler answers, SettingsError without workers or with another version there.
    """
    try:
        client = await trio.to_thread.run_sync(partial(Client, scheduler, timeout=CONNECT_S, set_as_default=False))
    except (OSError, TimeoutError, ValueError) as error:
        raise UnreachableError(f"no Dask scheduler answers at {scheduler}: {error}") from error
    try:
        addresses = await _checked(client)
        topic = f"ravatar-audio-load-{secrets.token_hex(6)}"
        numbers = range(count or len(addresses))
        workers = [DaskWorker(client, number, f"{topic}-{number}") for number in numbers]
        by_key = {worker.key: worker for worker in workers}
        token = trio.lowlevel.current_trio_token()

        def hear(event: tuple[Any, dict[str, Any]]) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(by_key[event[1]["key"]].note, event[1])

        await trio.to_thread.run_sync(client.subscribe_topic, topic, hear)
        for number, worker in enumerate(workers):
            spec = make_spec(number, len(workers), "").as_dict()
            worker.future = client.submit(
                _carry,
                spec,
                topic,
                worker.key,
                key=worker.key,
                pure=False,
                retries=0,
                workers=[addresses[number % len(addresses)]],
                allow_other_workers=True,
            )
        try:
            yield list(workers)
        finally:
            with trio.move_on_after(_SEND_LIMIT_S, shield=True):
                await trio.to_thread.run_sync(partial(client.cancel, [worker.future for worker in workers], force=True))
    finally:
        with trio.move_on_after(_SEND_LIMIT_S, shield=True):
            await trio.to_thread.run_sync(client.close, abandon_on_cancel=True)


async def _checked(client: Client) -> list[str]:
    """The workers' addresses."""
    call = partial(client.run, _version, on_error="return")
    versions = await trio.to_thread.run_sync(call)
    if not versions:
        raise SettingsError("the scheduler has no workers", advice="Start some: dask worker ADDRESS --nthreads 1")
    others = {address: version for address, version in versions.items() if version != __version__}
    if others:
        address, version = next(iter(others.items()))
        what = "has no ravatar-audio that can be loaded" if isinstance(version, Exception) else f"has {version}"
        raise SettingsError(
            f"the worker at {address} {what}; here it is {__version__}",
            advice="Install the same version, with its extra 'load', where the workers run.",
        )
    return sorted(versions)
