"""Devices by identity: what the kernel says about its cards, and how that meets PortAudio's list."""

import errno
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ravatar_audio._core import lib
from ravatar_audio.capture import Device, choose_device
from ravatar_audio.capture.devices.cards import CaptureDevice, list_capture_devices
from ravatar_audio.capture.streams import alsa
from ravatar_audio.capture.streams.device_list import merged
from ravatar_audio.capture.streams.device_stream import DeviceRequest, DeviceStream
from ravatar_audio.cli.devices import command
from ravatar_audio.errors import DeviceNotFoundError, RecorderError

CARDS = """\
 0 [PCH            ]: HDA-Intel - HDA Intel PCH
                      HDA Intel PCH at 0xf7f10000 irq 33
 2 [Array          ]: USB-Audio - ReSpeaker 4 Mic Array
                      SEEED ReSpeaker 4 Mic Array at usb-0000:01:00.0-1.2, high speed
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The files of a machine with sound on the board, which also plays, and a USB array."""
    asound = tmp_path / "proc/asound"
    write(asound / "cards", CARDS)
    write(asound / "card0/id", "PCH\n")
    write(asound / "card0/pcm0c/info", "card: 0\ndevice: 0\nid: ALC283 Analog\nname: ALC283 Analog\n")
    write(asound / "card0/pcm0p/info", "card: 0\ndevice: 0\nid: ALC283 Analog\n")
    write(asound / "card0/pcm10c/info", "card: 0\ndevice: 10\nid: ALC283 Alt Analog\n")
    write(asound / "card2/id", "Array\n")
    write(asound / "card2/usbid", "2886:0018\n")
    write(asound / "card2/pcm0c/info", "card: 2\ndevice: 0\nid: USB Audio\nname: USB Audio\n")
    usb = tmp_path / "sys/devices/usb1/1-1/1-1.2"
    write(usb / "idVendor", "2886\n")
    write(usb / "serial", "4711\n")
    (usb / "1-1.2:1.0").mkdir()
    card = tmp_path / "sys/class/sound/card2"
    card.mkdir(parents=True)
    (card / "device").symlink_to(usb / "1-1.2:1.0")
    return tmp_path


def test_cards_are_known_by_what_outlives_replugging(root: Path) -> None:
    onboard, alternative, array = list_capture_devices(root)
    assert (onboard.card_id, onboard.device_number, onboard.usb_id) == ("PCH", 0, "")
    assert alternative.pcm == "hw:CARD=PCH,DEV=10"
    assert array == CaptureDevice(2, "Array", 0, "ReSpeaker 4 Mic Array", "2886:0018", "4711", "1-1.2")
    assert array.pcm == "hw:CARD=Array,DEV=0"
    assert array.node == "pcmC2D0c"


def test_a_machine_without_alsa_has_no_cards(tmp_path: Path) -> None:
    assert list_capture_devices(tmp_path) == []


def hardware(name: str, card_id: str, usb_id: str = "", serial: str = "") -> Device:
    pcm = f"hw:CARD={card_id},DEV=0"
    return Device(None, name, "ALSA hardware", 2, 48_000, False, pcm, card_id, usb_id, serial)


ARRAY = hardware("ReSpeaker 4 Mic Array", "Array", "2886:0018", "4711")
FIRST = hardware("USB PnP Sound Device", "Device", "0d8c:0014")
SECOND = hardware("USB PnP Sound Device", "Device_1", "0d8c:0014")


@pytest.mark.parametrize(
    ("selector", "device"),
    [
        ("usb:2886:0018", ARRAY),
        ("USB:2886:0018:4711", ARRAY),
        ("card:device_1", SECOND),
        ("hw:CARD=Device,DEV=0", FIRST),
        ("respeaker", ARRAY),
    ],
)
def test_an_identity_finds_its_device(selector: str, device: Device) -> None:
    assert choose_device([ARRAY, FIRST, SECOND], selector) == device


@pytest.mark.parametrize("selector", ["usb:0d8c:0014", "usb:2886:0018:9", "card:x", "PnP", "default"])
def test_an_identity_that_two_or_none_have_is_refused_with_what_tells_them_apart(selector: str) -> None:
    with pytest.raises(DeviceNotFoundError) as caught:
        choose_device([ARRAY, FIRST, SECOND], selector)
    assert "hw:CARD=Device_1,DEV=0" in caught.value.message
    candidates = caught.value.details["candidates"]
    assert isinstance(candidates, list)
    assert "card:Device_1" in candidates, "by the USB id it could not be chosen"


def test_each_of_several_devices_has_a_selector_that_chooses_it_alone() -> None:
    second_of_card = replace(ARRAY, pcm="hw:CARD=Array,DEV=1", usb_id="", name="ReSpeaker 4 Mic Array")
    served = [Device(index, "USB Audio", "Core Audio", 1, 48_000, False) for index in (3, 4)]
    devices = [ARRAY, FIRST, SECOND, second_of_card, *served]
    selectors = [device.selector_among(devices) for device in devices]
    assert selectors == [
        *("usb:2886:0018:4711", "card:Device", "card:Device_1", "hw:CARD=Array,DEV=1"),
        *("3", "4"),
    ]
    assert [choose_device(devices, selector) for selector in selectors] == devices
    with pytest.raises(DeviceNotFoundError) as caught:
        choose_device(devices, "pnp")
    assert caught.value.advice.startswith("Choose one: --device card:Device or --device card:Device_1;")


def test_the_only_hardware_is_the_default_where_the_system_has_none() -> None:
    assert choose_device([ARRAY]) == ARRAY


def test_any_alsa_name_can_be_given() -> None:
    device = choose_device([], "alsa:plughw:CARD=Array")
    assert (device.pcm, device.backend) == ("plughw:CARD=Array", "alsa")


def test_what_selects_a_device_again_finds_it() -> None:
    for device in (ARRAY, hardware("Board", "PCH")):
        assert choose_device([ARRAY, hardware("Board", "PCH"), SECOND], device.selector) == device


def listed(index: int, name: str, *, is_default: bool = False) -> Device:
    return Device(index, name, "ALSA", 2, 48_000, is_default, pcm=name)


def test_hardware_is_listed_once_and_by_the_kernel() -> None:
    numbers = {"hw:2,0": ARRAY.pcm}
    seen = merged([ARRAY], [listed(0, "ReSpeaker: USB Audio (hw:2,0)", is_default=True), listed(1, "pulse")], numbers)
    assert [(device.name, device.backend, device.is_default) for device in seen] == [
        ("ReSpeaker 4 Mic Array", "alsa", True),
        ("pulse", "portaudio", False),
    ]


@pytest.fixture
def _without_portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    monkeypatch.setattr(alsa, "list_hardware", lambda: [ARRAY])


@pytest.mark.usefixtures("_without_portaudio")
def test_without_portaudio_hardware_is_listed_and_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == 0
    assert [item["card_id"] for item in json.loads(result.stdout)] == ["Array"]
    (line,) = result.stderr.splitlines()
    assert line.startswith("Only hardware is listed")
    assert "libportaudio2" in line
    monkeypatch.setattr(alsa, "list_hardware", list)
    assert isinstance(CliRunner().invoke(command).exception, RecorderError), "nothing can be listed"


@pytest.mark.usefixtures("_without_portaudio")
def test_without_portaudio_the_only_hardware_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    abilities = alsa.Abilities(1, 2, (48_000,), ("int16",), is_hardware=True)
    monkeypatch.setattr(alsa, "probe", lambda pcm, patience_s=0.0: abilities)
    assert DeviceStream(DeviceRequest(None, None, None, None, 0.01, 0.1, "auto")).device == ARRAY
    with pytest.raises(RecorderError, match="PyAudio cannot be loaded"):
        DeviceStream(DeviceRequest(None, None, None, None, 0.01, 0.1, "portaudio"))


def test_a_sound_server_stays_the_default() -> None:
    seen = merged([ARRAY], [listed(3, "pulse"), listed(4, "default", is_default=True)], {"hw:2,0": ARRAY.pcm})
    assert choose_device(seen).name == "default"
    assert choose_device(seen).backend == "portaudio"


def test_hardware_that_only_portaudio_sees_is_not_lost() -> None:
    """As in a container that has the device files but not /proc/asound."""
    seen = merged([], [listed(0, "ReSpeaker: USB Audio (hw:2,0)")], {})
    assert [device.backend for device in seen] == ["portaudio"]


def test_a_device_that_is_busy_for_a_moment_is_tried_again() -> None:
    busy = lib.RVA_ERROR_SYSTEM - errno.EBUSY
    codes = [busy, busy, 0, busy]
    assert alsa._patiently(lambda: codes.pop(0), patience_s=5.0) == 0
    assert alsa._patiently(lambda: codes.pop(0), patience_s=0.0) == busy
    gone = lib.RVA_ERROR_SYSTEM - errno.ENODEV
    assert alsa._patiently(lambda: gone, patience_s=5.0) == gone
