"""How a session behaves as a context manager: what goes through it, and what it says when it is used wrongly."""

import pytest
import trio

from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.session import LiveSession

from .conftest import Frames, MakeSettings


async def test_what_several_tasks_of_the_block_raise_comes_out_whole(settings_for: MakeSettings) -> None:
    async def fail(error: Exception) -> None:
        raise error

    with trio.fail_after(20):
        async with Emulator() as emulator:
            with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the block is what is tested
                async with LiveSession(settings_for(emulator), Frames()), trio.open_nursery() as nursery:
                    nursery.start_soon(fail, ValueError("one"))
                    nursery.start_soon(fail, KeyError("two"))
            assert {type(error) for error in caught.value.exceptions} == {ValueError, KeyError}
            assert emulator.statistics().live[0].state == "ended"


async def test_cancelled_around_both_the_session_ends_before_the_platform_does(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        emulator = Emulator(EmulatorSettings(slots=1))
        with trio.CancelScope() as scope:
            async with emulator, LiveSession(settings_for(emulator), Frames()):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        told = emulator.statistics()
        assert (told.live[0].state, told.live[0].end_calls) == ("ended", 1)
        assert told.close_codes == (1000,)
