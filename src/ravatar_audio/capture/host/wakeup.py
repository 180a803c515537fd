"""The file descriptor by which the audio thread wakes trio: an eventfd on Linux, a pipe elsewhere."""

import contextlib
import math
import os
import select
import sys
import threading
from collections.abc import Callable

import trio

from ravatar_audio._core import lib

_LONGEST_S = 1e6


class Wake:
    """Written by the core for each finished frame and when a stream ends; many writes are one wake-up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = True  # nothing to close, until all is open
        if hasattr(os, "eventfd"):
            self.write_fd: int = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._read_fd = self.write_fd
        else:
            self._read_fd, self.write_fd = os.pipe()
            os.set_blocking(self._read_fd, False)
            os.set_blocking(self.write_fd, False)
        self._timer_fd = int(lib.rva_host_timer())
        if self._timer_fd >= 0:
            self._either = select.epoll()
            self._either.register(self._read_fd, select.EPOLLIN)
            self._either.register(self._timer_fd, select.EPOLLIN)
        self._is_closed = False

    async def wait(self) -> None:
        """Until it has been written since the last clear(). Raises trio.ClosedResourceError when it is let go of."""
        await trio.lowlevel.wait_readable(self._read_fd)

    async def wait_for(self, timeout_s: float) -> None:
        """As wait(), but for so long at most. Where a frame comes, it comes sooner than out of a cancel scope."""
        if timeout_s == math.inf:
            await self.wait()
            return
        if self._timer_fd < 0:
            with trio.move_on_after(timeout_s):
                await self.wait()
            return
        lib.rva_host_timer_set(self._timer_fd, max(1, int(min(timeout_s, _LONGEST_S) * 1e9)))  # 0 would mean never
        await trio.lowlevel.wait_readable(self._either)

    def let_go(self) -> None:
        """Wake whoever waits, before close(). In trio only."""
        trio.lowlevel.notify_closing(self._read_fd)
        if self._timer_fd >= 0:
            trio.lowlevel.notify_closing(self._either)

    def clear(self) -> None:
        """Forget the writes so far. Look for frames after this, never before, or a wake-up is lost."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read_fd, 4096)

    def set(self) -> None:
        """Wake the waiter; any thread, also after close(), when it does nothing."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if not self._is_closed:
                os.write(self.write_fd, (1).to_bytes(8, "little"))

    def close(self) -> None:
        """Only when the audio thread writes no more: its number may be another file's next. May be called again."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._timer_fd >= 0:
                self._either.close()
                os.close(self._timer_fd)
            for fd in {self._read_fd, self.write_fd}:
                os.close(fd)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # audio threads still run then
            self.close()
