"""Fixtures of the device tests."""

from tests.device.servers import pipewire_server, pulse_server

__all__ = ["pipewire_server", "pulse_server"]
