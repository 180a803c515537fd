"""Blocking calls into sound libraries: in a thread, with a deadline, and with an undo for those that end too late."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class _Errand(Generic[T]):
    """One call whose result goes either to the waiting task or, when that has left, to `undo`."""

    def __init__(self, call: Callable[[], T], undo: Callable[[T], None]) -> None:
        self._call, self._undo = call, undo
        self._lock = threading.Lock()
        self._is_abandoned = False
        self._result: list[T] = []

    def run(self) -> None:
        result = self._call()
        with self._lock:
            self._result.append(result)
            is_abandoned = self._is_abandoned
        if is_abandoned:
            self._undo(result)

    def take(self) -> T:
        return self._result.pop()

    def abandon(self) -> None:
        with self._lock:
            self._is_abandoned = True
            finished = list(self._result)
        for result in finished:
            threading.Thread(target=self._undo, args=(result,), daemon=True, name="ravatar-audio undo").start()


async def call_in_thread(call: Callable[[], T], *, timeout_s: float, undo: Callable[[T], None]) -> T:
    """The result of `call()`, run in a thread; cancelled at once, whatever the call does.

    Raises trio.TooSlowError after `timeout_s`. A call that is left behind by that or by a cancellation goes on in its
    thread, and `undo` gets its result there when it ends after all.
    """
    errand = _Errand(call, undo)
    # A thread of its own each time: one that never returns must not keep others from running.
    limiter = trio.CapacityLimiter(1)
    try:
        with trio.fail_after(timeout_s):
            await trio.to_thread.run_sync(errand.run, abandon_on_cancel=True, limiter=limiter)
    except (trio.TooSlowError, trio.Cancelled):
        errand.abandon()
        raise
    return errand.take()
