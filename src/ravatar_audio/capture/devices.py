"""Input devices as data, and how one is chosen. Pure; capture.portaudio finds them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ravatar_audio.errors import DeviceNotFoundError


@dataclass(frozen=True, slots=True)
class Device:
    """One input device, as the sound library lists it."""

    index: int
    """The library's number: good only until devices are plugged or unplugged."""
    name: str
    host_api: str
    """The system that serves it: "ALSA", "Core Audio", "JACK Audio Connection Kit", ..."""
    channels: int
    """Most input channels that it offers; sound servers offer many more than the microphone has."""
    rate_hz: int
    """Its default rate."""
    is_default: bool

    def __str__(self) -> str:
        return f"[{self.index}] {self.name} ({self.host_api})"


def choose_device(devices: Sequence[Device], selector: str | int | None = None) -> Device:
    """The device that `selector` names: an index, a name (in any case), a part of one name, or the default.

    None, "" and "default" mean the system's default input, unless a device has the name "default". An exact name goes
    before a part of one. Raises DeviceNotFoundError, with the candidates, when none or more than one device fits.
    """
    if not devices:
        raise DeviceNotFoundError("no input device was found")
    text = "default" if selector in (None, "") else str(selector)
    if text.isascii() and text.isdigit():
        found = [device for device in devices if device.index == int(text)]
    elif text == "default":
        found = [device for device in devices if device.is_default] or [
            device for device in devices if device.name == "default"
        ]
    else:
        wanted = text.casefold()
        found = [device for device in devices if device.name.casefold() == wanted] or [
            device for device in devices if wanted in device.name.casefold()
        ]
    if len(found) == 1:
        return found[0]
    if found:
        raise DeviceNotFoundError(
            f"device {text!r} fits {_listed(found)}",
            advice="Name one of them fully, or by its index.",
            candidates=[device.name for device in found],
        )
    what = "there is no default input device" if text == "default" else f"no input device fits {text!r}"
    raise DeviceNotFoundError(f"{what}; there are {_listed(devices)}", candidates=[device.name for device in devices])


def _listed(devices: Sequence[Device]) -> str:
    return ", ".join(map(str, devices))
