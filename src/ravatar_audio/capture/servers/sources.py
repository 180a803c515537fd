"""A sound server's sources, by its own word, and as devices."""

from dataclasses import dataclass
from typing import Any

from ravatar_audio._core import ffi, lib
from ravatar_audio.capture.devices.device import Device
from ravatar_audio.capture.servers.connection import NO_LIBRARY, TIMEOUT, library, text_of
from ravatar_audio.native import SAMPLE_BYTES, format_code

ANSWER_LIMIT_S = 2.0
"""Longest wait for a server's answer; a busy one takes milliseconds."""
MOST_SOURCES = 256


@dataclass(frozen=True, slots=True)
class ServerSource:
    """A source as its server lists it; what that does not say is empty."""

    name: str
    """Lasts over replugging and reboots."""
    description: str
    bus: str
    form_factor: str
    profile: str
    """Of Bluetooth."""
    usb_id: str
    """Vendor and product, as "2886:0018"."""
    rate_hz: int
    """Its own, as channels and format."""
    channels: int
    format: str
    is_default: bool
    is_monitor: bool
    """It hears what a loudspeaker plays."""
    is_muted: bool
    is_suspended: bool
    is_default_monitor: bool = False
    """It hears what the default loudspeaker plays."""


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What a sound server says of itself."""

    name: str
    """ "pulseaudio", "PulseAudio (on PipeWire 1.4.2)"; "" where none answers."""
    sources: tuple[ServerSource, ...] = ()
    failure: str = ""
    """Why there is no answer; "" when there is one."""
    hangs: bool = False
    """It takes connections, but says nothing."""

    @property
    def default(self) -> ServerSource | None:
        """The default source; None without any."""
        return next((source for source in self.sources if source.is_default), None)

    @property
    def system(self) -> str:
        """ "PipeWire" or "PulseAudio"."""
        return "PipeWire" if "PipeWire" in self.name else "PulseAudio"

    @property
    def keeps_time(self) -> bool:
        """Its capture times are right, as PulseAudio's are; not PipeWire's in its place."""
        return bool(self.name) and self.system == "PulseAudio"


def ask_server(limit_s: float = ANSWER_LIMIT_S) -> ServerAnswer:
    """Ask the user's sound server for its name and its sources. Blocks, for `limit_s` at most; starts no server."""
    if library() is None:
        return ServerAnswer("", failure=NO_LIBRARY)
    name, raw = ffi.new("char[]", lib.RVA_PULSE_TEXT), ffi.new("rva_pulse_source[]", MOST_SOURCES)
    count = lib.rva_pulse_list(library(), ffi.NULL, round(limit_s * 1e9), name, raw, MOST_SOURCES)
    if count == lib.RVA_ERROR_PULSE - TIMEOUT:
        return ServerAnswer("", failure=f"no answer in {limit_s:g} s", hangs=True)
    if count < 0:
        return ServerAnswer("", failure=text_of(lib.rva_pulse_error_text(library(), count)))
    return ServerAnswer(text_of(name), tuple(_source(raw[number]) for number in range(min(count, MOST_SOURCES))))


def _source(raw: Any) -> ServerSource:
    return ServerSource(
        name=text_of(raw.name),
        description=text_of(raw.description),
        bus=text_of(raw.bus),
        form_factor=text_of(raw.form_factor),
        profile=text_of(raw.profile),
        usb_id=_usb_id(text_of(raw.vendor_id), text_of(raw.product_id)),
        rate_hz=raw.rate_hz,
        channels=raw.channels,
        format=next(name for name in SAMPLE_BYTES if format_code(name) == raw.format),
        is_default=bool(raw.is_default),
        is_monitor=bool(raw.is_monitor),
        is_muted=bool(raw.is_muted),
        is_suspended=bool(raw.is_suspended),
        is_default_monitor=bool(raw.is_default_monitor),
    )


def _usb_id(vendor: str, product: str) -> str:
    """PipeWire writes the numbers as "0x2886", PulseAudio as "2886"."""
    numbers = [text.removeprefix("0x").zfill(4).casefold() for text in (vendor, product) if text]
    return ":".join(numbers) if len(numbers) == 2 else ""


def as_devices(answer: ServerAnswer) -> list[Device]:
    """Return the server's sources as devices, microphones first. Pure."""
    found = [
        Device(
            index=None,
            name=source.description or source.name,
            host_api=answer.system,
            channels=source.channels,
            rate_hz=source.rate_hz,
            is_default=source.is_default and not source.is_monitor,
            rates_hz=(source.rate_hz,),
            formats=(source.format,),
            source=source.name,
            bus=source.bus,
            form_factor=source.form_factor,
            profile=source.profile,
            usb_id=source.usb_id if source.bus == "usb" else "",
            is_monitor=source.is_monitor,
            is_default_monitor=source.is_default_monitor,
        )
        for source in answer.sources
    ]
    return sorted(found, key=lambda device: device.is_monitor)
