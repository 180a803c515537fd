"""A sound library that never returns does not keep a kiosk from being started again."""

import signal
import subprocess
import sys
import time

import pytest

from ravatar_audio.cli import STUCK_EXIT_CODE
from tests.device.microphones import MakeMicrophones
from tests.device.servers import SoundServer
from tests.device.test_fallback import add_hardware

pytestmark = pytest.mark.device


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("hup", marks=pytest.mark.fault("hung up", "portaudio")),
        pytest.param("unplug", marks=pytest.mark.fault("unplugged", "portaudio")),
    ],
)
def test_a_program_whose_sound_library_hangs_ends_loudly(usb_microphone: MakeMicrophones, fault: str) -> None:
    """PortAudio waits for ever on a device that has hung up, and spins on one that was unplugged, printing errors.

    Closing its stream does not return then; "auto" captures hardware without it.
    """
    microphones = usb_microphone()
    options = ["--mic", "--device", "usbmic", "--backend", "portaudio", "--seconds", "60", "--debug"]
    command = [sys.executable, "-m", "ravatar_audio", "demo", *options]
    with subprocess.Popen(command, env=microphones.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        begun_s = time.monotonic()
        lines = []
        for line in process.stderr:
            if "pa_linux_alsa.c" not in line:  # PortAudio's own, without end
                lines.append(line)
            if "sent frame 2:" in line:
                microphones.control("usbmic", fault)
        assert process.wait(30) == STUCK_EXIT_CODE, "".join(lines)
    assert any(": reopening: " in line for line in lines), "it is noticed, and told"
    assert any("hangs" in line and "restart" in line for line in lines)
    assert any("ended by force" in line for line in lines)
    assert time.monotonic() - begun_s < 30


def test_a_program_whose_fallback_runs_for_a_server_that_hangs_for_ever_ends_as_any_other(
    pulse_server: SoundServer, usb_microphone: MakeMicrophones
) -> None:
    """Nothing waits for the server, so nothing has to be ended by force."""
    add_hardware(pulse_server, usb_microphone)
    options = ["--mic", "--device", "usbmic", "--fallback", "alsa:spare", "--seconds", "600", "--debug"]
    command = [sys.executable, "-m", "ravatar_audio", "demo", *options]
    with subprocess.Popen(command, env=pulse_server.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines, sent_beside = [], 0
        for line in process.stderr:
            lines.append(line)
            if "sent frame 2:" in line:
                pulse_server.pause()
            elif "sent frame" in line and any(": stand_in: " in earlier for earlier in lines):
                sent_beside += 1
                if sent_beside == 4:
                    process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130, "".join(lines)
    assert sent_beside >= 4
    assert not any("ended by force" in line for line in lines)
