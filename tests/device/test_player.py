"""The player on real sound servers: a tone comes out whole, at its level, and an interrupted one ends."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.device.player_child import INTERRUPTED_AFTER_S, TONE_HZ
from tests.device.servers import SoundServer

pytestmark = pytest.mark.device


@pytest.mark.parametrize("name", ["pulse_server", "pipewire_server"])
def test_what_is_played_is_heard_and_an_interruption_is_too(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: SoundServer = request.getfixturevalue(name)
    done = subprocess.run(
        [sys.executable, "-m", "tests.device.player_child", str(tmp_path)],
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["played_s"] == 2.0
    heard = np.frombuffer((tmp_path / "heard.pcm").read_bytes(), "<i2").astype(float) / 32_768
    windows = heard[: len(heard) // 160 * 160].reshape(-1, 160)  # 10 ms each
    is_loud = np.sqrt(np.mean(windows**2, axis=1)) > 0.1
    edges = np.flatnonzero(np.diff(is_loud.astype(int)))
    assert len(edges) == 4, edges  # two tones, without a hole in them
    first_s, second_s = (edges[1] - edges[0]) / 100, (edges[3] - edges[2]) / 100
    assert abs(first_s - 2.0) <= 0.02
    # What the server has taken already is heard to its end.
    assert 0.5 < second_s < INTERRUPTED_AFTER_S + 0.1
    middle = heard[(edges[0] + 20) * 160 :][:16_000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert int(np.argmax(spectrum)) == TONE_HZ
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
