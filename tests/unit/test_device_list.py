"""Listing devices: a sound library that hangs is left behind, and what needs it not is listed all the same."""

import threading
from collections.abc import Iterator

import pytest

from ravatar_audio.capture import Device
from ravatar_audio.capture.host.blocking_call import stuck_calls
from ravatar_audio.capture.microphone.opener import MicrophoneOpener
from ravatar_audio.capture.microphone.system import System
from ravatar_audio.capture.streams import alsa, device_list
from ravatar_audio.capture.streams.device_stream import DeviceRequest
from ravatar_audio.conversion import Conversion
from ravatar_audio.errors import RecorderError

ARRAY = Device(None, "Array", "ALSA hardware", 2, 48_000, True, "hw:CARD=Array,DEV=0", "Array")


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sound library does not return until the test is over."""
    over, left = threading.Event(), threading.Event()

    def hang() -> tuple[list[Device], None]:
        over.wait(60)
        left.set()
        return [], None

    monkeypatch.setattr(device_list, "find_devices", hang)
    yield
    over.set()
    assert left.wait(60)


async def test_hardware_is_listed_when_the_sound_library_hangs(hanging: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alsa, "list_hardware", lambda: [ARRAY])
    devices, why = await device_list.find_devices_in_time(0.01)
    assert devices == [ARRAY]
    assert why is not None
    assert "has not listed its devices for 0.01 s" in why.message
    assert stuck_calls(), "the command ends by force"


async def test_without_hardware_the_hanging_library_is_the_error(
    hanging: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alsa, "list_hardware", list)
    with pytest.raises(RecorderError, match="has not listed its devices"):
        await device_list.find_devices_in_time(0.01)


@pytest.mark.parametrize(
    ("selector", "backend", "may_be"),
    [
        (None, "auto", True),
        ("pulse:usbmic", "auto", True),
        ("Array", "auto", True),
        ("Array", "portaudio", True),
        ("usb:2886:0018", "auto", False),
        ("card:Array", "auto", False),
        ("hw:CARD=Array,DEV=0", "auto", False),
        ("Array", "alsa", False),
    ],
)
def test_a_microphone_that_is_named_as_hardware_starts_no_sound_server(
    selector: str | None, backend: str, may_be: bool
) -> None:
    wanted = DeviceRequest(selector, None, None, None, 0.01, 0.1, backend)
    assert MicrophoneOpener(System(), wanted, None, Conversion()).may_be_served is may_be
