"""What PortAudio and others print on stderr goes to the command line's debug log.

ALSA and JACK let their messages be taken (rva_quiet.h). The rest goes to the stderr of the whole process, which is
the program's that uses this library, and its children's: only a command, whose process it is, catches that.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from typing import Final

from ravatar_audio.observe.log import line_logger

log: Final = line_logger(__name__)

WAIT_S = 1.0
"""Longest wait for another call of this process whose chatter is being caught; then a call is made without."""
LONGEST_S = 2.0
"""Longest call that does not hang: what the program itself writes is not to vanish with its chatter."""
_MOST_BYTES = 65_536

_is_caught = False
_changed = threading.Condition()
_caught: "_Caught | None" = None


class _Caught:
    """The process's stderr is a file, until end()."""

    def __init__(self) -> None:
        """Raises OSError where there is no stderr, or no room for the file."""
        self._stderr = os.dup(2)
        try:
            self._file = _nameless_file()
        except OSError:
            os.close(self._stderr)
            raise
        os.dup2(self._file, 2)
        self._limit = threading.Timer(LONGEST_S, _end, (self,))
        self._limit.daemon = True

    def limit(self) -> None:
        """End it by itself when it lasts."""
        with contextlib.suppress(RuntimeError):  # no thread can be started
            self._limit.start()

    def end(self) -> None:
        self._limit.cancel()
        os.dup2(self._stderr, 2)
        os.close(self._stderr)
        os.lseek(self._file, 0, os.SEEK_SET)
        text = os.read(self._file, _MOST_BYTES).decode(errors="replace")
        os.close(self._file)
        for line in text.splitlines():
            log.debug("sound library: %s", line)


def _nameless_file() -> int:
    """In memory where that is to be had: a service need not have a folder that it may write to."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("chatter")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@contextlib.contextmanager
def catching_chatter() -> Iterator[None]:
    """Let chatter_to_log() do something, from here on: for a program whose process this is, the command line."""
    global _is_caught
    before, _is_caught = _is_caught, True
    try:
        yield
    finally:
        _is_caught = before


@contextlib.contextmanager
def chatter_to_log() -> Iterator[None]:
    """Catch what is written to stderr, by the whole process, and log it; where that cannot be, it is left alone.

    Nothing is done outside catching_chatter().

    For short calls only: what lasts longer than LONGEST_S is caught no more. And not for closing: on a device that was
    unplugged PortAudio 19.6 prints without end and never returns.
    """
    caught = _begin() if _is_caught else None
    try:
        yield
    finally:
        if caught is not None:
            _end(caught)


def give_stderr_back() -> None:
    """Catch no longer what the call prints that is being made, as it does not return. Any thread; harmless else."""
    if (caught := _caught) is not None:
        _end(caught)


def _begin() -> _Caught | None:
    global _caught
    with _changed, contextlib.suppress(OSError):
        if _changed.wait_for(lambda: _caught is None, WAIT_S):
            _caught = _Caught()
            _caught.limit()
            return _caught
    return None


def _end(caught: _Caught) -> None:
    global _caught
    with _changed:
        if _caught is caught:  # else it has been given back
            _caught = None
            caught.end()
            _changed.notify()
