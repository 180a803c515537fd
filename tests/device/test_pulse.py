"""Behind a sound server: its microphone is found, and a tone comes through with its level and nothing else."""

import math
from pathlib import Path

import numpy as np
import pytest

from tests.device.microphones import run_child
from tests.device.pulse import PulseServer
from tests.device.test_microphone import CHILD, spectrum_dbfs, write_tone

pytestmark = pytest.mark.device


def test_a_tone_comes_through_a_sound_server(pulse_server: PulseServer, tmp_path: Path) -> None:
    amplitude = 0.25
    write_tone(tmp_path / "tone.wav", 48_000, 1_000, amplitude, seconds=10)
    pulse_server.play(tmp_path / "tone.wav")
    streams = [
        {"name": "server", "device": "usbmic", "rate_hz": 48_000, "channels": 2, "heard": [0]},
        {"name": "default", "rate_hz": 44_100, "channels": 1, "format": "float32"},
    ]
    answer = run_child(pulse_server, CHILD, {"folder": str(tmp_path), "seconds": 5.0, "streams": streams}, limit_s=60)
    for name, heard in answer["streams"].items():
        assert heard["backend"] == "portaudio", name
        assert heard["ring_dropped_samples"] == heard["pending_samples"] == 0
        assert heard["device_samples"] > 4 * heard["rate_hz"]
    levels, _ = spectrum_dbfs((tmp_path / "server.pcm").read_bytes())
    assert abs(levels[1_000] - 20 * math.log10(amplitude)) < 0.1
    assert np.max(np.delete(levels, range(998, 1_003))) < -80
