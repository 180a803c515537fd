"""Push-to-talk on a real stream: the turn is whole, begins before the press, and ends after the release."""

import pytest

from tests.device.microphones import MakeMicrophones, Pcm, run_child

pytestmark = pytest.mark.device


@pytest.mark.parametrize("device", ["alsa:ramp", "ramp"])
def test_turns_have_every_sample_with_pre_roll_and_tail(usb_microphone: MakeMicrophones, device: str) -> None:
    # 16 kHz, int16, mono: what the microphone gives is what comes out, bit for bit, and each sample is one higher.
    microphones = usb_microphone(Pcm("ramp", (16_000,), (1, 1), ("int16",)))
    request = {"device": device, "presses": [[0.7, 0.31], [0.8, 0.5], [0.75, 0.257]]}
    turns = run_child(microphones, "tests.device.turn_child", request, limit_s=60)["turns"]
    assert len(turns) == 3
    for turn in turns:
        assert turn["steps"] == [1], "no sample is missing, none comes twice"
        expected = (0.3 + turn["held_s"] + 0.2) * 16_000
        assert abs(turn["samples"] - expected) < 0.02 * 16_000, "to within what the task was late, and a block"
