"""A microphone that its program forgets: the audio thread must not find its memory gone."""

import pytest

from tests.device.microphones import MakeMicrophones, run_child

pytestmark = pytest.mark.device


@pytest.mark.parametrize("ending", ["forgotten", "exit"])
@pytest.mark.parametrize("backend", ["alsa", "portaudio", "pyaudio"])
def test_a_microphone_that_is_never_closed_does_not_end_the_process(
    usb_microphone: MakeMicrophones, backend: str, ending: str
) -> None:
    device = "alsa:usbmic" if backend == "alsa" else "usbmic"
    request = {"microphone": {"device": device, "backend": backend}, "ending": ending}
    answer = run_child(usb_microphone(), "tests.device.forgotten_child", request, limit_s=40)
    assert answer["seq"] == 0
    if ending == "forgotten":
        assert answer["warnings"] == ["the microphone 'usbmic' was not closed"]
