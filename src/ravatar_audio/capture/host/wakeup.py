"""The file descriptors by which audio threads wake trio: an eventfd each on Linux, a pipe elsewhere."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable

import trio


class Wake:
    """Written by the core; many writes are one wake-up."""

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
        self._is_closed = False

    async def wait(self) -> None:
        """Until it has been written since the last clear(). Raises trio.ClosedResourceError when it is let go of."""
        await trio.lowlevel.wait_readable(self._read_fd)

    def let_go(self) -> None:
        """Wake whoever waits, before close(). In trio only."""
        trio.lowlevel.notify_closing(self._read_fd)

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
            for fd in {self._read_fd, self.write_fd}:
                os.close(fd)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # audio threads still run then
            self.close()


class Wakes:
    """A microphone's: whoever takes frames and whoever looks after the stream wait for different things."""

    def __init__(self) -> None:
        self.frames: Wake = Wake()
        """Written for each finished frame."""
        try:
            self.stream: Wake = Wake()
            """Written when something has happened to the stream: its first block, a stall, its end, ..."""
        except BaseException:
            self.frames.close()
            raise

    def set(self) -> None:
        """Wake both."""
        self.frames.set()
        self.stream.set()

    def let_go(self) -> None:
        """As Wake.let_go()."""
        self.frames.let_go()
        self.stream.let_go()

    def close(self) -> None:
        """As Wake.close()."""
        self.frames.close()
        self.stream.close()
