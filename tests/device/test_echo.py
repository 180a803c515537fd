"""Echo cancellation behind real sound servers: the loudspeaker's monitor is placed beside the microphone, and stays."""

import os
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from ravatar_audio.frames import RATE_HZ
from tests.device.microphones import run_child
from tests.unit.test_echo_canceller import pcm, speech_like

pytestmark = pytest.mark.device

SECONDS = 600 if os.environ.get("RAVATAR_TEST_ROUNDS") else 20


@pytest.mark.parametrize("name", ["pulse_server", "pipewire_server"])
def test_the_monitor_is_the_reference_and_is_not_moved_once_it_is_placed(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    """The microphone hears what is played to the loudspeaker, as it is; the two streams begin one after the other."""
    server = request.getfixturevalue(name)
    with wave.open(str(tmp_path / "avatar.wav"), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(pcm(speech_like(SECONDS + 10, np.random.default_rng(1))).tobytes())
    play = ["paplay", "--device=speaker", str(tmp_path / "avatar.wav")]
    with subprocess.Popen(play, env=server.environment) as player:
        try:
            streams = {"microphone": "pulse:usbmic", "reference": "pulse:speaker.monitor", "seconds": SECONDS}
            answer = run_child(server, "tests.device.echo_child", streams, limit_s=SECONDS + 60)
        finally:
            player.kill()
    print(name, answer)
    assert answer["seqs_are_whole"]
    assert answer["lost_samples"] == 0
    assert answer["voice"]["moves"] <= 1  # to where the filter reaches it, from where the times had put it
    assert abs(answer["voice"]["reference_ppm"]) < 1.0  # one clock
    assert answer["voice"]["is_settled"]
    late = [heard - left for heard, left in zip(answer["heard_dbfs"], answer["left_dbfs"], strict=False)][10:]
    assert np.median(late) > 30.0
    assert "echo_path_changed" not in answer["events"]
