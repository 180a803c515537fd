"""Microphone arrays: the table of known ones, and what is heard of a device by default."""

from typing import Any

import numpy as np
import pytest
import trio.testing

from ravatar_audio.capture import FileSource, PipeSource
from ravatar_audio.capture.devices.arrays import ArrayLayout, known_arrays, known_layout
from ravatar_audio.converter import Converter
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, Frame
from ravatar_audio.native import channels_averaged
from ravatar_audio.testing import FakeDevice, FakeMicrophone

Clock = trio.testing.MockClock
RATE_HZ = 16_000


@pytest.mark.parametrize("array", known_arrays(), ids=lambda array: f"{array.usb_id} {array.channels}")
def test_each_row_of_the_table_is_whole_and_names_its_source(array: ArrayLayout) -> None:
    layout = array
    assert known_layout(array.usb_id.upper(), array.channels) is array, "there is one row for each firmware"
    channels = [*layout.processed, *layout.raw, *layout.playback]
    assert sorted(channels) == list(range(layout.channels)), "each channel has one role"
    assert layout.heard == layout.processed[:1] != ()
    assert set(layout.silent) <= set(layout.raw)
    assert "." in layout.source.split(",")[0], "a page or a repository"
    assert [layout.role(channel) for channel in layout.processed] == ["processed"] * len(layout.processed)


def test_another_firmware_or_device_is_not_taken_for_a_known_one() -> None:
    assert known_layout("2886:0018", 5) is None
    assert known_layout("1234:0001", 6) is None
    assert known_layout("", 6) is None


def tones(levels: list[float]) -> "np.ndarray[tuple[int, int], np.dtype[np.int16]]":
    """A tone on each channel, each of a pitch of its own: 500 Hz, 1,000 Hz, ..."""
    at = np.arange(RATE_HZ) / RATE_HZ
    columns = [level * np.sin(2 * np.pi * 500 * (channel + 1) * at) for channel, level in enumerate(levels)]
    return (np.stack(columns, axis=1) * 32_767).astype(np.int16)


def heard_channels(frames: list[Frame], count: int) -> list[int]:
    """The channels of tones() that are in these frames."""
    pcm = np.concatenate([np.frombuffer(frame.pcm, "<i2")[: frame.length_samples] for frame in frames])[:RATE_HZ]
    spectrum = np.abs(np.fft.rfft(pcm[: RATE_HZ // 2]))  # of half a second: a bin is 2 Hz
    return [channel for channel in range(count) if spectrum[250 * (channel + 1)] > 0.05 * spectrum.max()]


@pytest.mark.parametrize(
    ("usb_id", "channels", "heard"),
    [
        ("1234:0001", 1, [0]),
        ("1234:0001", 2, [0, 1]),
        ("1234:0001", 3, [0]),
        ("1234:0001", 9, [0]),
        ("2886:0018", 6, [0]),
        ("2886:0018", 1, [0]),
        ("2886:001A", 6, [0]),
        ("2886:001a", 2, [0]),
        ("2886:0019", 2, [0]),
    ],
)
async def test_by_default_the_voice_is_heard_and_not_what_the_loudspeaker_plays(
    autojump_clock: Clock, usb_id: str, channels: int, heard: list[int]
) -> None:
    device = FakeDevice(tones([0.1] * (channels - 1) + [0.4]), rate_hz=RATE_HZ, usb_id=usb_id)
    async with FakeMicrophone(device, duration_s=2) as microphone:
        frames = [frame async for frame in microphone]
    assert heard_channels(frames, channels) == heard


@pytest.mark.parametrize(
    ("asked", "heard"), [("all", [0, 1, 2, 3, 4, 5]), ((0,), [0]), ((5, 0), [0, 5]), ([3], [3]), (None, [0])]
)
async def test_what_is_asked_for_goes_before_the_table(autojump_clock: Clock, asked: object, heard: list[int]) -> None:
    device = FakeDevice(tones([0.1] * 6), rate_hz=RATE_HZ, usb_id="2886:0018")
    async with FakeMicrophone(device, duration_s=2, channels_heard=asked) as microphone:
        frames = [frame async for frame in microphone]
    assert heard_channels(frames, 6) == heard


async def test_a_microphone_that_comes_back_as_a_known_array_is_heard_as_that(autojump_clock: Clock) -> None:
    """Of the same rate, channels and format: what was fed before would average both."""
    plain = FakeDevice(tones([0.1, 0.1]), rate_hz=RATE_HZ, name="Desk", script={RATE_HZ: "unplug"})
    array = FakeDevice(tones([0.1, 0.1]), rate_hz=RATE_HZ, name="Desk", usb_id="2886:0019", script={0: "ok"})
    array.do("unplug")
    async with FakeMicrophone(plain, array, device="Desk", duration_s=4) as microphone:
        frames = []
        async for frame in microphone:
            frames.append(frame)
            if len(frames) == 3:
                array.do("ok")
    assert heard_channels(frames[:3], 2) == [0, 1]
    assert heard_channels(frames[-8:], 2) == [0]


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 32])
def test_the_default_is_the_same_for_all_sources(channels: int) -> None:
    sound = tones([0.02] * channels)
    with Converter(RATE_HZ, channels) as converter:
        frames = converter.process(sound) + converter.flush()
    assert tuple(heard_channels(frames, min(channels, 15))) == channels_averaged(None, channels)


def test_the_old_name_of_an_argument_works_for_one_release_and_says_the_new_one() -> None:
    for make in (
        lambda: Converter(RATE_HZ, 6, heard=(5,)),
        lambda: FakeMicrophone("tone", heard=(0,)),
        lambda: FileSource("no.wav", heard=(0,)),
        lambda: PipeSource(0, heard=(0,)),
    ):
        with pytest.warns(DeprecationWarning, match="'heard' is now 'channels_heard'"):
            make()
    with pytest.warns(DeprecationWarning, match="channels_heard"), Converter(RATE_HZ, 6, heard=(5,)) as converter:
        frames = converter.process(tones([0.1] * 6)) + converter.flush()
    assert heard_channels(frames, 6) == [5]
    assert len(frames) == -(-RATE_HZ // FRAME_SAMPLES)


async def test_a_made_up_array_has_a_sound_of_its_own_on_each_channel(autojump_clock: Clock) -> None:
    sounds: list[Any] = ["silence", "tone", "ramp", tones([0.5])[:, 0]]
    for channel, sound in enumerate(sounds):
        pcm = []
        for device in (FakeDevice(sounds, rate_hz=RATE_HZ), FakeDevice(sound, rate_hz=RATE_HZ)):
            heard = (channel,) if device.channels == 4 else None
            async with FakeMicrophone(device, channels_heard=heard, duration_s=2) as microphone:
                pcm.append([frame.pcm async for frame in microphone])
        assert pcm[0] == pcm[1]
    with pytest.raises(SettingsError, match=r"16000 Hz, 1 channel, int16, not .*2 channels"):
        FakeDevice(["tone", tones([0.5, 0.5])], rate_hz=RATE_HZ)
