"""A sound library that never returns does not keep a kiosk from being started again."""

import subprocess
import sys
import time

import pytest

from ravatar_audio.cli import STUCK_EXIT_CODE
from tests.device.microphones import MakeMicrophones

pytestmark = pytest.mark.device


@pytest.mark.fault("hung up", "portaudio")
def test_a_program_whose_sound_library_hangs_ends_loudly(usb_microphone: MakeMicrophones) -> None:
    """PortAudio's thread waits for ever on a device that has hung up: closing its stream does not return."""
    microphones = usb_microphone()
    options = ["--mic", "--device", "usbmic", "--backend", "portaudio", "--seconds", "60", "--debug"]
    command = [sys.executable, "-m", "ravatar_audio", "demo", *options]
    with subprocess.Popen(command, env=microphones.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        begun_s = time.monotonic()
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "sent frame 2:" in line:
                microphones.control("usbmic", "hup")
        assert process.wait(30) == STUCK_EXIT_CODE, "".join(lines)
    assert any("ended by force" in line for line in lines)
    assert time.monotonic() - begun_s < 30
