"""Fixtures of the device tests."""

from tests.device.pulse import pulse_server

__all__ = ["pulse_server"]
