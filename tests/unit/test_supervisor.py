"""Recovery goes on by itself, whoever iterates or not, is cancelled or closes; and it leaves nothing behind."""

import gc
import os
import threading
import warnings
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from ravatar_audio.capture import CaptureEvent
from ravatar_audio.capture.microphone.supervisor import SupervisorState
from ravatar_audio.errors import MediaAbortedError, RecorderError
from ravatar_audio.testing import FakeDevice, FakeMicrophone
from ravatar_audio.testing.device import FakeStream
from ravatar_audio.testing.system import FakeSystem

SECOND = 16_000
Clock = trio.testing.MockClock


def device(**script: str) -> FakeDevice:
    """One that hears a ramp; `at_N` is what happens at N tenths of a second."""
    at = {int(name.removeprefix("at_")) * SECOND // 10: word for name, word in script.items()}
    return FakeDevice("ramp", rate_hz=SECOND, name="Desk", script=at)


def held() -> tuple[int, int, int]:
    """Tasks, open files and threads."""
    gc.collect()
    threads = [thread for thread in threading.enumerate() if "Trio" not in thread.name]
    return trio.lowlevel.current_statistics().tasks_living, len(os.listdir("/dev/fd")), len(threads)


async def settled(before: tuple[int, int, int]) -> None:
    """As before, as soon as trio has run what was scheduled."""
    with trio.move_on_after(0.2):
        while held() != before:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.01)
    assert held() == before


EDGES = {
    "stall": ("stalled", "recovered"),
    "unplug": ("reopening", "reopened"),
    "eio": ("reopening", "reopened"),
    "move": ("source_changed",),
}


@pytest.mark.parametrize("word", EDGES)
@pytest.mark.parametrize("taken", [0, 1, 3])
async def test_what_happens_is_told_when_it_happens_though_nobody_takes_frames(
    autojump_clock: Clock, word: str, taken: int
) -> None:
    """`taken` frames were, before that."""
    async with FakeMicrophone(device(at_20=word, at_25="ok"), reopen_s=10) as microphone:
        began_s = microphone._system.now_s()
        events = microphone.events()
        for _ in range(taken):
            await anext(microphone)
        assert (await anext(events)).kind == "no_constraints"
        told: list[CaptureEvent] = []
        with trio.fail_after(6):
            while [event.kind for event in told] != list(EDGES[word]):
                event = await anext(events)
                told.append(event)
                assert event.at_s == pytest.approx(microphone._system.now_s(), abs=1e-6), "it is told at once"
        at_s = [event.at_s - began_s for event in told]
    assert at_s[0] == pytest.approx(2.1 if word == "stall" else 2.0, abs=0.02)
    assert at_s[-1] == pytest.approx(2.0 if word in ("move", "eio") else 2.5, abs=0.06)


@pytest.mark.parametrize(("word", "kind"), [("lose 800", "overruns"), ("mute", "digital_silence")])
async def test_what_a_frame_says_is_told_though_its_taker_does_not_come_back(
    autojump_clock: Clock, word: str, kind: str
) -> None:
    async with FakeMicrophone(device(at_3=word)) as microphone:
        events = microphone.events()
        assert (await anext(events)).kind == "no_constraints"
        while True:
            frame = await anext(microphone)
            if frame.discontinuity or frame.position_samples > 2.5 * SECOND:
                break
        had_s = trio.current_time()
        with trio.fail_after(1):
            assert (await anext(events)).kind == kind
        assert trio.current_time() - had_s < 0.11


async def test_counters_go_on_through_a_recovery_that_nobody_waits_for(autojump_clock: Clock) -> None:
    async with FakeMicrophone(device(at_20="unplug", at_40="ok"), ring_s=30) as microphone:
        await trio.sleep(8)
        counts = microphone.statistics()
    assert microphone.reopenings == 1
    assert counts.captured_samples + counts.device_lost_samples == pytest.approx(8 * SECOND, abs=SECOND // 3)
    assert counts.device_lost_samples == pytest.approx(2 * SECOND, abs=400)


async def test_what_ends_the_capture_waits_for_whoever_takes_frames_and_comes_after_them(autojump_clock: Clock) -> None:
    async with FakeMicrophone(device(at_20="unplug"), recover_s=3, ring_s=30) as microphone:
        await trio.sleep(30)
        assert microphone._supervisor.state is SupervisorState.FAILED
        frames = []
        for _ in range(2):
            with pytest.raises(MediaAbortedError, match="ended the stream"):  # noqa: PT012
                while True:  # what comes before the error counts
                    frames.append(await anext(microphone))
        assert [frame.seq for frame in frames] == list(range(7))


async def scenario(microphone: FakeMicrophone) -> None:
    async with microphone, trio.open_nursery() as nursery:

        async def take() -> None:
            async for _ in microphone:
                pass

        nursery.start_soon(take)
        async for event in microphone.events():
            if event.kind == "reopened" and microphone.name == "Desk":
                break
        nursery.cancel_scope.cancel()


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope before the Nth step of any task."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope, self.left = scope, step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self._scope.cancel()


def made() -> FakeMicrophone:
    spare = FakeDevice("tone", name="Spare", usb_id="9:9")
    desk = device(at_3="unplug", at_5="hang", at_90="ok")
    return FakeMicrophone(desk, spare, device="Desk", fallback="Spare", fallback_after_s=1)


async def test_cancelled_at_any_step_it_closes_and_leaves_nothing(autojump_clock: Clock) -> None:
    """Through an end, a call that hangs, a fallback beside it and the way back."""
    before = held()
    step, cancelled = 1, True
    while cancelled:
        microphone = made()
        with trio.CancelScope() as scope:
            instrument = CancelAtStep(scope, step)
            trio.lowlevel.add_instrument(instrument)
            try:
                await scenario(microphone)
            finally:
                trio.lowlevel.remove_instrument(instrument)
        cancelled = instrument.left <= 0
        assert microphone._supervisor.state in (SupervisorState.STOPPED, SupervisorState.IDLE)
        microphone.do("ok")
        microphone._machine.advance()  # what hung returns, and is undone
        assert all(one._stream is None for one in microphone.devices), f"closed, cancelled at step {step}"
        counts = microphone.statistics()
        assert counts.captured_samples >= counts.delivered_samples
        del microphone
        step += 1 if step < 40 else 5
    assert step > 100, "there were steps to be cancelled at"
    await settled(before)


AT_S = {
    SupervisorState.RUNNING: 0.2,
    SupervisorState.CLOSING: 1.5,
    SupervisorState.OPENING: 2.0,
    SupervisorState.FAILED: 40.0,
}


@pytest.mark.parametrize("state", AT_S)
@pytest.mark.parametrize("end", ["aclose", "other task", "cancelled", "twice"])
async def test_closing_in_any_state_is_immediate(autojump_clock: Clock, state: SupervisorState, end: str) -> None:
    words = {"at_3": "hang"} if state is SupervisorState.CLOSING else {"at_3": "unplug"}
    recover_s = 5 if state is SupervisorState.FAILED else 1e9
    before = held()
    microphone = FakeMicrophone(device(**words), recover_s=recover_s, reopen_s=0.5)
    with trio.CancelScope() as scope:
        async with microphone, trio.open_nursery() as nursery:
            await trio.sleep(AT_S[state])
            assert microphone._supervisor.state is state
            if state is SupervisorState.CLOSING:
                microphone.do("ok")  # else it is waited for
            began_s = trio.current_time()
            calls: dict[str, Callable[[], Awaitable[None]]] = {"aclose": microphone.aclose}
            if end == "cancelled":
                scope.cancel()
            elif end == "other task":
                nursery.start_soon(microphone.aclose)
            else:
                await calls["aclose"]()
            if end == "twice":
                nursery.start_soon(microphone.aclose)
                await microphone.aclose()
    assert trio.current_time() - began_s < 0.01
    assert microphone._chain is None
    await settled(before)


async def test_an_opening_that_hangs_does_not_hold_up_closing(autojump_clock: Clock) -> None:
    gc.collect()
    files = len(os.listdir("/dev/fd"))
    microphone = FakeMicrophone(device(at_3="unplug", at_5="hang"))
    async with microphone:
        await trio.sleep(2)
        assert microphone._supervisor.state is SupervisorState.OPENING
        began_s = trio.current_time()
        await microphone.aclose()
        assert trio.current_time() == began_s
    microphone.do("ok")
    microphone._machine.advance()  # the call returns
    assert microphone.devices[0]._stream is None, "what it opened is closed"
    del microphone
    gc.collect()
    assert len(os.listdir("/dev/fd")) == files


async def test_after_fifty_rounds_there_is_nothing_more_than_before(autojump_clock: Clock) -> None:
    script = {
        number * 4 * SECOND + SECOND: word for number in range(50) for word in [("unplug", "eio", "stall")[number % 3]]
    }
    back = {at + 2 * SECOND: "ok" for at in script}
    desk = FakeDevice("ramp", rate_hz=SECOND, name="Desk", script=script | back)
    outside = held()
    async with FakeMicrophone(desk, reopen_s=1) as microphone:
        await trio.sleep(0.5)
        before = held()
        async with trio.open_nursery() as nursery:

            async def take() -> None:
                async for _ in microphone:
                    pass

            nursery.start_soon(take)
            await trio.sleep(202)
            nursery.cancel_scope.cancel()
        assert microphone.reopenings >= 48
        await settled(before)
    await settled(outside)


async def test_microphones_are_opened_by_one_task_and_closed_by_another_in_any_order(autojump_clock: Clock) -> None:
    before = held()
    first, second = FakeMicrophone("tone"), FakeMicrophone("tone")

    async def opened() -> None:
        await first.__aenter__()
        await second.__aenter__()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened)
    await anext(first)
    await first.aclose()
    await anext(second)
    await second.aclose()
    await settled(before)


async def test_whoever_takes_what_is_left_when_cancelled_still_gets_the_device_back(
    autojump_clock: Clock,
) -> None:
    with trio.move_on_after(1.2) as scope:
        async with FakeMicrophone(device(at_15="unplug", at_30="ok")) as microphone:
            try:
                async for _ in microphone:
                    pass
            finally:
                with trio.CancelScope(shield=True):
                    while microphone.reopenings == 0:
                        await anext(microphone)
    assert scope.cancelled_caught


@pytest.mark.parametrize("at_s", [0.2, 1.0])
async def test_a_microphone_that_is_forgotten_ends_its_task(autojump_clock: Clock, at_s: float) -> None:
    before = held()
    microphone = FakeMicrophone(device(at_3="unplug"))
    machine, devices = microphone._machine, microphone.devices
    await microphone.__aenter__()
    await trio.sleep(at_s)
    running = microphone._running
    assert running is not None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del microphone
        gc.collect()
    assert [str(warning.message) for warning in caught] == ["the microphone 'Desk' was not closed"]
    await running.aclose()
    del running, machine, caught  # the warning has the microphone
    assert devices[0]._stream is None
    await settled(before)


async def test_a_bug_in_the_background_is_raised_where_frames_are_taken(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise TypeError("bug")

    async with FakeMicrophone(device(at_3="unplug")) as microphone:
        monkeypatch.setattr(FakeSystem, "watch_hotplug", broken)
        with pytest.raises(TypeError, match="bug"):
            async for _ in microphone:
                pass


async def test_a_call_that_hangs_for_ever_ends_the_capture_though_nobody_iterates(autojump_clock: Clock) -> None:
    async with FakeMicrophone(device(at_3="hang")) as microphone:
        kinds = []
        with trio.move_on_after(20):
            async for event in microphone.events():
                kinds.append(event.kind)  # noqa: PERF401 - what came before the end counts
        assert kinds == ["no_constraints", "stalled", "reopening", "hanging"]
        with pytest.raises(RecorderError, match="did not close within 5 s"):
            [frame async for frame in microphone]


@pytest.mark.parametrize(
    ("state", "gets_back"),
    [
        (SupervisorState.RUNNING, False),
        (SupervisorState.RUNNING, True),
        (SupervisorState.OPENING, False),
        (SupervisorState.WAITING, True),
    ],
)
async def test_another_device_is_taken_though_nobody_takes_frames(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch, state: SupervisorState, gets_back: bool
) -> None:
    monkeypatch.setattr(FakeStream, "gets_back", gets_back)
    spare = FakeDevice("tone", name="Spare", usb_id="9:9")
    async with FakeMicrophone(device(at_10="unplug"), spare, device="Desk") as microphone:
        await trio.sleep(0.5 if state is SupervisorState.RUNNING else 3)
        assert microphone._supervisor.state is state
        chosen_s = trio.current_time()
        await microphone.change_device("Spare")
        with trio.fail_after(6):
            async for event in microphone.events():
                if event.kind == "reopened":
                    break
        assert trio.current_time() - chosen_s < (0.01 if state is not SupervisorState.OPENING else 2)
        assert microphone.name == "Spare"
        await trio.sleep(5)
        assert microphone.reopenings == 1
