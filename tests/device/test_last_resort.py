"""A sound library that never returns does not keep a kiosk from being started again."""

import subprocess
import sys
import time

import pytest

from ravatar_audio.cli import STUCK_EXIT_CODE
from tests.device.microphones import MakeMicrophones

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
