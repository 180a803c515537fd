"""The microphone around its device: closing, reopening and cancelling in every order, with a line that is a fake."""

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ravatar_audio.capture.microphone.system as module
from ravatar_audio.capture import Device, Microphone
from ravatar_audio.capture.host.blocking_call import stuck_calls
from ravatar_audio.capture.microphone import reopening, retry, supervisor
from ravatar_audio.capture.microphone.hotplug_watch import HotplugWatch
from ravatar_audio.capture.microphone.system import System
from ravatar_audio.capture.streams.stream import CoreStream, StreamRequest, StreamStatistics
from ravatar_audio.errors import DeviceNotFoundError, MediaAbortedError, MediaError, RecorderError, SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, Frame
from ravatar_audio.native import Chain

DEVICE = Device(None, "fake", "ALSA hardware", 1, 16_000, True, "hw:CARD=Fake,DEV=0", "Fake")


class FakeStream(CoreStream):
    """A stream that pushes what the test says."""

    backend = "alsa"
    latency_s = 0.032

    def __init__(self, chain: Chain) -> None:
        self.chain, self.blocks, self.has_finished = chain, 0, False
        self.last_block_s: float | None = None

    def push(self, samples: int) -> None:
        self.chain.push(bytes(2 * samples))
        self.blocks += 1
        self.last_block_s = time.monotonic()

    def watch(self, stall_s: float) -> bool:
        return False

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(self.blocks, 0, 0, 0.0, time.monotonic(), self.last_block_s, 1, self.has_finished, -19)

    def block_durations_s(self) -> list[tuple[float, int]]:
        return []


class FakeDeviceStream:
    """A line whose finding, opening and closing the test controls."""

    made: list["FakeDeviceStream"]
    refusals: list[MediaError]
    gate: threading.Event

    def __init__(self, wanted: Any) -> None:
        FakeDeviceStream.gate.wait(10)
        if FakeDeviceStream.refusals:
            raise FakeDeviceStream.refusals.pop(0)
        self.device = DEVICE
        self.request = StreamRequest(DEVICE, 16_000, 1, "int16", 0.01, 0.1)
        self.stream: FakeStream | None = None
        self.refusal = wanted.refusal(FakeStream.latency_s)
        self.is_closed = False
        self.resume_ns = 0
        FakeDeviceStream.made.append(self)

    def open(self, chain: Chain, wake: Any, resume_ns: int = 0) -> FakeStream:
        self.stream = FakeStream(chain)
        self.wake, self.resume_ns = wake, resume_ns
        return self.stream

    def send(self, samples: int) -> None:
        assert self.stream is not None
        self.stream.push(samples)
        self.wake.set()

    def end(self) -> None:
        assert self.stream is not None
        self.stream.has_finished = True
        self.wake.set()

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(autouse=True)
def fake_line(monkeypatch: pytest.MonkeyPatch) -> type[FakeDeviceStream]:
    FakeDeviceStream.made, FakeDeviceStream.refusals, FakeDeviceStream.gate = [], [], threading.Event()
    FakeDeviceStream.gate.set()
    monkeypatch.setattr(module, "DeviceStream", FakeDeviceStream)
    monkeypatch.setattr(retry, "BACKOFF_S", (0.01, 0.02))
    return FakeDeviceStream


@pytest.mark.parametrize(("asked_s", "is_told"), [(None, False), (0.02, False), (0.01, True), (0.1, True)])
async def test_blocks_of_another_length_than_was_asked_for_are_told(asked_s: float | None, is_told: bool) -> None:
    async with Microphone(block_s=asked_s) as microphone:
        with microphone.events() as events:
            for _ in range(16):
                FakeDeviceStream.made[0].send(512)  # 32 ms
            await anext(microphone)
            await microphone.stop()
            [frame async for frame in microphone]
            assert microphone.statistics().block_s == pytest.approx(0.032, rel=0.01)
            await microphone.aclose()
            told = [event.message async for event in events if event.kind == "invalid_media_constraints"]
    assert len(told) == is_told
    assert all("the device's are 32.0 ms" in message for message in told)


async def test_stopping_gives_out_what_there_is_and_ends_the_iteration() -> None:
    async with Microphone() as microphone:
        FakeDeviceStream.made[0].send(FRAME_SAMPLES + 100)
        assert (await anext(microphone)).length_samples == FRAME_SAMPLES
        await microphone.stop()
        assert [frame.length_samples async for frame in microphone] == [100]
        assert FakeDeviceStream.made[0].is_closed
    counts = microphone.statistics()
    assert counts.captured_samples == counts.delivered_samples == FRAME_SAMPLES + 100


async def test_closing_ends_the_iteration_of_another_task() -> None:
    taken: list[int] = []

    async def take(microphone: Microphone) -> None:
        taken.extend([frame.seq async for frame in microphone])

    with trio.fail_after(5):
        microphone = Microphone()
        async with microphone, trio.open_nursery() as nursery:
            nursery.start_soon(take, microphone)
            await trio.testing.wait_all_tasks_blocked()
            await microphone.aclose()
    assert taken == []
    with pytest.raises(StopAsyncIteration):
        await anext(microphone)


async def test_a_stream_that_ends_is_opened_again_where_it_was() -> None:
    FakeDeviceStream.refusals = []
    async with Microphone("fake") as microphone:
        first = FakeDeviceStream.made[0]
        first.send(FRAME_SAMPLES)
        assert (await anext(microphone)).seq == 0
        FakeDeviceStream.refusals = [DeviceNotFoundError("gone")] * 3
        first.end()
        for _ in range(5):  # a program that waits with a deadline of its own
            with trio.move_on_after(0.002):
                await anext(microphone)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, microphone)
            with trio.fail_after(5):
                while len(FakeDeviceStream.made) < 2 or FakeDeviceStream.made[1].stream is None:  # noqa: ASYNC110 - a thread does it
                    await trio.sleep(0.01)
            second = FakeDeviceStream.made[1]
            second.send(FRAME_SAMPLES)
        with trio.move_on_after(0.1):
            await anext(microphone)
        assert first.is_closed
        assert second.resume_ns == 1, "the new stream knows when the old one ended"
        assert microphone.reopenings == 1
        assert microphone.statistics().delivered_frames == 2


async def test_that_it_is_open_again_is_told_before_what_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    may_return = threading.Event()
    open_at_once = FakeDeviceStream.open

    def open_while_sound_comes(line: FakeDeviceStream, chain: Chain, wake: Any, resume_ns: int = 0) -> FakeStream:
        stream = open_at_once(line, chain, wake, resume_ns)
        if resume_ns:
            chain.note_loss(800)
            line.send(FRAME_SAMPLES)
            may_return.wait(10)
        return stream

    monkeypatch.setattr(FakeDeviceStream, "open", open_while_sound_comes)
    async with Microphone() as microphone:
        with microphone.events() as events:
            FakeDeviceStream.made[0].end()
            assert (await anext(microphone)).discontinuity
            with trio.fail_after(10):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(microphone.__anext__)
                    await trio.testing.wait_all_tasks_blocked()  # it has looked at that frame
                    may_return.set()
                    told = [(await anext(events)).kind]
                    while told[-1] != "overruns":
                        told.append((await anext(events)).kind)
                    nursery.cancel_scope.cancel()
    assert told == ["no_constraints", "reopening", "reopened", "overruns"]


async def test_what_comes_while_a_fallback_is_opened_beside_a_close_that_hangs_is_not_delivered_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fallback's stream begins its count where the delivered frames ended when it was begun to be opened."""
    monkeypatch.setattr(reopening, "HANGING_S", 0.01)
    is_opening, may_open, may_close = threading.Event(), threading.Event(), threading.Event()
    stuck_before = stuck_calls()
    open_at_once = FakeDeviceStream.open

    def open_when_it_may(line: FakeDeviceStream, chain: Chain, wake: Any, resume_ns: int = 0) -> FakeStream:
        is_opening.set()
        may_open.wait(10)
        return open_at_once(line, chain, wake, resume_ns)

    frames: list[Frame] = []

    async def take(microphone: Microphone) -> None:
        frames.extend([frame async for frame in microphone])

    with trio.fail_after(20):
        async with (
            Microphone("fake", fallback="other", fallback_after_s=0) as microphone,
            trio.open_nursery() as nursery,
        ):
            first = FakeDeviceStream.made[0]
            monkeypatch.setattr(first, "close", lambda: may_close.wait(20))
            monkeypatch.setattr(FakeDeviceStream, "open", open_when_it_may)
            first.send(FRAME_SAMPLES)
            first.end()
            nursery.start_soon(take, microphone)
            await trio.to_thread.run_sync(is_opening.wait)
            first.send(3 * FRAME_SAMPLES)
            await trio.testing.wait_all_tasks_blocked(0.01)  # it has looked
            may_open.set()
            while not microphone.reopenings:  # noqa: ASYNC110 - another task does it
                await trio.sleep(0.001)
            assert stuck_calls() == stuck_before + 1
            first.send(FRAME_SAMPLES)
            FakeDeviceStream.made[1].send(FRAME_SAMPLES)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await microphone.stop()
    counts = microphone.statistics()
    may_close.set()
    assert [(frame.seq, frame.position_samples) for frame in frames] == [(0, 0), (1, FRAME_SAMPLES)]
    assert counts.captured_samples == counts.delivered_samples == 2 * FRAME_SAMPLES
    assert FakeDeviceStream.made[1].resume_ns == round(frames[0].captured_s * 1e9)
    with trio.fail_after(10):
        while stuck_calls() > stuck_before:  # noqa: ASYNC110 - a thread does it
            await trio.sleep(0.001)


async def test_without_recovery_the_end_of_the_stream_is_an_error() -> None:
    async with Microphone(recover_s=0) as microphone:
        FakeDeviceStream.made[0].end()
        with pytest.raises(MediaAbortedError) as caught:
            await anext(microphone)
    assert caught.value.details["errno"] == "ENODEV"


async def test_recovery_gives_up_after_its_time() -> None:
    async with Microphone(recover_s=0.05) as microphone:
        FakeDeviceStream.refusals = [DeviceNotFoundError("gone")] * 1_000
        FakeDeviceStream.made[0].end()
        with trio.fail_after(5), pytest.raises(MediaAbortedError):
            await anext(microphone)


async def test_stopping_while_it_is_being_opened_again_leaves_nothing_open() -> None:
    async with Microphone() as microphone, trio.open_nursery() as nursery:
        FakeDeviceStream.gate.clear()
        FakeDeviceStream.made[0].end()

        async def take() -> None:
            async for _ in microphone:
                pass

        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked(0.005)
        nursery.start_soon(microphone.stop)
        await trio.testing.wait_all_tasks_blocked(0.005)
        FakeDeviceStream.gate.set()
    assert len(FakeDeviceStream.made) == 2
    assert all(line.is_closed for line in FakeDeviceStream.made)


async def test_cancelling_the_opening_closes_what_opens_too_late() -> None:
    FakeDeviceStream.gate.clear()
    with trio.move_on_after(0.05):
        async with Microphone():
            raise AssertionError("it cannot have opened")
    FakeDeviceStream.gate.set()
    with trio.fail_after(5):
        while not (FakeDeviceStream.made and FakeDeviceStream.made[0].is_closed):  # noqa: ASYNC110 - a thread does it
            await trio.sleep(0.01)


async def test_cancelled_before_anything_opens_it_leaves_nothing_behind() -> None:
    def held() -> tuple[int, int]:
        gc.collect()  # of the tests before this one, too
        return stuck_calls(), len(os.listdir("/dev/fd"))

    before = held()
    for _ in range(5):
        with trio.move_on_after(0):
            async with Microphone():
                raise AssertionError("it cannot have opened")
    assert held() == before


async def test_cancelled_while_it_begins_to_open_again_it_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fallback ends while the device is being looked for, and the program waits for a frame no longer just then."""
    monkeypatch.setattr(supervisor, "LOOK_BACK_S", (0.0, 0.0))
    token = trio.lowlevel.current_trio_token()
    FakeDeviceStream.refusals = [DeviceNotFoundError("not there yet")]
    with trio.fail_after(10):
        async with Microphone("fake", fallback="other") as microphone:
            FakeDeviceStream.gate.clear()
            with trio.move_on_after(0.01):
                await anext(microphone)  # begins the look, which does not end
            fallback = FakeDeviceStream.made[0]
            with trio.CancelScope() as scope:
                monkeypatch.setattr(fallback, "close", lambda: token.run_sync_soon(scope.cancel))
                fallback.end()
                await anext(microphone)
            assert scope.cancelled_caught
            FakeDeviceStream.gate.set()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(anext, microphone)
                while not (again := [line for line in FakeDeviceStream.made[1:] if line.stream]):  # noqa: ASYNC110 - a thread does it
                    await trio.sleep(0.001)
                again[0].send(FRAME_SAMPLES)


async def test_cancelled_when_its_stream_has_ended_it_closes_that(monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.fail_after(10):
        async with Microphone("fake") as microphone:
            with trio.CancelScope() as scope:
                monkeypatch.setattr(microphone, "_emit", lambda *_: scope.cancel())
                FakeDeviceStream.made[0].end()
                await anext(microphone)
            assert scope.cancelled_caught
        assert FakeDeviceStream.made[0].is_closed
    assert microphone._chain is None
    assert not microphone._is_left_behind


async def test_a_microphone_is_opened_once() -> None:
    microphone = Microphone()
    async with microphone:
        pass
    with pytest.raises(RecorderError, match="opened before"):
        async with microphone:
            pass


@pytest.mark.parametrize(
    "wrong", [{"backend": "oss"}, {"block_s": 0}, {"buffer_s": 9}, {"stall_s": 0.001}, {"recover_s": -1}]
)
def test_values_that_cannot_be_used_are_refused_before_anything_opens(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=str(next(iter(wrong.values())))):
        Microphone(**wrong)


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_device_that_is_plugged_in_is_tried_at_once(
    tmp_path: Path, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_told:
        monkeypatch.setattr(HotplugWatch, "_watch", lambda self: -38)  # no inotify here
    elif sys.platform != "linux":
        pytest.skip("inotify is Linux's")
    folder = tmp_path / "snd"  # there is none before the first card comes
    hotplug = HotplugWatch(folder)
    attempts = retry.Retry(MediaAbortedError("unplugged"), System(), hotplug, until_s=1e9)
    with trio.fail_after(5):
        await attempts.pause()
        attempts.note_failure(DeviceNotFoundError("gone"))
        await attempts.pause()  # a moment, as after the first failure
    folder.mkdir()
    steps: list[Callable[[], object]] = [(folder / "pcmC1D0c").touch, lambda: (folder / "pcmC1D0c").chmod(0o660)]
    for plug in steps:
        attempts._next_s = time.monotonic() + 3_600  # as after many attempts
        with trio.move_on_after(0.2) as scope:
            await attempts.pause()
        assert scope.cancelled_caught, "nothing has come"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempts.pause)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(5):
                plug()
                while nursery.child_tasks:  # noqa: ASYNC110 - it ends by itself
                    await trio.sleep(0.001)
        attempts.note_failure(DeviceNotFoundError("gone"))
        assert attempts._next_s - time.monotonic() < 1, "it may take a moment until it can be opened"
        with trio.fail_after(5):
            await attempts.pause()
    hotplug.close()
