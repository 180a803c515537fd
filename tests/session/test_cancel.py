"""A live session cancelled at every step that it takes: out at once, Close sent, slot given back, no task left."""

import gc
from collections.abc import Iterator
from itertools import count

import httpx2  # noqa: F401 - else it is loaded, in a tenth of a second, by the first session that is cancelled
import pytest
import trio

from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.session import LiveSession

from .conftest import Frames, MakeSettings


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when the tasks below one task have taken so many steps together."""

    def __init__(self, root: trio.lowlevel.Task, scope: trio.CancelScope, step: int) -> None:
        self.root, self.scope, self.step = root, scope, step
        self.steps = 0
        self.cancelled_s: float | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        above: trio.lowlevel.Task | None = task
        while above is not None and above is not self.root:
            above = above.parent_nursery.parent_task if above.parent_nursery else None
        if above is None:
            return
        if self.steps == self.step:
            self.cancelled_s = trio.current_time()
            self.scope.cancel()
        self.steps += 1


@pytest.fixture
def small_heap() -> Iterator[None]:
    """A collection that goes through all that the test run has loaded takes 70 ms."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.row("complaint 10: cancelled while it starts, it hangs")
@pytest.mark.usefixtures("small_heap")
async def test_cancelled_at_every_step(settings_for: MakeSettings) -> None:
    left_s: list[float] = []
    with trio.fail_after(180):
        async with Emulator(EmulatorSettings(slots=1)) as emulator:
            settings = settings_for(emulator, user_id="u")
            for number in count():
                step = number if number < 100 else 100 + (number - 100) * 3
                scope = trio.CancelScope()
                watcher = CancelAt(trio.lowlevel.current_task(), scope, step)
                trio.lowlevel.add_instrument(watcher)
                try:
                    with scope:
                        async with LiveSession(settings, Frames(every_s=0.004, count=8)) as live:
                            await live.send_text("hello")
                            await live.wait_finished()
                finally:
                    trio.lowlevel.remove_instrument(watcher)
                if watcher.cancelled_s is None:
                    break
                left_s.append(trio.current_time() - watcher.cancelled_s)
                told = emulator.statistics()
                assert told.slots_free == 1, f"step {step}: the slot was not given back"
                assert all(live.state == "ended" for live in told.live), f"step {step}"
                assert not any(item.is_torn for item in told.connections), f"step {step}: half a message was left"
            told = emulator.statistics()
    assert len(left_s) > 100
    assert max(left_s) < 0.1
    opened = [item for item in told.connections if item.frames]
    assert {item.client_close_code for item in opened} == {1000}
    assert told.violation_count == 0


@pytest.mark.row("complaint 9: reconnects for ever and ignores cancellation")
async def test_complaint_9_cancelled_in_each_state_of_a_link_that_cannot_be_had(settings_for: MakeSettings) -> None:
    states = {
        "waiting for a slot": Fault(at="startLiveSession", do="status", status=503, retry_after_s=30, times=0),
        "the server is slow": Fault(at="connection", do="delay", delay_s=60, times=0),
        "the handshake hangs": Fault(at="socket", do="delay", delay_s=60, times=0),
        "the handshake is refused": Fault(at="socket", do="status", status=503, retry_after_s=30, times=0),
        "the network is a black hole": Fault(at="http", do="black_hole", times=0),
    }
    for state, fault in states.items():
        with trio.fail_after(10):
            async with Emulator(EmulatorSettings(faults=(fault,))) as emulator:
                for wait_s in (0.0, 0.01, 0.1, 0.3):
                    with trio.move_on_after(wait_s) as scope:
                        async with LiveSession(settings_for(emulator), Frames(), slot_wait_s=60):
                            raise AssertionError("it cannot have begun")
                    assert scope.cancelled_caught
                    left_s = trio.current_time() - scope.deadline
                    limit_s = 3.5 if state == "the network is a black hole" else 0.5
                    assert left_s < limit_s, f"{state}: {left_s:.3f} s after {wait_s} s"
                assert not any(live.state == "active" for live in emulator.statistics().live)
