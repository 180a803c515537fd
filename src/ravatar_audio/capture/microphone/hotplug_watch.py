"""Learning that a device was plugged in, or that a sound server or its source has come: inotify, else looking often."""

import contextlib
import math
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import trio

from ravatar_audio._core import lib
from ravatar_audio.capture.host.blocking_call import ThreadCall
from ravatar_audio.capture.servers.connection import SourceWatch

DEVICE_FOLDER = Path("/dev/snd")
"""Where the kernel's sound devices come and go on Linux; its permissions are set a moment after a device has come."""

POLL_S = 0.05
"""How often to look where nothing reports them."""


class HotplugWatch:
    """Devices that have come, sound servers' sockets and their sources, since this was made. Close it.

    What is there is compared with what was: many others use a socket's folder, and who connects changes nothing.
    """

    def __init__(
        self, folder: Path = DEVICE_FOLDER, sockets: Iterable[Path] = (), sources: SourceWatch | None = None
    ) -> None:
        self._folder, self._sockets, self._sources = folder, tuple(sockets), sources
        self._fd = -1
        self._fd = self._watch()
        self._seen = self._things()

    def _watch(self) -> int:
        """A descriptor that reports changes; negative where there is none.

        The one that there is, once there is one: closing it takes up to 20 ms, and what it watches already stays once.
        """
        fd = self._fd if self._fd >= 0 else int(lib.rva_host_watcher())
        folders = {self._folder, *(socket.parent for socket in self._sockets)}
        if fd < 0 or all(_watch_nearest(fd, folder) for folder in folders):
            return fd
        _close(fd)
        return -1

    def _things(self) -> frozenset[tuple[object, ...]]:
        """Of all that is there, who may use it and since when."""
        paths = [*self._sockets]
        with contextlib.suppress(OSError):
            paths += self._folder.iterdir()
        things = set()
        for path in paths:
            with contextlib.suppress(OSError):  # it is not there
                stat = path.stat()
                things.add((path, stat.st_ino, stat.st_mode, stat.st_uid, stat.st_gid, stat.st_ctime_ns))
        return frozenset(things)

    async def wait_come(self) -> None:
        """Until something has come since this returned last."""
        while not self.have_come():
            with trio.move_on_after(POLL_S if self._fd < 0 else math.inf):
                await self.wait()

    async def wait(self) -> None:
        """Until something may have come, or this is closed; for ever where nothing reports them."""
        async with trio.open_nursery() as nursery:

            async def until_told(wait: Callable[[], Awaitable[None]]) -> None:
                with contextlib.suppress(trio.ClosedResourceError):
                    await wait()
                nursery.cancel_scope.cancel()

            if self._fd >= 0:
                nursery.start_soon(until_told, self._until_changed)
            if self._sources is not None:
                nursery.start_soon(until_told, self._sources.wait)
            await trio.sleep_forever()

    async def _until_changed(self) -> None:
        if self._fd >= 0:  # else it has been closed since
            await trio.lowlevel.wait_readable(self._fd)

    def have_come(self) -> bool:
        """Whether anything has come, or may be used by others than before, since this was asked last. Never blocks."""
        has_source_come = self._sources is not None and self._sources.has_come()
        return self._has_more() or has_source_come

    def _has_more(self) -> bool:
        if self._fd >= 0:
            if not self._is_told():
                return False
            self._fd = self._watch()  # a folder may have come or gone, which is another watch
        before, self._seen = self._seen, self._things()
        return not self._seen <= before

    def _is_told(self) -> bool:
        is_told = False
        with contextlib.suppress(BlockingIOError):
            while os.read(self._fd, 4096):
                is_told = True
        return is_told

    def close(self) -> None:
        """May be called again. In trio only: who waits goes on."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            _close(fd)
        if self._sources is not None:
            self._sources.close()


def _close(fd: int) -> None:
    """In a thread, as closing takes up to 20 ms."""
    trio.lowlevel.notify_closing(fd)
    ThreadCall(lambda: os.close(fd), lambda _: None).start()


def _watch_nearest(fd: int, folder: Path) -> bool:
    """Watch the folder, or what it will come into while it is not there or may not be read."""
    return any(lib.rva_host_watch(fd, os.fsencode(place)) == 0 for place in (folder, *folder.parents))
