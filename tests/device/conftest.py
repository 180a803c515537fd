"""Fixtures of the device tests."""

from tests.device.served import pipewire_hardware, pulse_hardware
from tests.device.servers import pipewire_server, pulse_server

__all__ = ["pipewire_hardware", "pipewire_server", "pulse_hardware", "pulse_server"]
