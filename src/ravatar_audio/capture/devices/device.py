"""Input devices as data, and how one is chosen. Pure; capture.streams.device_list lists them."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ravatar_audio.errors import DeviceNotFoundError

_MANY_RATES = 9


@dataclass(frozen=True, slots=True)
class Device:
    """One input device. What the system does not report is empty, 0 or None."""

    index: int | None
    """PortAudio's number, good only until devices are plugged or unplugged; None for what our own threads serve."""
    name: str
    host_api: str
    """The system that serves it: "ALSA hardware", "PipeWire", "PulseAudio", "ALSA", "Core Audio", ..."""
    channels: int
    """Most input channels that it offers; sound servers offer many more than the microphone has."""
    rate_hz: int
    """The rate that is taken unless another is asked for."""
    is_default: bool
    pcm: str = ""
    """ALSA's name."""
    card_id: str = ""
    usb_id: str = ""
    """Vendor and product, as "2886:0018"."""
    serial: str = ""
    port: str = ""
    """Where it is plugged in: USB bus and ports, as "1-1.2"."""
    rates_hz: tuple[int, ...] = ()
    """Usual rates that it has by itself."""
    formats: tuple[str, ...] = ()
    """Sample formats that it has by itself."""
    problem: str = ""
    """The media error that opening it would raise now."""
    source: str = ""
    """Its sound server's name for it."""
    bus: str = ""
    """Of a server's source: "usb", "pci", "bluetooth"."""
    form_factor: str = ""
    """ "microphone", "headset", "webcam", "internal"."""
    profile: str = ""
    """Of Bluetooth: "headset-head-unit"."""
    is_monitor: bool = False
    """It hears what a loudspeaker plays: no microphone."""
    is_default_monitor: bool = False
    """And that is the default one."""

    @property
    def backend(self) -> str:
        """What captures from it under "auto".

        "alsa" for the kernel's own devices, as PortAudio does not survive their unplugging; "pulse" for a sound
        server's sources; "portaudio" for the rest: plugins, JACK, other systems.
        """
        return "pulse" if self.source else "alsa" if self.is_hardware else "portaudio"

    @property
    def backend_reason(self) -> str:
        """Why "auto" takes that backend."""
        if self.is_hardware:
            return "hardware is captured by our own thread, which survives its unplugging"
        if self.source:
            return "a sound server is spoken to in its own protocol"
        return "PortAudio serves what is neither hardware nor a server's: plugins, JACK, other systems"

    @property
    def is_hardware(self) -> bool:
        """The kernel's own device, which ALSA serves."""
        return self.index is None and not self.source

    @property
    def is_converter(self) -> bool:
        """It has any rate: a sound server or a plugin, not a microphone."""
        return len(self.rates_hz) > _MANY_RATES

    @property
    def offers(self) -> str:
        """What it can do by itself, for people."""
        rates = ", ".join(map(str, self.rates_hz or (self.rate_hz,)))
        if self.is_converter:
            rates = f"any rate from {min(self.rates_hz)} to {max(self.rates_hz)}"
        formats = f"; {', '.join(self.formats)}" if self.formats else ""
        return f"{rates} Hz; up to {channels_text(self.channels)}{formats}"

    @property
    def selector(self) -> str:
        """What chooses this device again after a restart or replugging, unless there is another like it."""
        return self._selectors[0]

    @property
    def _selectors(self) -> tuple[str, ...]:
        """The most lasting first."""
        source = f"pulse:{self.source}" if self.source else ""
        usb = f"usb:{self.usb_id}" + (f":{self.serial}" if self.serial else "") if self.usb_id else ""
        card = f"card:{self.card_id}" if self.card_id else ""
        last = "" if self.index is None else str(self.index)
        return tuple(text for text in (source, usb, card, self.name, self.pcm, last) if text) or ("",)

    def selector_among(self, devices: "Sequence[Device]") -> str:
        """Return a `selector` as the device has it, but one that chooses no other of these: two of a kind without
        serial numbers differ by card.
        """
        return next((text for text in self._selectors if _fitting(devices, text) == [self]), self.selector)

    def __str__(self) -> str:
        where = self.source or self.pcm or self.usb_id if self.index is None else f"index {self.index}"
        return f"{self.name} ({self.host_api}, {where})"


def channels_text(count: int) -> str:
    """Return "1 channel", "2 channels"."""
    return f"{count} channel" + ("s" if count != 1 else "")


def layout_text(rate_hz: int, channels: int, format: str) -> str:
    """Return how samples are laid out, for people: "48000 Hz, 1 channel, int16"."""
    return f"{rate_hz} Hz, {channels_text(channels)}, {format}"


def choose_device(devices: Sequence[Device], selector: str | int | None = None) -> Device:
    """Choose the device that `selector` names.

    "usb:VID:PID" or "usb:VID:PID:SERIAL", "card:ID" (ALSA's card id), "pulse:NAME" (a sound server's source),
    "alsa:PCM" (any name that ALSA knows, listed or not), a name in any case, a part of one, or, as a last resort,
    PortAudio's index. None, "" and "default" mean the system's default input, or the only hardware device where the
    system has no default. "monitor" is what the default loudspeaker plays, behind a sound server. An exact name goes
    before a part of one, hardware before a server's source of the same name, and any of them before a monitor. Raises
    DeviceNotFoundError, with the candidates, when none or more than one fits.
    """
    text = "default" if selector in (None, "") else str(selector)
    if text.startswith("alsa:"):
        pcm = text.removeprefix("alsa:")
        return Device(index=None, name=pcm, host_api="ALSA", channels=0, rate_hz=0, is_default=False, pcm=pcm)
    if not devices:
        wanted = "" if text == "default" else f", neither {text!r} nor any other"
        raise DeviceNotFoundError(f"no input device was found{wanted}", candidates=[])
    found = fitting_devices(devices, text)
    if len(found) == 1:
        return found[0]
    if found:
        candidates = _selectors(found, devices)
        options = " or ".join(f"--device {shlex.quote(candidate)}" for candidate in candidates)
        raise DeviceNotFoundError(
            f"device {text!r} fits {_listed(found)}",
            advice=f"Choose one: {options}; 'ravatar-audio devices' says more.",
            candidates=candidates,
        )
    what = "there is no default input device" if text == "default" else f"no input device fits {text!r}"
    raise DeviceNotFoundError(f"{what}; there are {_listed(devices)}", candidates=_selectors(devices, devices))


def fitting_devices(devices: Sequence[Device], selector: str | int | None) -> list[Device]:
    """Return those that a selector may mean: one, or else it is of no use."""
    found = _fitting(devices, "default" if selector in (None, "") else str(selector))
    if any(device.source for device in found):
        first = min(map(_rank, found))
        found = [device for device in found if _rank(device) == first]
    return found


def _selectors(found: Sequence[Device], devices: Sequence[Device]) -> list[str]:
    return [device.selector_among(devices) for device in found]


def _fitting(devices: Sequence[Device], text: str) -> list[Device]:
    if text.isascii() and text.isdigit():
        return [device for device in devices if str(device.index) == (text.lstrip("0") or "0")]
    if text == "default":
        return (
            [device for device in devices if device.is_default]
            or [device for device in devices if device.name == "default"]
            or [device for device in devices if device.is_hardware]
        )
    if text == "monitor":
        return (
            [device for device in devices if device.name == "monitor"]
            or [device for device in devices if device.is_default_monitor]
            or [device for device in devices if device.is_monitor]
        )
    kind, _, wanted = text.casefold().partition(":")
    if kind == "usb" and wanted:
        return [device for device in devices if device.usb_id and _fits_usb(device, wanted)]
    if kind == "card" and wanted:
        return [device for device in devices if device.card_id.casefold() == wanted]
    if kind == "pulse" and wanted:
        return [device for device in devices if device.source.casefold() == wanted]
    wanted = text.casefold()
    return [device for device in devices if wanted in map(str.casefold, (device.name, device.pcm, device.source))] or [
        device for device in devices if wanted in device.name.casefold()
    ]


def _rank(device: Device) -> int:
    """Of two ways to a microphone the shorter one goes first; what hears a loudspeaker is meant if nothing else is."""
    if device.is_monitor:
        return 3
    return 0 if device.is_hardware else 1 if device.source else 2


def _fits_usb(device: Device, wanted: str) -> bool:
    return wanted in (device.usb_id.casefold(), f"{device.usb_id}:{device.serial}".casefold())


def _listed(devices: Sequence[Device]) -> str:
    return ", ".join(map(str, devices))
