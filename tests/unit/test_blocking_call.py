"""Blocking calls in threads: the task leaves on time, and nothing that a late call opened stays open."""

import os
import signal
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from ravatar_audio.capture.host.blocking_call import ThreadCall, call_in_thread, stuck_calls
from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.errors import RecorderError


async def test_the_result_comes_back_and_is_not_undone() -> None:
    undone: list[int] = []
    assert await call_in_thread(lambda: 7, timeout_s=5, undo=undone.append) == 7
    assert not undone


async def test_an_error_comes_back() -> None:
    def fail() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await call_in_thread(fail, timeout_s=5, undo=lambda _: None)


@pytest.mark.parametrize("reason", ["time-out", "cancelled"])
async def test_what_a_call_opens_too_late_is_closed(reason: str) -> None:
    begun, go_on, undone = threading.Event(), threading.Event(), threading.Event()
    stuck_before = stuck_calls()  # other tests leave some for good

    def open_slowly() -> str:
        begun.set()
        assert go_on.wait(10)
        return "handle"

    def undo(handle: str) -> None:
        assert handle == "handle"
        undone.set()

    if reason == "time-out":
        with pytest.raises(trio.TooSlowError):
            await call_in_thread(open_slowly, timeout_s=0.05, undo=undo)
    else:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: call_in_thread(open_slowly, timeout_s=10, undo=undo))
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
    assert not undone.is_set()
    assert stuck_calls() == stuck_before + 1
    go_on.set()
    with trio.fail_after(10):
        assert await trio.to_thread.run_sync(undone.wait)
        while stuck_calls() > stuck_before:  # noqa: ASYNC110 - a thread does it
            await trio.sleep(0.001)


def test_an_interrupt_while_a_device_is_being_opened_gives_the_device_back() -> None:
    """Ctrl-C comes out of trio.run, and nobody is left to close what the thread opens then."""
    begun, go_on, undone = threading.Event(), threading.Event(), threading.Event()

    def open_slowly() -> str:
        begun.set()
        assert go_on.wait(10)
        return "handle"

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: call_in_thread(open_slowly, timeout_s=60, undo=lambda _: undone.set()))
            await trio.to_thread.run_sync(begun.wait)
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    async def alone() -> None:
        def interrupt() -> None:
            assert begun.wait(10)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        await call_in_thread(open_slowly, timeout_s=60, undo=lambda _: undone.set())

    for program in (main, alone):
        for event in (begun, go_on, undone):
            event.clear()
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - alone, or in a group
            trio.run(program)
        assert isinstance(caught.value, KeyboardInterrupt) or caught.group_contains(KeyboardInterrupt)
        assert not undone.is_set()
        go_on.set()
        assert undone.wait(10), program.__name__


@pytest.mark.parametrize("has_ended", [False, True])
async def test_what_cannot_be_closed_is_logged_and_nothing_is_called_stuck(
    has_ended: bool, caplog: pytest.LogCaptureFixture
) -> None:
    go_on, undone = threading.Event(), threading.Event()
    stuck_before = stuck_calls()

    def refuse(_: bool) -> None:
        undone.set()
        raise RecorderError("the library hangs")

    thread_call = ThreadCall(lambda: go_on.wait(10), refuse)
    thread_call.start()
    if has_ended:
        go_on.set()
        assert thread_call.wait(10)
    thread_call.abandon()
    go_on.set()
    with trio.fail_after(10):
        assert await trio.to_thread.run_sync(undone.wait)
        while stuck_calls() > stuck_before or not caplog.messages:  # noqa: ASYNC110 - a thread does it
            await trio.sleep(0.001)
    assert "the library hangs" in caplog.text


async def test_a_call_that_is_cancelled_before_its_thread_starts_is_not_begun_and_not_called_stuck() -> None:
    stuck_before, begun = stuck_calls(), threading.Event()
    with trio.move_on_after(0):
        await call_in_thread(begun.set, timeout_s=10, undo=lambda _: None)
    assert not begun.is_set()
    assert stuck_calls() == stuck_before


def test_a_wake_up_after_the_end_writes_to_no_other_file(tmp_path: Path) -> None:
    wake = Wake()
    number = wake.write_fd
    wake.close()
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)
    os.dup2(other, number)
    try:
        wake.set()
        assert os.fstat(number).st_size == 0
    finally:
        os.close(number)
        if other != number:
            os.close(other)


async def test_waiting_for_a_wake_up_ends_in_time_and_can_begin_again() -> None:
    wake = Wake()
    with trio.fail_after(5):
        for timeout_s in (0.0, 0.01, 0.02):
            began_s = trio.current_time()
            with trio.move_on_after(timeout_s):
                await wake.wait()
            assert trio.current_time() - began_s >= timeout_s * 0.9
        wake.set()
        await wake.wait()
        wake.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_let_go, wake)
            with pytest.raises(trio.ClosedResourceError):
                await wake.wait()
    wake.close()


async def _let_go(wake: Wake) -> None:
    await trio.testing.wait_all_tasks_blocked()
    wake.let_go()
