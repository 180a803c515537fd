"""Virtual USB microphones for tests in any room, made by benches/virtual_microphone.py.

The fixture `usb_microphone` makes them; a subprocess that gets their `environment` sees them and no other device.
PortAudio and ALSA look at the environment once in a process's life, so the test's own process never uses them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from benches.rig.virtual_microphone import (
    PLUGIN_NAME,
    PLUGIN_SOURCE,
    Pcm,
    VirtualMicrophones,
    build_shared,
    has_alsa_headers,
)

__all__ = ["MakeMicrophones", "Pcm", "VirtualMicrophones", "build_shared", "microphone_plugin", "ramp", "run_child"]

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def microphone_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ALSA plugin, built; without ALSA's headers the test is skipped, but fails in CI."""
    if not has_alsa_headers():
        message = "ALSA's headers are missing: sudo apt-get install libasound2-dev"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    target = tmp_path_factory.mktemp("plugin") / PLUGIN_NAME
    return build_shared(PLUGIN_SOURCE, target, "-lasound")


MakeMicrophones = Callable[..., VirtualMicrophones]


@pytest.fixture
def usb_microphone(microphone_plugin: Path, tmp_path: Path) -> MakeMicrophones:
    """usb_microphone(Pcm(...), ...) makes virtual microphones; without arguments a ramp, 48 kHz, 1 or 2 channels."""
    count = 0

    def make(*pcms: Pcm) -> VirtualMicrophones:
        nonlocal count
        count += 1
        folder = tmp_path / f"microphones{count}"
        folder.mkdir()
        return VirtualMicrophones(folder, microphone_plugin, pcms or (Pcm(),))

    return make


def ramp(samples: int, channels: int, format: str, first: int = 0) -> bytes:
    """What the ramp delivers from position `first` on, interleaved: virtual_microphone.c's definition."""
    at = np.arange(first, first + samples, dtype=np.int64)
    columns = [at if c == 0 else at >> 15 if c == 1 else at * (c + 1) for c in range(channels)]
    coarse = np.stack(columns, axis=1) & 0x7FFF
    value24: NDArray[np.int32] = (coarse << 8 | (5 * at & 0xFF)[:, None]).astype(np.int32)
    if format == "int16":
        return (value24 >> 8).astype("<i2").tobytes()
    if format == "int24":
        return value24.astype("<i4").view(np.uint8).reshape(samples, channels, 4)[:, :, :3].tobytes()
    if format == "int32":
        return (value24 << 8).astype("<i4").tobytes()
    assert format == "float32"
    return (value24.astype(np.float32) / np.float32(8_388_608)).tobytes()


class HasEnvironment(Protocol):
    """What a subprocess needs to have certain sound devices: virtual microphones, or a sound server."""

    @property
    def environment(self) -> Mapping[str, str]: ...


def run_child(
    microphones: HasEnvironment, module: str, request: dict[str, Any], *, limit_s: float, **environment: str
) -> dict[str, Any]:
    """Run `python -m MODULE JSON` with the microphones; its last line of output is the answer, in JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(request)],
        env={**microphones.environment, **environment},
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.returncode == 0, f"{module} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer
