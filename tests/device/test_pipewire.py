"""Behind PipeWire: its microphone is found; suspended, gone or its server killed, it is told and comes back."""

import pytest

from tests.device.pipewire import PipeWireServer
from tests.device.test_pulse import Watched

pytestmark = pytest.mark.device


def test_pipewire_that_dies_and_comes_back_is_recovered_from(pipewire_server: PipeWireServer) -> None:
    with Watched(pipewire_server, device="usbmic") as watched:
        watched.until("frames")
        pipewire_server.kill()
        watched.until("event", "reopening")
        pipewire_server.start()
        watched.until("event", "reopened")
        watched.until("frames")
        last = watched.finish()
    captured, delivered, dropped, pending = last["counts"]
    assert captured == delivered + dropped + pending
    assert last["lost"] > 1_000, "the time without a server is counted as lost"


def test_a_stream_that_pipewire_moves_is_told(pipewire_server: PipeWireServer) -> None:
    with Watched(pipewire_server, device="usbmic") as watched:
        watched.until("frames")
        (line,) = pipewire_server.command("list", "short", "source-outputs").stdout.splitlines()
        assert pipewire_server.command("move-source-output", line.split("\t")[0], "speaker.monitor").returncode == 0
        assert watched.until("event", "source_changed")["message"].endswith("from 'usbmic' to 'speaker.monitor'")
        watched.until("frames")
        watched.finish()
