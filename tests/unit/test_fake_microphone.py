"""The fake microphone for users' tests, and with it the real microphone's logic, in virtual time."""

import itertools
import math
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

from ravatar_audio.capture import CaptureEvent
from ravatar_audio.errors import (
    ConstraintsError,
    DeviceInUseError,
    DeviceNotFoundError,
    MediaAbortedError,
    MediaError,
    PermissionDeniedError,
    RecorderError,
    SettingsError,
)
from ravatar_audio.frames import Frame
from ravatar_audio.testing import FakeDevice, FakeMicrophone
from ravatar_audio.testing.device import FakeStream
from ravatar_audio.testing.system import FakeSystem

BLOCK_SAMPLES = 160  # 10 ms at 16 kHz

Clock = trio.testing.MockClock


async def hear(microphone: FakeMicrophone) -> tuple[list[Frame], list[CaptureEvent]]:
    """All frames and events, and the rules that always hold."""
    async with microphone:
        events = microphone.events()
        frames = [frame async for frame in microphone]
    counts = microphone.statistics()
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    ends = list(itertools.accumulate(frame.length_samples for frame in frames))
    assert [frame.position_samples for frame in frames] == [0, *ends[:-1]]
    assert counts.captured_samples == counts.delivered_samples == ends[-1]
    assert counts.device_lost_samples == sum(frame.device_lost_samples for frame in frames)
    return frames, [event async for event in events if event.kind != "no_constraints"]


def pcm(frames: list[Frame]) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    return np.concatenate([np.frombuffer(frame.pcm, "<i2")[: frame.length_samples] for frame in frames])


def duration_samples(frames: list[Frame]) -> int:
    return sum(frame.length_samples + frame.device_lost_samples for frame in frames)


def kinds(events: list[CaptureEvent]) -> list[str]:
    return [event.kind for event in events]


async def test_it_hears_its_ramp_sample_by_sample_in_its_time(autojump_clock: Clock) -> None:
    began_s = trio.current_time()
    frames, events = await hear(FakeMicrophone(FakeDevice("ramp", rate_hz=16_000), duration_s=60))
    assert trio.current_time() - began_s == pytest.approx(60, abs=0.02)
    assert not events
    assert np.array_equal(pcm(frames), np.arange(60 * 16_000) & 0x7FFF)
    ages_s = np.diff([frame.captured_s for frame in frames[:-1]])
    assert np.allclose(ages_s, 0.256, atol=1e-6)


@pytest.mark.parametrize("format", ["int16", "int24", "int32", "float32", "uint8"])
async def test_every_format_and_several_channels_sound_the_same(autojump_clock: Clock, format: str) -> None:
    device = FakeDevice("tone", rate_hz=44_100, channels=2, format=format)
    frames, _ = await hear(FakeMicrophone(device, duration_s=2))
    tone = pcm(frames)[8_000:24_000].astype(np.float64) / 32_768
    assert 20 * math.log10(np.sqrt(2 * np.mean(tone**2))) == pytest.approx(-12, abs=0.1 if format == "uint8" else 0.01)


async def test_a_wav_file_and_an_array_are_heard_again_and_again(autojump_clock: Clock, tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-9_000, 9_000, 1_000).astype(np.int16)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())  # the library swaps them on a big-endian machine
    of_file, _ = await hear(FakeMicrophone(tmp_path / "sound.wav", duration_s=1))
    of_array, _ = await hear(FakeMicrophone(FakeDevice(samples, rate_hz=16_000), duration_s=1))
    assert np.array_equal(pcm(of_file), np.resize(samples, 16_000))
    assert np.array_equal(pcm(of_array), np.resize(samples, 16_000))


async def test_its_clock_may_be_wrong_and_its_blocks_late_and_the_drift_is_told(autojump_clock: Clock) -> None:
    for ppm in (-120.0, 35.0):
        microphone = FakeMicrophone("tone", drift_ppm=ppm, jitter_s=0.03, duration_s=60)
        frames, events = await hear(microphone)
        assert not events, "a late block is no stall"
        found = microphone.statistics().drift_ppm
        assert found == pytest.approx(ppm, abs=1)
        assert sum(frame.length_samples for frame in frames) == pytest.approx(
            60 * 16_000 * (1 + ppm * 1e-6), abs=6 * BLOCK_SAMPLES
        )


@pytest.mark.parametrize("word", ["unplug", "eio"])
async def test_after_an_unplug_it_is_opened_again_and_the_gap_is_right(autojump_clock: Clock, word: str) -> None:
    device = FakeDevice("ramp", rate_hz=16_000, script={16_123: word, 50_000: "ok"})
    microphone = FakeMicrophone(device, duration_s=8)
    frames, events = await hear(microphone)
    assert kinds(events) == ["reopening", "reopened", "overruns"]
    assert events[0].at_s - frames[0].captured_s == pytest.approx(16_123 / 16_000 - 0.256, abs=0.011)
    (gap,) = [frame for frame in frames if frame.discontinuity]
    heard = pcm(frames)
    (jump,) = np.flatnonzero(np.diff(heard.astype(int)) % 32_768 != 1)
    assert gap.position_samples <= jump + 1 <= gap.position_samples + gap.length_samples
    truly_lost = (int(heard[jump + 1]) - int(heard[jump]) - 1) % 32_768
    assert abs(gap.device_lost_samples % 32_768 - truly_lost) <= 1
    assert microphone.reopenings == 1
    # A device that comes back is opened at once; an error without an unplug is tried again at once.
    assert events[1].at_s - events[0].at_s < (2.13 if word == "unplug" else 0.01)


async def test_a_stall_is_noticed_in_a_tenth_of_a_second_and_ends(autojump_clock: Clock) -> None:
    script = {17_120: "stall", 25_120: "ok", 41_120: "lose 800"}
    frames, events = await hear(FakeMicrophone(FakeDevice("ramp", rate_hz=16_000, script=script), duration_s=4))
    assert kinds(events) == ["stalled", "recovered", "overruns"]
    stalled_s = frames[0].captured_s + 17_120 / 16_000 - 0.256
    assert 0.099 < events[0].at_s - stalled_s < 0.161
    assert [frame.device_lost_samples for frame in frames if frame.discontinuity] == [8_000, 800]


async def test_that_sound_comes_again_is_told_before_what_was_lost(autojump_clock: Clock) -> None:
    script = {20_400: "stall", 28_480: "ok"}  # the first block that comes again completes a frame, at 20,480
    _, events = await hear(FakeMicrophone(FakeDevice("ramp", rate_hz=16_000, script=script), duration_s=4))
    assert kinds(events) == ["stalled", "recovered", "overruns"]


@pytest.mark.parametrize("block_s", [0.005, 0.010, 0.050, 0.100])
@pytest.mark.parametrize("position", [16_000, 18_000, 20_480, 22_222])
async def test_a_stall_is_noticed_after_three_blocks_or_a_tenth_of_a_second(
    autojump_clock: Clock, block_s: float, position: int
) -> None:
    """Whichever is more, give or take 2 %, after the last block that came; wherever in a block or a frame it stops."""
    device = FakeDevice("ramp", rate_hz=16_000, script={position: "stall"})
    async with FakeMicrophone(device, block_s=block_s, reopen_s=60, duration_s=3) as microphone:
        events = microphone.events()
        frames = [frame async for frame in microphone]
    began_s = frames[0].captured_s - 0.256
    block = round(block_s * 16_000)
    last_block_s = began_s + position // block * block_s
    told = [event async for event in events if event.kind != "no_constraints"]
    assert kinds(told) == ["stalled"]
    limit_s = max(0.1, 3 * block_s)
    assert limit_s * 0.999 < told[0].at_s - last_block_s < limit_s * 1.03


SECOND = 16_000
EDGES = {
    "stall": ["stalled", "recovered"],
    "mute": ["digital_silence", "sound"],
    "move": ["source_changed"],
    "unplug": ["reopening", "reopened"],
    "lose 800": ["overruns"],
}


@pytest.mark.parametrize("word", EDGES)
async def test_each_event_is_told_once_for_each_edge(autojump_clock: Clock, word: str) -> None:
    """Twice it happens, for six seconds: what begins and what ends is told each time, and nothing in between."""
    script = {20 * SECOND: word, 26 * SECOND: "ok", 60 * SECOND: word, 66 * SECOND: "ok"}
    device = FakeDevice("tone", rate_hz=SECOND, script=script)
    _, events = await hear(FakeMicrophone(device, reopen_s=60, duration_s=90))
    told = [kind for kind in kinds(events) if kind != "overruns" or word == "lose 800"]
    assert told == EDGES[word] * 2


async def test_losses_and_clipping_are_told_of_once_for_as_long_as_they_go_on(autojump_clock: Clock) -> None:
    script = {number * SECOND: "lose 800" for number in (*range(20, 50), *range(70, 90))}
    _, events = await hear(FakeMicrophone(FakeDevice("tone", rate_hz=SECOND, script=script), duration_s=100))
    assert kinds(events) == ["overruns", "overruns"]
    loud = np.full(60 * SECOND, 32_767, np.int16)
    loud[30 * SECOND : 45 * SECOND] = np.tile(np.array([0, 900, 0, -900], np.int16), 15 * SECOND // 4)
    _, events = await hear(FakeMicrophone(FakeDevice(loud, rate_hz=SECOND), duration_s=60))
    assert kinds(events) == ["clipping", "clipping"]


async def test_a_stall_that_lasts_is_cured_by_opening_again(autojump_clock: Clock) -> None:
    device = FakeDevice("ramp", rate_hz=16_000, script={16_000: "stall", 64_000: "ok"})
    microphone = FakeMicrophone(device, reopen_s=0.5, duration_s=6)
    _, events = await hear(microphone)
    assert kinds(events)[:3] == ["stalled", "reopening", "reopened"]
    assert microphone.reopenings >= 1


async def test_a_muted_microphone_is_told(autojump_clock: Clock) -> None:
    _, events = await hear(FakeMicrophone("tone", script={48_000: "mute", 4 * 48_000: "ok"}, duration_s=5))
    assert kinds(events) == ["digital_silence", "sound"]


async def test_a_program_that_is_away_loses_what_the_ring_cannot_hold(autojump_clock: Clock) -> None:
    async with FakeMicrophone("ramp", duration_s=6) as microphone:
        await anext(microphone)
        await trio.sleep(4)
        frames = [frame async for frame in microphone]
    assert frames[0].seq == 1
    assert sum(frame.ring_lost_samples for frame in frames) > 16_000
    counts = microphone.statistics()
    assert counts.captured_samples == counts.delivered_samples + counts.ring_dropped_samples


@pytest.mark.parametrize(
    ("word", "error"),
    [("eacces", PermissionDeniedError), ("ebusy", DeviceInUseError), ("enodev", DeviceNotFoundError)],
)
async def test_a_refused_opening_is_the_real_error(autojump_clock: Clock, word: str, error: type[MediaError]) -> None:
    microphone = FakeMicrophone("tone")
    microphone.do(word)
    with pytest.raises(error):
        async with microphone:
            pass


async def test_constraints_are_the_devices(autojump_clock: Clock) -> None:
    with pytest.raises(ConstraintsError, match="48000"):
        async with FakeMicrophone("tone", rate_hz=44_100, strict=True):
            pass
    frames, events = await hear(FakeMicrophone("tone", rate_hz=44_100, duration_s=1))
    assert len(frames) == 4
    assert kinds(events) == ["invalid_media_constraints"]


async def test_a_sound_library_that_hangs_is_given_up_on(autojump_clock: Clock) -> None:
    microphone = FakeMicrophone("tone")
    microphone.do("hang")
    with pytest.raises(RecorderError, match="did not open within 10 s"):
        async with microphone:
            pass


@pytest.mark.row("media recorder_error")
async def test_a_sound_library_that_hangs_while_it_opens_again_ends_the_capture(autojump_clock: Clock) -> None:
    with pytest.raises(RecorderError, match="did not open again within 10 s"):
        await hear(FakeMicrophone("tone", script={48_000: "unplug", 60_000: "hang"}))


@pytest.mark.parametrize("hangs", ["closing", "opening"])
async def test_a_sound_server_that_hangs_for_a_while_is_waited_for(
    autojump_clock: Clock, hangs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSystem, "is_served", lambda self, device: True)
    before = {24_000: "unplug", 26_000: "hang"} if hangs == "opening" else {24_000: "hang"}
    device = FakeDevice("ramp", rate_hz=16_000, script=before | {344_000: "ok"})
    frames, events = await hear(FakeMicrophone(device, duration_s=30, ring_s=30))
    told = [event for event in events if event.kind in ("reopening", "hanging", "reopened")]
    assert kinds(told) == ["reopening", "hanging", "reopened"]
    assert 3 < told[1].at_s - told[0].at_s < 4
    # What the server had kept, and gives to the stream that is being closed, is heard.
    lost = sum(frame.device_lost_samples for frame in frames)
    assert lost == pytest.approx(320_000 if hangs == "opening" else 0, abs=3 * BLOCK_SAMPLES)
    assert lost + sum(frame.length_samples for frame in frames) == pytest.approx(480_000, abs=3 * BLOCK_SAMPLES)


async def test_a_sound_server_that_hangs_for_ever_is_given_up_on(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSystem, "is_served", lambda self, device: True)
    with pytest.raises(RecorderError, match="did not close within 60 s"):
        await hear(FakeMicrophone("tone", script={48_000: "hang"}))


async def test_recovery_can_be_bounded(autojump_clock: Clock) -> None:
    began_s = trio.current_time()
    with pytest.raises(MediaAbortedError, match="ended the stream"):
        await hear(FakeMicrophone("tone", script={48_000: "unplug"}, recover_s=30))
    assert 20 < trio.current_time() - began_s < 40


async def test_a_stream_that_ends_at_once_again_and_again_is_opened_ever_more_seldom(autojump_clock: Clock) -> None:
    device = FakeDevice("ramp", rate_hz=16_000, script={160_000: "enospc", 1_600_000: "ok"})
    _, events = await hear(FakeMicrophone(device, duration_s=120))
    at_s = [event.at_s - events[0].at_s for event in events if event.kind == "reopened"]
    assert 15 < len(at_s) < 30, "90 s long: at once, and then at most every 5 s"
    waits_s = [later - sooner for sooner, later in itertools.pairwise(at_s)]
    assert all(5.0 >= later - 0.1 >= sooner - 0.2 for sooner, later in itertools.pairwise(waits_s))
    assert "No space left on device" in events[0].message, "it says why"


async def test_a_source_that_is_silent_from_the_start_is_listened_to_ever_more_seldom(autojump_clock: Clock) -> None:
    """PortAudio takes a core while a first block is waited for: that is to be a tenth of the time at most."""
    device = FakeDevice("ramp", rate_hz=16_000, script={160_000: "stall", 20_000_000: "ok"})
    _, events = await hear(FakeMicrophone(device, duration_s=1_320))
    told = [(event.kind, event.at_s - events[0].at_s) for event in events if event.kind in ("reopening", "reopened")]
    assert told[-1][0] == "reopened"
    assert told[-1][1] < 20_000_000 / 16_000 + 60, "it is heard again within a minute"
    ends_s, begins_s = ([at_s for kind, at_s in told if kind == one] for one in ("reopening", "reopened"))
    # The clock's begin is the machine's, and so is how its floats are rounded; and a made-up machine waits for a
    # microsecond at least, which one wait has more often than another.
    waits_s = [round(begin_s - end_s, 5) for end_s, begin_s in zip(ends_s, begins_s, strict=True)]
    assert waits_s == sorted(waits_s)
    assert waits_s[1] < 3, "not to be lost for a minute when it is back at once"
    open_s = sum(end_s - begin_s for begin_s, end_s in zip(begins_s, ends_s[1:], strict=False) if begin_s > 300)
    assert 0 < open_s < 0.1 * (ends_s[-1] - 300)


async def test_our_own_thread_which_sleeps_meanwhile_listens_to_silence_as_often_as_to_any_fault(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeStream, "backend", "alsa")
    device = FakeDevice("ramp", rate_hz=16_000, script={160_000: "stall", 16_000_000: "ok"})
    _, events = await hear(FakeMicrophone(device, duration_s=1_100))
    told_s = [event.at_s for event in events if event.kind == "reopened"]
    waits_s = [later - sooner for sooner, later in itertools.pairwise(told_s)]
    assert len(told_s) > 90
    assert all(wait_s < 10.5 for wait_s in waits_s), "5 s for a first block, and 5 of rest"


async def test_once_a_stream_has_lasted_it_is_opened_at_once_again(autojump_clock: Clock) -> None:
    script = {160_000: "enospc", 480_000: "ok", 800_000: "eio"}
    _, events = await hear(FakeMicrophone(FakeDevice("ramp", rate_hz=16_000, script=script), duration_s=60))
    began, again = [event for event in events if event.kind in ("reopening", "reopened")][-2:]
    assert "Input/output" in began.message
    assert again.at_s - began.at_s < 0.1


async def test_openings_that_do_not_last_count_as_one_recovery(autojump_clock: Clock) -> None:
    began_s = trio.current_time()
    device = FakeDevice("ramp", rate_hz=16_000, script={160_000: "enospc"})
    with pytest.raises(MediaAbortedError, match="No space left"):
        await hear(FakeMicrophone(device, recover_s=30))
    assert 35 < trio.current_time() - began_s < 50


def desk_and_spare(**script: Any) -> tuple[FakeDevice, FakeDevice]:
    return (
        FakeDevice("ramp", rate_hz=16_000, name="Desk", usb_id="1111:0001", **script),
        FakeDevice("tone", rate_hz=48_000, channels=2, format="float32", name="Spare", usb_id="2222:0002"),
    )


async def test_a_fallback_of_another_kind_takes_over_and_hands_back(autojump_clock: Clock) -> None:
    desk, spare = desk_and_spare(script={32_000: "unplug", 320_000: "ok"})
    microphone = FakeMicrophone(desk, spare, device="usb:1111:0001", fallback="usb:2222:0002", duration_s=30)
    names = []
    async with microphone:
        events = microphone.events()
        frames = []
        async for frame in microphone:
            frames.append(frame)
            names.append(microphone.name)
    assert [name for name, _ in itertools.groupby(names)] == ["Desk", "Spare", "Desk"]
    told = [event async for event in events if event.kind != "no_constraints"]
    assert [kind for kind in kinds(told) if kind != "overruns"] == [
        *("reopening", "stand_in", "reopened"),
        *("reopening", "reopened"),
    ]
    at_s = {index: event.at_s - told[0].at_s for index, event in enumerate(told)}
    assert 3.0 <= at_s[1] < 6.5, "the fallback is given a chance after fallback_after_s"
    assert told[-1].at_s - told[0].at_s == pytest.approx(18, abs=0.5), "the device is taken back when it is plugged in"
    # Numbers go on over three chains, and so does the time.
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    ends = list(itertools.accumulate(frame.length_samples for frame in frames))
    assert [frame.position_samples for frame in frames] == [0, *ends[:-1]]
    counts = microphone.statistics()
    assert counts.captured_samples == counts.delivered_samples == ends[-1]
    assert counts.captured_samples + counts.device_lost_samples == pytest.approx(30 * 16_000, abs=3 * BLOCK_SAMPLES)
    assert [frame.discontinuity for frame in frames].count(True) == 2


async def test_a_fallback_takes_over_from_a_device_that_opens_and_dies_again_and_again(autojump_clock: Clock) -> None:
    desk, spare = desk_and_spare(script={32_000: "enospc", 4_800_000: "ok"})
    microphone = FakeMicrophone(desk, spare, device="Desk", fallback="Spare", duration_s=400)
    frames, events = await hear(microphone)
    told = [event for event in events if event.kind in ("reopened", "stand_in")]
    first = next(event for event in told if event.kind == "stand_in")
    assert 3.0 <= first.at_s - events[0].at_s < 8.0, "after fallback_after_s"
    at_s = [event.at_s for event in told if event.kind == "stand_in"]
    waits_s = [later - sooner for sooner, later in itertools.pairwise(at_s)]
    assert all(later > 1.5 * sooner or later > 50 for sooner, later in itertools.pairwise(waits_s)), "ever more seldom"
    assert len(waits_s) > 3
    lost = sum(frame.device_lost_samples for frame in frames if frame.captured_s > first.at_s + 1)
    assert lost < 16_000 * len(at_s), "each look at it costs no more than a moment"
    assert microphone.name == "Desk", "which is taken back when it lasts"


async def test_when_neither_lasts_both_are_tried_ever_more_seldom(autojump_clock: Clock) -> None:
    desk, spare = desk_and_spare(script={32_000: "enospc"})
    spare.do("enospc")
    microphone = FakeMicrophone(desk, spare, device="Desk", fallback="Spare", duration_s=120)
    _, events = await hear(microphone)
    assert 20 < kinds(events).count("reopened") < 60
    assert kinds(events).count("stand_in") > 5


async def test_a_microphone_that_is_missing_from_the_start_has_its_fallback_at_once(autojump_clock: Clock) -> None:
    desk, spare = desk_and_spare()
    desk.do("enodev")
    microphone = FakeMicrophone(desk, spare, device="Desk", fallback="Spare", duration_s=10)
    _, events = await hear(microphone)
    assert kinds(events) == ["stand_in"]
    assert microphone.statistics().captured_samples == pytest.approx(10 * 16_000, abs=2 * BLOCK_SAMPLES)


async def test_without_any_microphone_the_first_ones_error_is_told(autojump_clock: Clock) -> None:
    desk, spare = desk_and_spare()
    desk.do("eacces")
    spare.do("enodev")
    with pytest.raises(PermissionDeniedError, match="Desk"):
        async with FakeMicrophone(desk, spare, device="Desk", fallback="Spare"):
            pass


async def test_flushing_at_a_position_works_on_a_second_device_too(autojump_clock: Clock) -> None:
    desk, spare = desk_and_spare(script={32_000: "unplug"})
    async with FakeMicrophone(desk, spare, device="Desk", fallback="Spare", fallback_after_s=0) as microphone:
        frames = [await anext(microphone) for _ in range(12)]
        wanted = frames[-1].position_samples + frames[-1].length_samples + 1_000
        microphone.flush_at(wanted)
        short = await anext(microphone)
    assert microphone.name == "Spare"
    assert short.flushed
    assert short.position_samples + short.length_samples == wanted


async def test_stopping_and_leaving_in_the_middle_of_a_search_is_prompt(autojump_clock: Clock) -> None:
    for stop in (True, False):
        microphone = FakeMicrophone("tone", script={24_000: "unplug"})
        with trio.move_on_after(7) as scope:
            async with microphone, trio.open_nursery() as nursery:

                async def take(microphone: FakeMicrophone = microphone) -> None:
                    async for _ in microphone:
                        pass

                nursery.start_soon(take)
                await trio.sleep(3)
                if stop:
                    await microphone.stop()
                else:
                    nursery.cancel_scope.cancel()
        assert not scope.cancelled_caught


@pytest.mark.parametrize(
    "wrong", [{"script": {0: "explode"}}, {"script": {0: "lose"}}, {"sound": "music"}, {"format": "int12"}]
)
def test_what_no_device_can_do_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        FakeDevice(**wrong)


async def test_what_the_last_frame_that_was_taken_tells_is_told_when_the_microphone_is_closed(
    autojump_clock: Clock,
) -> None:
    async with FakeMicrophone(FakeDevice("tone", script={16_000: "lose 480"})) as microphone:
        events = microphone.events()
        async for frame in microphone:
            if frame.discontinuity:
                break
    assert [event.kind async for event in events] == ["no_constraints", "overruns"]


STEREO, MONO = {"channels": 2, "name": "Stereo"}, {"channels": 1, "name": "Mono", "usb_id": "1234:0002"}


@pytest.mark.parametrize("has_other", [False, True], ids=["alone", "another default meanwhile"])
async def test_a_device_without_the_channel_that_is_heard_is_waited_out(autojump_clock: Clock, has_other: bool) -> None:
    stereo = FakeDevice("noise", script={48_000: "unplug", 480_000: "ok"}, **STEREO)  # type: ignore[arg-type]
    others = [FakeDevice("noise", **MONO)] if has_other else []  # type: ignore[arg-type]
    microphone = FakeMicrophone(stereo, *others, channels_heard=(1,), duration_s=20)
    frames, events = await hear(microphone)
    assert microphone.reopenings == 1
    assert all("Mono" not in event.message for event in events)
    assert duration_samples(frames) == pytest.approx(320_000, abs=2_000)


REFUSED = {"rate": {"rate_hz": 4_000}, "channels": {"channels": 40}, "heard": {"channels": 1}}
"""Devices that the core cannot take, as its channel 1 is to be heard."""


@pytest.mark.parametrize("what", REFUSED)
async def test_what_the_core_refuses_of_a_device_is_a_media_error(autojump_clock: Clock, what: str) -> None:
    device = FakeDevice("silence", **{"channels": 2, **REFUSED[what]})  # type: ignore[arg-type]
    with pytest.raises(ConstraintsError, match="cannot be used"):
        async with FakeMicrophone(device, channels_heard=(1,)):
            pass


@pytest.mark.parametrize("what", REFUSED)
async def test_for_a_device_that_the_core_refuses_the_fallback_is_taken(autojump_clock: Clock, what: str) -> None:
    odd = FakeDevice("silence", name="Odd", **{"channels": 2, **REFUSED[what]})  # type: ignore[arg-type]
    spare = FakeDevice("tone", channels=2, name="Spare", usb_id="1234:0002")
    microphone = FakeMicrophone(odd, spare, device="Odd", channels_heard=(1,), fallback="Spare", duration_s=300)
    frames, events = await hear(microphone)
    assert microphone.name == "Spare"
    assert max(frame.peak for frame in frames) > 1_000
    assert kinds(events) == ["stand_in"], "it is not left again for a device that cannot be used"


@pytest.mark.parametrize("what", REFUSED)
async def test_a_microphone_that_is_another_when_it_is_back_lets_the_fallback_take_over(
    autojump_clock: Clock, what: str
) -> None:
    desk = FakeDevice("tone", channels=2, name="Desk", script={48_000: "unplug"})
    other = FakeDevice("silence", name="Desk", usb_id="1234:0003", **{"channels": 2, **REFUSED[what]})  # type: ignore[arg-type]
    other.do("unplug")
    spare = FakeDevice("tone", channels=2, name="Spare", usb_id="1234:0002")
    microphone = FakeMicrophone(desk, other, spare, device="Desk", channels_heard=(1,), fallback="Spare", duration_s=20)
    async with microphone:
        events = microphone.events()
        count = 0
        async for _ in microphone:
            count += 1
            if count == 6:
                other.do("ok")  # a device that the core refuses has come in its place
    assert "stand_in" in kinds([event async for event in events])
    assert count > 60, "the capture goes on"


FAILURES = (
    *(OSError(24, "Too many open files"), MemoryError(), RuntimeError("can't start new thread"), ValueError("odd")),
    *(UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"), SettingsError("refused by the core"), Exception("whatever")),
)
BUGS = (TypeError("bug"), AttributeError("bug"), AssertionError("bug"), KeyError("bug"), ZeroDivisionError("bug"))


def break_finding(monkeypatch: pytest.MonkeyPatch, error: Exception, until_s: float) -> None:
    """From the second opening on, until then, looking for the device raises the error."""
    find, calls = FakeSystem.find, itertools.count()

    def broken(system: FakeSystem, wanted: Any) -> Any:
        if next(calls) and trio.current_time() < until_s:
            raise error
        return find(system, wanted)

    monkeypatch.setattr(FakeSystem, "find", broken)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
async def test_whatever_an_attempt_to_reopen_raises_it_is_tried_again(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    break_finding(monkeypatch, error, trio.current_time() + 5)
    microphone = FakeMicrophone("tone", script={48_000: "eio"}, duration_s=20)
    frames, _ = await hear(microphone)
    assert microphone.reopenings == 1
    assert duration_samples(frames) == pytest.approx(320_000, abs=2_000)


@pytest.mark.parametrize("error", BUGS, ids=lambda error: type(error).__name__)
async def test_a_bug_in_an_attempt_to_reopen_is_not_hidden(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    break_finding(monkeypatch, error, trio.current_time() + 5)
    with pytest.raises(type(error), match="bug"):
        await hear(FakeMicrophone("tone", script={48_000: "eio"}, duration_s=20))


async def test_at_first_a_system_that_fails_is_a_media_error_and_the_fallback_is_taken(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = FakeSystem.find

    def broken(system: FakeSystem, wanted: Any) -> Any:
        if wanted.selector == "Desk":
            raise OSError(24, "Too many open files")
        return find(system, wanted)

    monkeypatch.setattr(FakeSystem, "find", broken)
    devices = FakeDevice("tone", name="Desk"), FakeDevice("tone", name="Spare", usb_id="1234:0002")
    with pytest.raises(RecorderError, match="Too many open files"):
        async with FakeMicrophone(*devices, device="Desk"):
            pass
    async with FakeMicrophone(*devices, device="Desk", fallback="Spare") as microphone:
        assert microphone.device is not None
        assert microphone.device.name == "Spare"


async def test_where_no_thread_can_be_started_it_is_tried_again(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, until_s = FakeSystem.start, trio.current_time() + 5

    def refuse(system: FakeSystem, thread_call: Any) -> None:
        if 2 < trio.current_time() - until_s + 5 < 5:
            raise RuntimeError("can't start new thread")
        start(system, thread_call)

    monkeypatch.setattr(FakeSystem, "start", refuse)
    microphone = FakeMicrophone("tone", script={48_000: "unplug", 120_000: "ok"}, duration_s=20)
    await hear(microphone)
    assert microphone.reopenings == 1
