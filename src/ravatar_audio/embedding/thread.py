"""One thread with a trio loop, shared by everything of this process that lives in it.

It starts with the first user and ends with the last, so that no thread is left. A program's own loop may be blocked
for as long as it likes: capture, sending and reconnecting go on here.
"""

import atexit
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import trio

T = TypeVar("T")

EXIT_LIMIT_S = 5.0
"""Longest wait at the interpreter's exit for what the program has left open, such as a live session to be ended."""


class CallCancelledError(Exception):
    """A call was cancelled before it had a result."""


class Call(Generic[T]):
    """An async function under way in the thread. Its future has the result, its error, or CallCancelledError."""

    def __init__(self, thread: "TrioThread") -> None:
        self._thread = thread
        self._scope = trio.CancelScope()
        self.future: Future[T] = Future()

    def cancel(self) -> None:
        """Ask it to end; from any thread. The future then has CallCancelledError, or what came before that."""
        self._thread.call_soon(self._scope.cancel)

    async def run(self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> None:
        """Run in the thread's nursery."""
        try:
            with self._scope:
                value = await function(*args)
        except Exception as error:
            self.future.set_exception(error)
        except BaseException:
            self.future.set_exception(trio.ClosedResourceError("closed while this waited"))
            raise
        else:
            if self._scope.cancelled_caught:
                self.future.set_exception(CallCancelledError())
            else:
                self.future.set_result(value)


class TrioThread:
    """The thread. Use `shared_thread()`."""

    def __init__(self) -> None:
        self.done: Future[None] = Future()
        """Has a result once the loop has ended."""
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._main, name="ravatar-audio", daemon=True)
        self._thread.start()
        self._started.wait()

    def _main(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:
            self.done.set_exception(error)
            self._started.set()
        else:
            self.done.set_result(None)

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._started.set()
            await trio.sleep_forever()

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Call a function in the thread, soon; from any thread. Does nothing once it has ended."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *args)

    def submit(self, function: Callable[..., Awaitable[T]], *args: Any) -> Call[T]:
        """Begin to run an async function in the thread; from any other thread."""
        call: Call[T] = Call(self)
        try:
            self._token.run_sync_soon(self._nursery.start_soon, call.run, function, args)
        except trio.RunFinishedError:
            call.future.set_exception(trio.ClosedResourceError("closed"))
        return call

    def ask(self, function: Callable[[], T]) -> T:
        """Call a function in the thread and return what it returns; from any thread, the thread's own included."""
        if threading.current_thread() is self._thread:
            return function()
        answer: Future[T] = Future()

        def respond() -> None:
            try:
                answer.set_result(function())
            except Exception as error:
                answer.set_exception(error)

        try:
            self._token.run_sync_soon(respond)
        except trio.RunFinishedError:
            return function()
        return answer.result()

    async def start(self, function: Callable[..., Awaitable[object]]) -> Any:
        """Start a task that goes on in the thread, as trio's `Nursery.start` does; only within the thread."""
        return await self._nursery.start(function)

    def stop(self) -> None:
        """End the loop, soon: everything in it is cancelled."""
        self.call_soon(lambda: self._nursery.cancel_scope.cancel())

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout_s)


_lock = threading.Lock()
_thread: TrioThread | None = None
_users = 0


def shared_thread() -> TrioThread:
    """Take the process's thread, for one user more; each one calls `leave_thread` once."""
    global _thread, _users
    with _lock:
        if _thread is None:
            _thread = TrioThread()
        _users += 1
        return _thread


def leave_thread() -> TrioThread | None:
    """Leave the thread: one user less. The last one gets the thread, which is ending, to wait for."""
    global _thread, _users
    with _lock:
        _users -= 1
        if _users or _thread is None:
            return None
        ending, _thread = _thread, None
    ending.stop()
    return ending


@atexit.register
def _end_at_exit() -> None:
    """What a program leaves open is closed as by a cancellation: a live session gives its slot back."""
    if _thread is not None:
        _thread.stop()
        _thread.join(EXIT_LIMIT_S)


def _forget_after_fork() -> None:
    """A child has none of its parent's threads."""
    global _lock, _thread, _users
    _lock, _thread, _users = threading.Lock(), None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
