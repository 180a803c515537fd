"""Calls into the thread, waited for by a thread of the program."""

import concurrent.futures
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Self, TypeVar

import trio

from ravatar_audio.embedding.resident import Resident
from ravatar_audio.embedding.thread import Call, TrioThread, leave_thread, shared_thread
from ravatar_audio.worlds import check_world

T = TypeVar("T")


def wait(call: Call[T], keep: Callable[[T], object] | None = None) -> T:
    """Wait for the call's result. Interrupted (Ctrl-C), it ends the call first; `keep` then gets a result that came
    anyway.

    A second interrupt does not wait for that.
    """
    try:
        concurrent.futures.wait([call.future])
    except BaseException:
        call.cancel()
        concurrent.futures.wait([call.future])
        if call.future.exception() is None and keep is not None:
            keep(call.future.result())
        raise
    return call.future.result()


def enter(resident: Resident[T]) -> T:
    """Enter it."""
    check_world("no event loop", resident.name)
    try:
        return wait(resident.open())
    except BaseException:
        _see_off(resident.move_out())
        raise


def leave(resident: Resident[Any], *, is_failed: bool) -> None:
    """Leave it; raises its error if the block had none."""
    try:
        wait(resident.close(is_failed=is_failed))
    finally:
        _see_off(resident.move_out())


def call(
    resident: Resident[Any],
    function: Callable[..., Awaitable[T]],
    *args: Any,
    keep: Callable[[T], object] | None = None,
) -> T:
    """Run an async function in the thread; before and after the resident's time too, where it says what is wrong."""
    if (thread := resident.thread) is None:
        return run_once(resident.name, function, *args, keep=keep)
    check_world("no event loop", resident.name)
    return wait(thread.submit(function, *args), keep)


def run_once(
    what: str,
    function: Callable[..., Awaitable[T]],
    *args: Any,
    keep: Callable[[T], object] | None = None,
) -> T:
    """Run an async function in the thread, which ends with it unless others are in it; `what` it is, for errors."""
    check_world("no event loop", what)
    try:
        return wait(shared_thread().submit(function, *args), keep)
    finally:
        _see_off(leave_thread())


def _see_off(thread: TrioThread | None) -> None:
    if thread is not None:
        thread.join()
        thread.done.result()


class LosslessIterator(Generic[T]):
    """An iterator over an async one in the thread, which loses nothing to an interrupt."""

    def __init__(self, resident: Resident[Any], take: Callable[[], Awaitable[T]]) -> None:
        """`take` runs in the thread, and raises StopAsyncIteration at the end."""
        self._resident, self._take = resident, take
        self._late: deque[T] = deque()
        """What came for a call that had been interrupted."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if self._late:
            return self._late.popleft()
        try:
            return call(self._resident, self._take, keep=self._late.append)
        except StopAsyncIteration:
            raise StopIteration from None


def awaited_in_thread(function: Callable[[], T] | None) -> Callable[[], Awaitable[T]] | None:
    """Return a function that may block as one that the library's thread may await; it has a thread of its own."""
    if function is None:
        return None

    async def await_it() -> T:
        return await trio.to_thread.run_sync(function, abandon_on_cancel=True)

    return await_it
