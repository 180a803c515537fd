"""Closing a microphone ends its threads, whatever the device does and whoever holds a copy of its descriptors."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.device.microphones import MakeMicrophones, run_child

pytestmark = pytest.mark.device


@pytest.mark.parametrize("backend", ["alsa", "portaudio"])
def test_a_process_that_was_forked_meanwhile_does_not_keep_the_microphone_from_closing(
    usb_microphone: MakeMicrophones, backend: str
) -> None:
    device = "alsa:usbmic" if backend == "alsa" else "usbmic"
    request = {"microphone": {"device": device, "backend": backend}, "frames": 2, "fork": True}
    answer = run_child(usb_microphone(), "tests.device.closing_child", request, limit_s=60)
    assert answer["stuck_calls"] == 0
    assert answer["uncounted_blocks"] == 0, "a gap that follows would begin too soon"


def test_a_device_that_always_has_sound_can_be_closed_too(tmp_path: Path) -> None:
    """ALSA's null device has no clock: however much is read, there is as much again."""
    configuration = tmp_path / "asound.conf"
    configuration.write_text('pcm.null { type null }\npcm.!default "null"\n')
    world = SimpleNamespace(environment=os.environ | {"ALSA_CONFIG_PATH": str(configuration)})
    request = {"microphone": {"device": "alsa:null", "backend": "alsa"}, "frames": 20, "fork": False}
    answer = run_child(world, "tests.device.closing_child", request, limit_s=60)
    assert answer["stuck_calls"] == 0
    assert answer["uncounted_blocks"] == 0, "a gap that follows would begin too soon"
    assert answer["captured_samples"] >= 20 * 4096
