"""A microphone that a sound server serves is not taken from it while it is started again."""

from types import SimpleNamespace
from typing import Any

import pytest

from ravatar_audio.capture.microphone.opener import SERVER_RETURN_S, Handover, MicrophoneOpener
from ravatar_audio.capture.streams.device_stream import DeviceRequest
from ravatar_audio.errors import DeviceNotFoundError


class Machine:
    """A clock, and a server that is there or not; without it ALSA has a way of its own to the same name."""

    def __init__(self) -> None:
        self.clock_s = 1_000.0
        self.has_server = True
        self.asked: list[str] = []

    def now_s(self) -> float:
        return self.clock_s

    def find(self, wanted: DeviceRequest) -> Any:
        self.asked.append(wanted.backend)
        if not self.has_server and wanted.backend == "pulse":
            raise DeviceNotFoundError("there is no sound server")
        device = SimpleNamespace(source="usbmic" if self.has_server else "")
        return SimpleNamespace(device=device, request=None, open=lambda *_: None, close=lambda: None)


class Quick(MicrophoneOpener):
    def _chain_for(self, *_: Any) -> Any:
        return None


FEED = Handover(None)  # type: ignore[arg-type]  # nothing is fed


@pytest.mark.parametrize("backend", ["auto", "pulse"])
def test_it_is_looked_for_at_the_server_alone_until_that_has_had_time_to_come_back(backend: str) -> None:
    machine = Machine()
    opener = Quick(machine, DeviceRequest("usbmic", None, None, None, 0.01, 0.1, backend, None, False), None, {})  # type: ignore[arg-type]
    opener.open(FEED, or_fallback=False)
    machine.has_server = False
    with pytest.raises(DeviceNotFoundError):
        opener.open(FEED, or_fallback=False)
    machine.clock_s += SERVER_RETURN_S - 1
    with pytest.raises(DeviceNotFoundError):
        opener.open(FEED, or_fallback=False)
    machine.has_server = True
    opener.open(FEED, or_fallback=False)
    assert machine.asked == [backend, "pulse", "pulse", "pulse"]


def test_a_server_that_does_not_come_back_is_done_without() -> None:
    machine = Machine()
    opener = Quick(machine, DeviceRequest("usbmic", None, None, None, 0.01, 0.1, "auto", None, False), None, {})  # type: ignore[arg-type]
    opener.open(FEED, or_fallback=False)
    machine.has_server = False
    with pytest.raises(DeviceNotFoundError):
        opener.open(FEED, or_fallback=False)
    machine.clock_s += SERVER_RETURN_S
    opener.open(FEED, or_fallback=False)
    machine.clock_s += 1
    opener.open(FEED, or_fallback=False)  # hardware is no server's: it is looked for everywhere
    assert machine.asked == ["auto", "pulse", "auto", "auto"]
