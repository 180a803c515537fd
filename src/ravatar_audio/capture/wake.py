"""The file descriptor by which the audio thread wakes trio: an eventfd on Linux, a pipe elsewhere."""

import contextlib
import os
import threading

import trio


class Wake:
    """Written by the core for each finished frame and when a stream ends; many writes are one wake-up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        if hasattr(os, "eventfd"):
            self._read_fd = self.write_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._read_fd, self.write_fd = os.pipe()
            os.set_blocking(self._read_fd, False)
            os.set_blocking(self.write_fd, False)

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
        """Only when the audio thread writes no more: the number may belong to another file next."""
        with self._lock:
            self._is_closed = True
            for fd in {self._read_fd, self.write_fd}:
                os.close(fd)
