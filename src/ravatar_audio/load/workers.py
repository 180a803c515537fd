"""Where the shares run: processes of this machine, one for each core. Another engine gives the same `Worker`s."""

import json
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from ravatar_audio.load.remains import end_remains, licence_folder
from ravatar_audio.load.share import Lines, Spec
from ravatar_audio.settings import Settings

COMMAND = (sys.executable, "-m", "ravatar_audio.load")

MakeSpec = Callable[[int, int, str], Spec]
"""Of a share's number, how many there are, and the folder for its LicenseIds."""


class Worker(ABC):
    """A share that runs somewhere, and lines to and from it."""

    name: str
    """For people: where it runs."""

    @abstractmethod
    async def send(self, line: dict[str, Any]) -> None:
        """Say something to it; nothing happens when it is gone."""

    @abstractmethod
    async def receive(self) -> dict[str, Any] | None:
        """Receive its next line; None when there will be none. One task at a time."""

    @abstractmethod
    async def kill(self) -> None:
        """End it at once. May be called again."""

    @abstractmethod
    async def end_remains(self, settings: Settings) -> tuple[int, int]:
        """End the live sessions that it has left behind; how many were ended, and how many could not be."""


class LocalWorker(Worker):
    """A child process."""

    def __init__(self, name: str, process: trio.Process, folder: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.name: str = name
        self.process: Any = process
        self._stdin, self._lines = process.stdin, Lines(process.stdout, process.stdin)
        self._folder = folder
        self._sending = trio.Lock()

    async def send(self, line: dict[str, Any]) -> None:
        async with self._sending:
            try:
                await self._stdin.send_all(json.dumps(line).encode() + b"\n")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def receive(self) -> dict[str, Any] | None:
        try:
            return await anext(self._lines, None)
        except (trio.BrokenResourceError, trio.ClosedResourceError, json.JSONDecodeError):
            return None  # it died in the midst of a line

    async def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        with trio.CancelScope(shield=True):
            await self.process.wait()

    async def end_remains(self, settings: Settings) -> tuple[int, int]:
        return await end_remains(settings, self._folder)


@asynccontextmanager
async def local_workers(make_spec: MakeSpec, count: int) -> AsyncIterator[list[Worker]]:
    """Start so many processes on this machine, each with its spec; leaving ends those that still run."""
    async with AsyncExitStack() as stack:
        workers: list[Worker] = []
        for number in range(count):
            folder = stack.enter_context(licence_folder())
            process = await trio.lowlevel.open_process(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # an interrupt is for whoever started the run; that ends the sessions in order
            )
            worker = LocalWorker(f"worker {number} (process {process.pid})", process, folder)
            stack.push_async_callback(worker.kill)
            workers.append(worker)
            await worker.send(make_spec(number, count, folder).as_dict())
        yield workers
