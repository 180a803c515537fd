"""Fixtures of the device tests."""

from tests.device.pipewire import pipewire_server
from tests.device.pulse import pulse_server

__all__ = ["pipewire_server", "pulse_server"]
