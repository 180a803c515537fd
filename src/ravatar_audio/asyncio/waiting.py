"""Calls into the thread, awaited by an asyncio task."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Self, TypeVar

import trio

from ravatar_audio.embedding.resident import Resident
from ravatar_audio.embedding.thread import Call, CallCancelledError, TrioThread, leave_thread, shared_thread
from ravatar_audio.worlds import check_world

T = TypeVar("T")


async def wait(call: Call[T], keep: Callable[[T], object] | None = None) -> T:
    """Wait for the call's result.

    Cancelled, it ends the call first; `keep` then gets a result that came all the same.
    """
    future = asyncio.wrap_future(call.future)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        call.cancel()
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:  # once more: it is being cancelled already
                continue
        if future.exception() is None and keep is not None:
            keep(future.result())
        raise
    except CallCancelledError:
        raise asyncio.CancelledError from None


async def enter(resident: Resident[T]) -> T:
    """Enter it."""
    check_world("asyncio", resident.name)
    try:
        return await wait(resident.open())
    except BaseException:
        await _move_out(resident)
        raise


async def leave(resident: Resident[Any], *, is_failed: bool) -> None:
    """Leave it; raises its error if the block had none."""
    try:
        await wait(resident.close(is_failed=is_failed))
    finally:
        await _move_out(resident)


async def call(
    resident: Resident[Any],
    function: Callable[..., Awaitable[T]],
    *args: Any,
    keep: Callable[[T], object] | None = None,
) -> T:
    """Run an async function in the thread; before and after the resident's time too, where it says what is wrong."""
    if (thread := resident.thread) is None:
        return await run_once(resident.name, function, *args, keep=keep)
    check_world("asyncio", resident.name)
    return await wait(thread.submit(function, *args), keep)


async def run_once(
    what: str,
    function: Callable[..., Awaitable[T]],
    *args: Any,
    keep: Callable[[T], object] | None = None,
) -> T:
    """Run an async function in the thread, which ends with it unless others are in it; `what` it is, for errors."""
    check_world("asyncio", what)
    try:
        return await wait(shared_thread().submit(function, *args), keep)
    finally:
        await _see_off(leave_thread())


async def _move_out(resident: Resident[Any]) -> None:
    await _see_off(resident.move_out())


async def _see_off(thread: TrioThread | None) -> None:
    if thread is not None:
        await asyncio.shield(asyncio.wrap_future(thread.done))
        thread.join()


class LosslessIterator(Generic[T]):
    """An async iterator over one in the thread, which loses nothing to a cancellation."""

    def __init__(self, resident: Resident[Any], take: Callable[[], Awaitable[T]]) -> None:
        """`take` runs in the thread, and raises StopAsyncIteration at the end."""
        self._resident, self._take = resident, take
        self._late: deque[T] = deque()
        """What came for a task that had been cancelled."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._late:
            return self._late.popleft()
        return await call(self._resident, self._take, keep=self._late.append)


def in_loop(
    loop: Callable[[], asyncio.AbstractEventLoop], callback: Callable[[Any], None] | None
) -> Callable[[Any], None] | None:
    """Return a callback as something that the library's thread may call: it runs in the loop, soon, and in order."""
    if callback is None:
        return None

    def pass_on(value: Any) -> None:
        loop().call_soon_threadsafe(callback, value)

    return pass_on


def awaited_in_loop(
    loop: Callable[[], asyncio.AbstractEventLoop], function: Callable[[], Awaitable[T]] | None
) -> Callable[[], Awaitable[T]] | None:
    """Return an async function of the loop as one that the library's thread may await; cancelled with it."""
    if function is None:
        return None

    async def run() -> T:
        return await function()

    async def await_it() -> T:
        done, trio_loop = trio.Event(), trio.lowlevel.current_trio_token()

        def note_done(_: object) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                trio_loop.run_sync_soon(done.set)

        future = asyncio.run_coroutine_threadsafe(run(), loop())
        future.add_done_callback(note_done)
        try:
            await done.wait()
        except trio.Cancelled:
            future.cancel()
            raise
        return future.result()

    return await_it
