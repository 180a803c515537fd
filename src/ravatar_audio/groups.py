"""Exception groups, taken apart: a nursery of one's own should not show in what a caller catches."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
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
