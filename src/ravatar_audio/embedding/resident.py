"""A trio context manager that lives in the thread while its user, in another world, is inside its own block."""

from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import trio

from ravatar_audio.embedding.thread import Call, TrioThread, leave_thread, shared_thread

T = TypeVar("T")


class _LeftByError(Exception):
    """The user's block ended with an error, which is the user's to handle."""


class Resident(Generic[T]):
    """One context manager in the thread: entered and left in one task there, as trio demands."""

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self._manager = manager
        self._was_opened = False
        self._thread: TrioThread | None = None
        self._error: Exception | None = None
        self._is_left_by_error = False
        self._scope = trio.CancelScope()
        self._leaving = trio.Event()
        self._gone = trio.Event()

    @property
    def name(self) -> str:
        """What it is, for errors."""
        return type(self._manager).__name__

    @property
    def thread(self) -> TrioThread | None:
        """The thread, from `open` to `move_out`."""
        return self._thread

    def open(self) -> Call[T]:
        """Enter the manager; the call's result is what entering gives. May be called once."""
        if self._was_opened:
            raise RuntimeError(f"a {self.name} is entered once; make a new one")
        self._was_opened = True
        self._thread = shared_thread()
        return self._thread.submit(self._enter, self._thread)

    async def _enter(self, thread: TrioThread) -> T:
        value: T = await thread.start(self._stay)
        return value

    async def _stay(self, *, task_status: Any) -> None:
        is_open = False
        try:
            with self._scope:
                async with self._manager as value:
                    is_open = True
                    task_status.started(value)
                    await self._leaving.wait()
                    if self._is_left_by_error:
                        raise _LeftByError
        except _LeftByError:
            pass
        except Exception as error:
            if not is_open:
                raise
            self._error = error
        finally:
            self._gone.set()

    def close(self, *, is_failed: bool) -> Call[None]:
        """Leave the manager: the call ends when it has been left, and raises its error if the user's block had none.

        A cancellation of the call cancels the leaving; the call still ends only after it.
        """
        assert self._thread is not None
        return self._thread.submit(self._leave, is_failed)

    async def _leave(self, is_failed: bool) -> None:
        self._is_left_by_error = is_failed
        self._leaving.set()
        try:
            await self._gone.wait()
        except trio.Cancelled:
            self._scope.cancel()
            with trio.CancelScope(shield=True):
                await self._gone.wait()
            raise
        if self._error is not None and not is_failed:
            raise self._error

    def move_out(self) -> TrioThread | None:
        """Leave the thread, after the last call has ended; it is returned to be waited for when it ends by that."""
        if self._thread is None:
            return None
        self._thread = None
        return leave_thread()
