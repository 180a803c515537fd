"""A fallback takes over from a real stream's device, and hands back, although it has another rate and format."""

from pathlib import Path

import pytest

from tests.device.microphones import MakeMicrophones, Pcm
from tests.device.servers import SoundServer
from tests.device.test_recovery import ROUNDS, assert_nothing_leaks
from tests.device.watched import Watched

pytestmark = pytest.mark.device

OTHER = Pcm("spare", (44_100,), (2, 2), ("float32",), description="Spare")


def test_a_fallback_of_another_kind_takes_over_and_hands_back(usb_microphone: MakeMicrophones) -> None:
    microphones = usb_microphone(Pcm("desk"), OTHER)
    with Watched(microphones, device="alsa:desk", fallback="alsa:spare", fallback_after_s=0.5) as watched:
        watched.until("frames")
        microphones.control("desk", "unplug")
        assert "spare" in watched.until("event", "stand_in")["message"]
        watched.until("frames")
        microphones.control("desk", "ok")
        watched.until("message", "desk (ALSA, desk) is open again")
        watched.until("frames")
        last = watched.finish()
    assert last["lost"] > 1_000


def add_hardware(server: SoundServer, make: MakeMicrophones) -> None:
    """A microphone that the server does not have."""
    spare = make(OTHER)
    with Path(server.environment["ALSA_CONFIG_PATH"]).open("a", encoding="utf-8") as configuration:
        lines = Path(spare.environment["ALSA_CONFIG_PATH"]).read_text(encoding="utf-8").splitlines()
        configuration.writelines(f"{line}\n" for line in lines if "default" not in line)


@pytest.mark.parametrize("ending", ["goes on", "dies"])
def test_a_fallback_runs_while_a_server_hangs(
    pulse_server: SoundServer, usb_microphone: MakeMicrophones, ending: str
) -> None:
    add_hardware(pulse_server, usb_microphone)
    rounds, held = ROUNDS // 5 or 1, []
    with Watched(pulse_server, device="usbmic", reopen_s=0.5, fallback="alsa:spare", fallback_after_s=1) as watched:
        for _ in range(rounds):
            watched.until("frames")
            pulse_server.pause()
            assert "spare" in watched.until("event", "stand_in")["message"]
            watched.until("frames")
            if ending == "goes on":
                pulse_server.go_on()
            else:
                pulse_server.kill()
                pulse_server.start()
            # On a busy machine the fallback may stall, or the server come back too late for a look at it.
            watched.until("message", ", usbmic) is open again")
            held.append(watched.until("frames")["held"])
        assert_nothing_leaks(watched, held)
        last = watched.finish()
    assert last["lost"] > 16_000 * rounds
    assert watched.count("hanging") == 0
