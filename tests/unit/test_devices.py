"""How a device is chosen: what the user names must be found, and what is not clear must not be guessed."""

import pytest

from ravatar_audio.capture import Device, choose_device
from ravatar_audio.errors import DeviceNotFoundError


def device(index: int, name: str, *, is_default: bool = False) -> Device:
    return Device(index=index, name=name, host_api="ALSA", channels=2, rate_hz=48_000, is_default=is_default)


DEVICES = [
    device(0, "USB Audio: PnP (hw:1,0)"),
    device(3, "USB Audio: Array (hw:2,0)"),
    device(4, "pulse"),
    device(5, "default", is_default=True),
    device(6, "Pulse monitor"),
]


@pytest.mark.parametrize(
    ("selector", "index"),
    [(None, 5), ("", 5), ("default", 5), ("3", 3), (3, 3), ("pnp", 0), ("ARRAY", 3), ("pulse", 4), ("hw:2,0", 3)],
)
def test_a_selector_finds_its_device(selector: str | int | None, index: int) -> None:
    assert choose_device(DEVICES, selector).index == index


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("usb", ["'usb' fits", "PnP", "Array"]),
        ("webcam", ["no input device fits 'webcam'", "PnP", "pulse", "default"]),
        ("1", ["no input device fits '1'"]),
        (-1, ["no input device fits '-1'"]),
    ],
)
def test_what_is_missing_or_ambiguous_is_refused_with_the_candidates(selector: str | int, words: list[str]) -> None:
    with pytest.raises(DeviceNotFoundError) as caught:
        choose_device(DEVICES, selector)
    for word in words:
        assert word in caught.value.message
    assert caught.value.details["candidates"]


def test_a_default_by_name_serves_where_the_library_names_none() -> None:
    assert choose_device([device(0, "usbmic"), device(1, "default")]).index == 1


@pytest.mark.parametrize("devices", [[], [device(0, "usbmic")]])
def test_no_default_is_an_error_and_not_a_guess(devices: list[Device]) -> None:
    with pytest.raises(DeviceNotFoundError):
        choose_device(devices)


def test_without_any_device_the_one_that_was_asked_for_is_named_all_the_same() -> None:
    with pytest.raises(DeviceNotFoundError, match="neither 'usb:2886:0018' nor any other"):
        choose_device([], "usb:2886:0018")
