"""Exception groups, taken apart: a nursery of one's own should not show in what a caller catches."""

import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TypeVar

import trio

T = TypeVar("T")


def leaves(error: BaseException | None) -> Iterator[BaseException]:
    """The errors inside a group, however deep; the error itself when it is none."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from leaves(member)
    elif error is not None:
        yield error


@contextmanager
def single_error() -> Iterator[None]:
    """Let a group out as the one error that it is about: the first that is not a cancellation, else that.

    For nurseries whose tasks all stop at the first error. KeyboardInterrupt and the like come before ordinary errors.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        found = list(leaves(group))
        ranked = sorted(found, key=lambda error: (isinstance(error, trio.Cancelled), isinstance(error, Exception)))
        chosen = ranked[0]
        context = chosen.__context__
        try:
            raise chosen
        finally:
            chosen.__context__ = context
            del group, found, ranked, chosen, context


@asynccontextmanager
async def background_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery for tasks beside a block that is somebody else's; they are cancelled at its end.

    The block's error comes out as it is: a group of the caller's is not taken apart. The tasks' errors come `alone`.
    """
    failure: BaseException | None = None
    try:
        with single_error():
            async with trio.open_nursery() as nursery:
                try:
                    yield nursery
                except BaseException as error:
                    failure = error
                nursery.cancel_scope.cancel()
    except trio.Cancelled:
        if failure is None:
            raise
    if failure is not None:
        raise failure


class DetachedTask:
    """A task beside whoever started it, which goes on until it returns or anybody calls aclose().

    For what one task may open and another close, in whatever order, and what goes on while its user, cancelled, takes
    what is left: a nursery of the user's could do neither. It is a system task of trio's: cancelled when the run ends.
    `run` sees to its own errors.
    """

    def __init__(self, run: Callable[[], Awaitable[None]]) -> None:
        self._scope, self._over, self._token = trio.CancelScope(), trio.Event(), trio.lowlevel.current_trio_token()
        trio.lowlevel.spawn_system_task(self._run, run, context=contextvars.copy_context())

    async def _run(self, run: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await run()
        finally:
            self._over.set()

    def cancel_soon(self) -> None:
        """End it, without waiting. Any thread, also after the run; may be called again."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._scope.cancel)

    async def aclose(self) -> None:
        """End it, and wait until it has; not cut short by a cancellation, as it is over at once."""
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._over.wait()


async def first_of(*waits: Callable[[], Awaitable[T]]) -> list[T]:
    """Wait for several things at once until one has come, and cancel the rest: the results of those that have come.

    An error of one cancels the rest too, and comes out alone.
    """
    results: list[T] = []

    async def run(wait: Callable[[], Awaitable[T]], scope: trio.CancelScope) -> None:
        results.append(await wait())
        scope.cancel()

    with single_error():
        async with trio.open_nursery() as nursery:
            for wait in waits:
                nursery.start_soon(run, wait, nursery.cancel_scope)
    return results


async def finish(
    call: Callable[[], Awaitable[T]],
    take: Callable[[T], None],
    grace_s: float,
    *,
    on_wait: Callable[[], None],
    on_lost: Callable[[], None],
) -> T:
    """Run `call`, give `take` its result, and return it. Cancelled, it may go on for `grace_s` before it is broken off.

    `on_wait` is called when that time begins, `on_lost` when it has passed without a result; both must return at once.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    scope = trio.CancelScope(shield=True)
    results: list[T] = []
    over = trio.Event()

    async def run() -> None:
        try:
            with scope:
                result = await call()
                take(result)
                results.append(result)
        finally:
            over.set()
        if scope.cancelled_caught:
            on_lost()

    with single_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            try:
                await over.wait()
            except trio.Cancelled:
                if not over.is_set():
                    scope.deadline = trio.current_time() + grace_s
                    on_wait()
                raise
    return results[0]
