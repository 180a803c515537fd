"""Learning that a sound device was plugged in or out: inotify where the system has it, else the folder's time."""

import contextlib
import os
from pathlib import Path

import trio

from ravatar_audio._core import lib

DEVICE_FOLDER = Path("/dev/snd")
"""Where the kernel's sound devices come and go on Linux; its permissions are set a moment after a device has come."""

POLL_S = 0.05
"""How often to look where nothing tells."""


class Arrivals:
    """Changes in the folder of the sound devices, since this was made. Close it."""

    def __init__(self, folder: Path = DEVICE_FOLDER) -> None:
        self._folder = folder
        self._fd = self._watch()
        self._seen = self._changed_ns()

    def _watch(self) -> int:
        return int(lib.rva_host_watch(os.fsencode(self._folder), os.fsencode(self._folder.parent)))

    @property
    def patience_s(self) -> float:
        """How long one may wait without looking: for ever when wait() tells of changes."""
        return POLL_S if self._fd < 0 else float("inf")

    async def wait(self) -> None:
        """Until something has changed; for ever where nothing tells."""
        if self._fd < 0:
            await trio.sleep_forever()
        await trio.lowlevel.wait_readable(self._fd)

    def have_come(self) -> bool:
        """Whether anything has changed since this was asked last. Never blocks."""
        if self._fd < 0:
            before, self._seen = self._seen, self._changed_ns()
            return self._seen != before
        has_changed = False
        with contextlib.suppress(BlockingIOError):
            while os.read(self._fd, 4096):
                has_changed = True
        if has_changed:  # the folder itself may have come or gone, which is another watch
            os.close(self._fd)
            self._fd = self._watch()
        return has_changed

    def _changed_ns(self) -> int:
        try:
            return self._folder.stat().st_mtime_ns
        except OSError:
            return 0

    def close(self) -> None:
        """May be called again. Nobody may be waiting."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
