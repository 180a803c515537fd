"""Calls into a sound library that do not return, in virtual time: a fallback runs beside them, all is counted right."""

import gc
import os
import weakref

import pytest
import trio.testing

from ravatar_audio.capture import CaptureEvent
from ravatar_audio.capture.microphone.delivery_ledger import DeliveryLedger
from ravatar_audio.capture.microphone.opener import MicrophoneOpener
from ravatar_audio.capture.streams.device_stream import DeviceRequest, DeviceStreamPort
from ravatar_audio.errors import DeviceNotFoundError, RecorderError
from ravatar_audio.frames import FRAME_SAMPLES, Frame
from ravatar_audio.native import Chain
from ravatar_audio.testing import FakeDevice, FakeMicrophone
from ravatar_audio.testing.system import FakeSystem
from tests.unit.test_fake_microphone import BLOCK_SAMPLES, Clock, kinds
from tests.unit.test_fake_microphone import hear as hear_all

SECOND = 16_000


def devices(script: dict[int, str]) -> tuple[FakeDevice, FakeDevice]:
    """One that hangs, and a fallback of another kind."""
    desk = FakeDevice("ramp", rate_hz=16_000, name="Desk", script=script)
    return desk, FakeDevice("tone", rate_hz=44_100, channels=2, format="float32", name="Spare", usb_id="9:9")


async def hear(microphone: FakeMicrophone) -> tuple[list[Frame], list[CaptureEvent]]:
    """All frames, and what happened to the streams; nothing is dropped."""
    frames, events = await hear_all(microphone)
    counts = microphone.statistics()
    assert (counts.pending_samples, counts.ring_dropped_samples, counts.ring_dropped_frames) == (0, 0, 0)
    told = ("reopening", "hanging", "reopened", "stand_in")
    return frames, [event for event in events if event.kind in told]


def test_a_cut_leaves_out_what_came_after_the_last_frame_that_was_delivered() -> None:
    delivered = DeliveryLedger()
    with Chain(rate_hz=16_000, capacity_frames=2) as chain:

        def come(frames: int, lost_samples: int) -> None:
            chain.note_loss(lost_samples)
            chain.push(bytes(2 * FRAME_SAMPLES * frames))

        def take() -> list[Frame]:
            frames = list(chain.take_all())
            for frame in frames:
                delivered.add(frame)
                delivered.look()
            return frames

        come(5, 700)
        take()  # three of them find no room
        come(1, 300)
        last = take()[-1]
        assert delivered.cut(chain.statistics()) == chain.statistics(), "nothing to be left out"
        before = chain.statistics()
        come(4, 500)
        cut = delivered.cut(chain.statistics())
    assert (cut.finished_frames, cut.converted_samples) == (6, 6 * FRAME_SAMPLES)
    assert (cut.ring_dropped_frames, cut.ring_dropped_samples) == (3, 3 * FRAME_SAMPLES)
    assert (cut.device_lost_samples, cut.queued_frames, cut.open_samples) == (1_000, 0, 0)
    assert (before.finished_frames, before.device_lost_samples) == (cut.finished_frames, cut.device_lost_samples)
    assert delivered.captured_ns == round(last.captured_s * 1e9)


@pytest.mark.parametrize("hangs", ["closing", "opening"])
@pytest.mark.parametrize("is_served", [True, False])
async def test_a_fallback_runs_beside_a_call_that_hangs_until_the_device_is_back(
    autojump_clock: Clock, hangs: str, is_served: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSystem, "is_served", lambda self, device: is_served and device.name == "Desk")
    fault = {24_000: "unplug", 25_000: "hang"} if hangs == "opening" else {24_100: "hang"}
    # Sound is lost in the frame that will not be given out; the call lasts longer than it could be waited for.
    script = {22_000: "lose 480"} | fault | {24_000 + 100 * SECOND: "ok"}
    microphone = FakeMicrophone(*devices(script), device="Desk", fallback="Spare", duration_s=120)
    looks: list[bool] = []
    look = MicrophoneOpener.look

    def look_and_note(self: MicrophoneOpener) -> bool:
        looks.append(microphone._machine.hangs)
        return look(self)

    monkeypatch.setattr(MicrophoneOpener, "look", look_and_note)
    frames, events = await hear(microphone)
    assert looks == [False], "the library that hangs is not asked for the device"
    assert kinds(events) == ["reopening", "hanging", "stand_in", "reopened", "reopening", "reopened"]
    assert 3 <= events[2].at_s - events[0].at_s < 5
    assert microphone.name == "Desk", "it was taken again"
    assert events[-1].at_s - events[0].at_s > 99
    first, second = (frame for frame in frames if frame.discontinuity)
    # From the last sample that was given out: what had come after it went with the stream that hung.
    assert first.device_lost_samples > 3 * SECOND
    lost = sum(frame.device_lost_samples for frame in frames)
    assert lost + sum(frame.length_samples for frame in frames) == pytest.approx(120 * SECOND, abs=3 * BLOCK_SAMPLES)
    before = frames[first.seq - 1]
    begun_s = first.captured_s - first.length_samples / SECOND
    assert first.device_lost_samples == pytest.approx((begun_s - before.captured_s) * SECOND, abs=BLOCK_SAMPLES)
    assert second.device_lost_samples < SECOND


async def test_a_look_for_the_device_that_hangs_for_minutes_is_waited_for(autojump_clock: Clock) -> None:
    script = {24_000: "unplug", 24_000 + 4 * SECOND: "hang", 24_000 + 300 * SECOND: "ok"}
    microphone = FakeMicrophone(*devices(script), device="Desk", fallback="Spare", duration_s=320)
    _, events = await hear(microphone)
    assert kinds(events) == ["reopening", "stand_in", "reopened", "reopening", "reopened"]
    assert microphone.name == "Desk", "it was taken again"
    assert events[-1].at_s - events[0].at_s == pytest.approx(300, abs=2)


async def test_a_fallback_that_needs_the_library_that_hangs_is_not_asked_for(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for as without one, and what the server had kept is heard."""
    monkeypatch.setattr(FakeSystem, "is_served", lambda self, device: True)
    find = FakeSystem.find

    def find_by_portaudio(self: FakeSystem, wanted: DeviceRequest) -> DeviceStreamPort:
        if wanted.backend == "alsa":
            raise DeviceNotFoundError("no hardware of this name")
        return find(self, wanted)

    monkeypatch.setattr(FakeSystem, "find", find_by_portaudio)
    microphone = FakeMicrophone(
        *devices({24_000: "hang", 344_000: "ok"}), device="Desk", fallback="Spare", duration_s=30, ring_s=30
    )
    frames, events = await hear(microphone)
    assert kinds(events) == ["reopening", "hanging", "reopened"]
    assert sum(frame.device_lost_samples for frame in frames) < 3 * BLOCK_SAMPLES


@pytest.mark.parametrize("backend", ["portaudio", "pyaudio"])
async def test_whoever_wants_portaudio_for_everything_waits_for_it(autojump_clock: Clock, backend: str) -> None:
    desk, spare = devices({24_000: "hang"})
    with pytest.raises(RecorderError, match="did not close within 5 s"):
        await hear(FakeMicrophone(desk, spare, device="Desk", fallback="Spare", backend=backend, duration_s=100))


@pytest.mark.parametrize(("fallback_after_s", "is_served", "at_s"), [(20, True, 20), (20, False, 4), (1e9, True, 59)])
async def test_the_device_is_waited_for_as_long_as_was_asked_but_not_until_there_is_no_patience_left(
    autojump_clock: Clock, fallback_after_s: float, is_served: bool, at_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSystem, "is_served", lambda self, device: is_served)
    microphone = FakeMicrophone(
        *devices({24_000: "hang"}),
        device="Desk",
        fallback="Spare",
        fallback_after_s=fallback_after_s,
        duration_s=100,
    )
    _, events = await hear(microphone)
    assert kinds(events) == ["reopening", "hanging", "stand_in", "reopened"]
    assert events[2].at_s - events[0].at_s == pytest.approx(at_s, abs=0.2)


async def test_a_fallback_that_comes_later_is_taken_when_it_is_there(autojump_clock: Clock) -> None:
    desk, spare = devices({24_000: "hang"})
    spare.do("unplug")

    async def plug_in(microphone: FakeMicrophone) -> None:
        async for event in microphone.events():
            if event.kind == "hanging":
                await trio.sleep(1)
                spare.do("ok")

    with trio.fail_after(60):
        async with (
            FakeMicrophone(desk, spare, device="Desk", fallback="Spare") as microphone,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(plug_in, microphone)
            async for _ in microphone:
                if microphone.name == "Spare":
                    break
            nursery.cancel_scope.cancel()
    assert microphone.reopenings == 1


async def with_fallback(microphone: FakeMicrophone) -> Chain:
    """The chain that the stream still has that hangs, when the fallback runs beside it."""
    chain = microphone._chain
    assert chain is not None
    while microphone.reopenings == 0:
        await anext(microphone)
    assert microphone._chain is not chain
    return chain


async def test_what_a_stream_that_hangs_feeds_is_there_and_not_counted_until_that_has_returned(
    autojump_clock: Clock,
) -> None:
    microphone = FakeMicrophone(*devices({24_000: "hang"}), device="Desk", fallback="Spare", ring_s=1)
    system = microphone._machine
    async with microphone:
        chain = await with_fallback(microphone)
        is_gone = weakref.ref(chain)
        before, held = microphone.statistics(), chain.statistics()
        system.devices[0].on_change = lambda: None  # the machine does not look at once
        microphone.do("ok")
        system.devices[0].advance(system.now_s())  # what the server had kept
        assert chain.statistics().ring_dropped_samples > held.ring_dropped_samples
        after = microphone.statistics()
        assert after.captured_samples == before.captured_samples
        assert after.device_lost_samples == before.device_lost_samples
        assert after.ring_dropped_samples == before.ring_dropped_samples
        del chain
        # trio keeps until then what it resumed this task with: a cancellation, which has the frames that it went
        # through, and those, from Python 3.12 on, their variables.
        await trio.lowlevel.checkpoint()
        gc.collect()
        assert is_gone() is not None
        system.advance()  # now the call returns
        gc.collect()
        assert is_gone() is None


async def test_a_microphone_that_is_closed_leaves_to_a_stream_that_hangs_what_it_has(autojump_clock: Clock) -> None:
    gc.collect()
    files = len(os.listdir("/dev/fd"))
    microphone = FakeMicrophone(*devices({24_000: "hang"}), device="Desk", fallback="Spare")
    async with microphone:
        chain, wakes = await with_fallback(microphone), microphone._wakes
        assert wakes is not None
    gone: tuple[weakref.ref[object], ...] = weakref.ref(chain), weakref.ref(wakes)
    assert chain.handle, "it is open"
    os.fstat(wakes.frames.write_fd)
    del chain, wakes
    gc.collect()
    assert all(it() is not None for it in gone), "the stream has them"
    microphone.do("ok")
    microphone._machine.advance()  # the call returns
    del microphone
    gc.collect()
    assert all(it() is None for it in gone)
    assert len(os.listdir("/dev/fd")) == files


async def test_a_fallback_is_taken_when_the_sound_library_hangs_from_the_start(autojump_clock: Clock) -> None:
    desk, spare = devices({})
    desk.do("hang")
    microphone = FakeMicrophone(desk, spare, device="Desk", fallback="Spare", duration_s=60)
    async with microphone:
        assert microphone.name == "Spare"
        desk.do("ok")
        async for _ in microphone:
            if microphone.name == "Desk":
                break
    assert microphone.reopenings == 1
