"""A stand-in takes over from a real stream's device, and hands back, although it has another rate and format."""

from pathlib import Path

import pytest

from tests.device.microphones import MakeMicrophones, Pcm
from tests.device.servers import SoundServer
from tests.device.watched import Watched

pytestmark = pytest.mark.device


def test_a_stand_in_of_another_kind_takes_over_and_hands_back(usb_microphone: MakeMicrophones) -> None:
    other = Pcm("spare", (44_100,), (2, 2), ("float32",), description="Spare")
    microphones = usb_microphone(Pcm("desk"), other)
    with Watched(microphones, device="alsa:desk", stand_in="alsa:spare", stand_in_after_s=0.5) as watched:
        watched.until("frames")
        microphones.control("desk", "unplug")
        assert "spare" in watched.until("event", "stand_in")["message"]
        watched.until("frames")
        microphones.control("desk", "ok")
        watched.until("event", "reopening")
        assert "desk" in watched.until("event", "reopened")["message"]
        watched.until("frames")
        last = watched.finish()
    assert last["lost"] > 1_000


def test_a_stand_in_takes_over_from_a_server_that_hung_and_died_while_its_stream_was_closed(
    pulse_server: SoundServer, usb_microphone: MakeMicrophones
) -> None:
    spare = usb_microphone(Pcm("spare"))
    with Path(pulse_server.environment["ALSA_CONFIG_PATH"]).open("a", encoding="utf-8") as configuration:
        lines = Path(spare.environment["ALSA_CONFIG_PATH"]).read_text(encoding="utf-8").splitlines()
        configuration.writelines(f"{line}\n" for line in lines if "default" not in line)
    with Watched(pulse_server, device="usbmic", reopen_s=0.5, stand_in="alsa:spare", stand_in_after_s=1) as watched:
        watched.until("frames")
        pulse_server.pause()
        watched.until("event", "hanging")
        pulse_server.kill()
        assert "spare" in watched.until("event", "stand_in")["message"]
        watched.until("frames")
        last = watched.finish()
    assert last["lost"] > 16_000
