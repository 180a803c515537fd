"""A nursery beside somebody's block: whose errors come out, and in which shape."""

import pytest
import trio

from ravatar_audio.groups import background_nursery


async def fail(error: BaseException) -> None:
    raise error


async def test_a_group_of_the_blocks_own_comes_out_whole() -> None:
    group = ExceptionGroup("two tasks", [ValueError("one"), KeyError("two")])
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the block is what is tested
        async with background_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise group
    assert caught.value is group
    assert caught.value.__context__ is None


async def test_the_blocks_error_is_not_lost_to_a_cancellation_that_comes_with_it() -> None:
    with pytest.raises(ValueError, match="in the block"), trio.CancelScope() as scope:  # noqa: PT012 - the block is what is tested
        async with background_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            raise ValueError("in the block")


async def test_a_cancellation_passes() -> None:
    with trio.CancelScope() as scope:
        async with background_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_tasks_error_comes_alone_and_ends_the_block() -> None:
    with pytest.raises(ValueError, match="in a task"):  # noqa: PT012 - the block is what is tested
        async with background_nursery() as nursery:
            nursery.start_soon(fail, ValueError("in a task"))
            await trio.sleep_forever()
