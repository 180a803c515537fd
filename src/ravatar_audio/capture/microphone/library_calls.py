"""A microphone's calls into the sound library: the one that is waited for, and those that hang and are left behind."""

from collections.abc import Callable
from typing import Any, TypeVar

import trio

from ravatar_audio.capture.host.blocking_call import AwaitedCall, ThreadCall
from ravatar_audio.capture.microphone.system import System

END_TIMEOUT_S = 5.0
"""For a call that is under way when the microphone is stopped."""

T = TypeVar("T")


class LibraryCalls:
    """Each is made in a thread of its own, and never cancelled: who waited for it leaves."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._left_behind: list[ThreadCall[Any]] = []
        self.under_way: AwaitedCall[Any] | None = None
        """That the microphone cannot go on without: it closes a stream, or opens one."""
        self.has_left_behind: bool = False
        """There was a call that hung and may still use what the microphone gave it."""

    def start(self, call: ThreadCall[Any]) -> Exception | None:
        """Begin it, or why it cannot be: there is no thread to be had."""
        try:
            self._system.start(call)
        except RuntimeError as error:
            return error
        return None

    async def result(self, function: Callable[[], T], undo: Callable[[T], None]) -> T:
        """What the call gives. Cancelled, it is left behind, and `undo` gets what it gives after all."""
        call = AwaitedCall(function, undo)
        self._system.start(call)
        try:
            await call.wait_ended()
        except BaseException:
            self._leave(call)
            raise
        return call.take()

    def leave(self, call: ThreadCall[Any]) -> None:
        """Nobody waits for it any more; it may still use what the microphone gave it."""
        self._leave(call)
        self.has_left_behind = True

    def _leave(self, call: ThreadCall[Any]) -> None:
        call.abandon()
        self._left_behind.append(call)

    @property
    def hang(self) -> bool:
        """A call that was left behind has not returned."""
        self._left_behind = [call for call in self._left_behind if not call.has_ended]
        return bool(self._left_behind)

    async def end(self, *, is_waited_for: bool) -> AwaitedCall[Any] | None:
        """The call that was under way, if any, ended if it did in time; else it has been left behind."""
        call, self.under_way = self.under_way, None
        if call is not None:
            with trio.move_on_after(END_TIMEOUT_S if is_waited_for else 0):
                await call.wait_ended()
            if not call.has_ended:
                self.leave(call)
        return call
