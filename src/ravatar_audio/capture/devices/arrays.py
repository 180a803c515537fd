"""Microphone arrays that are known by their USB id: which channel carries what. The data is arrays.toml."""

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """What the channels of an array carry, with one of its firmwares. Channels count from 0."""

    name: str
    usb_id: str
    """Vendor and product, as "2886:0018"."""
    channels: int
    """How many it has with this firmware."""
    processed: tuple[int, ...]
    """Voice with echo and noise taken out, the best first."""
    source: str
    """Where that is said."""
    raw: tuple[int, ...] = ()
    """Microphones as they are, with the loudspeaker in them."""
    playback: tuple[int, ...] = ()
    """What the loudspeaker plays."""
    silent: tuple[int, ...] = ()
    """Zeros in some firmwares."""

    @property
    def heard(self) -> tuple[int, ...]:
        """What is averaged unless something else is asked for."""
        return self.processed[:1]

    def role(self, channel: int) -> str:
        """Return what a channel carries: "processed", "raw" or "playback"."""
        roles = {"processed": self.processed, "raw": self.raw, "playback": self.playback}
        return next((name for name, channels in roles.items() if channel in channels), "")


@functools.cache
def known_arrays() -> tuple[ArrayLayout, ...]:
    """Return all arrays that are known."""
    text = resources.files("ravatar_audio.capture.devices").joinpath("arrays.toml").read_text(encoding="utf-8")
    return tuple(_layout(row) for row in tomllib.loads(text)["array"])


def _layout(row: dict[str, Any]) -> ArrayLayout:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return ArrayLayout(**values)


def known_layout(usb_id: str, channels: int) -> ArrayLayout | None:
    """Return what the channels of a device carry; None when it is not known, or not with so many."""
    fitting = (array for array in known_arrays() if (array.usb_id, array.channels) == (usb_id.casefold(), channels))
    return next(fitting, None) if usb_id else None
