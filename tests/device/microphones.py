"""Virtual USB microphones for tests in any room: ALSA devices with a clock of their own, without hardware or server.

The fixture `usb_microphone` makes them; a subprocess that gets their `environment` sees them and no other device.
PortAudio and ALSA look at the environment once in a process's life, so the test's own process never uses them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent.parent
PLUGIN_SOURCE = Path(__file__).with_name("virtual_microphone.c")
ALSA_FORMATS = {"int16": "S16_LE", "int24": "S24_3LE", "int32": "S32_LE", "float32": "FLOAT_LE"}


@dataclass(frozen=True)
class Pcm:
    """One virtual microphone; virtual_microphone.c has the meaning of the fields."""

    name: str = "usbmic"
    rates: tuple[int, ...] = (48_000,)
    channels: tuple[int, int] = (1, 2)
    formats: tuple[str, ...] = ("int16",)
    source: str = "ramp"
    ppm: int = 0
    exclusive: bool = True
    description: str = "Virtual USB microphone"


class VirtualMicrophones:
    """A set of them: a folder with ALSA's configuration, the first one being the default device."""

    def __init__(self, folder: Path, plugin: Path, pcms: tuple[Pcm, ...]) -> None:
        self.folder, self.pcms = folder, pcms
        lines = [f'pcm_type.virtual_microphone {{ lib "{plugin}" }}']
        for pcm in pcms:
            self.control(pcm.name, "ok")
            fields = {
                "source": pcm.source,
                "rates": " ".join(map(str, pcm.rates)),
                "formats": " ".join(ALSA_FORMATS[format] for format in pcm.formats),
                "control": str(self.control_file(pcm.name)),
            }
            texts = " ".join(f'{name} "{value}"' for name, value in fields.items())
            numbers = f"channels_min {pcm.channels[0]} channels_max {pcm.channels[1]} ppm {pcm.ppm}"
            hint = f'hint {{ show on description "{pcm.description}" }}'
            lines.append(
                f"pcm.{pcm.name} {{ type virtual_microphone {texts} {numbers} exclusive {int(pcm.exclusive)} {hint} }}"
            )
        # PortAudio 19.6 aborts the process when no listed device is called "default".
        lines.append(f'pcm.!default "{pcms[0].name}"')
        (folder / "asound.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def control_file(self, name: str) -> Path:
        """Where control() writes, for a subprocess that replaces it by itself."""
        return self.folder / f"{name}.control"

    def control(self, name: str, word: str) -> None:
        """Let a microphone do something: ok, eacces, ebusy, enodev, unplug, hup, stall, "lose 480"."""
        fresh = self.folder / f"{name}.control.new"
        fresh.write_text(word + "\n", encoding="utf-8")
        fresh.replace(self.control_file(name))

    @property
    def environment(self) -> dict[str, str]:
        """Of a subprocess that is to have these microphones."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return os.environ | {
            "ALSA_CONFIG_PATH": str(self.folder / "asound.conf"),
            "JACK_NO_START_SERVER": "1",
            "PYTHONPATH": path,
        }


def build_shared(source: Path, target: Path, *libraries: str) -> Path:
    """A shared library from one C file."""
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-DPIC", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([os.environ.get("CC", "cc"), *flags, str(source), "-o", str(target), *libraries], check=True)
    return target


@pytest.fixture(scope="session")
def microphone_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ALSA plugin, built; without ALSA's headers the test is skipped, but fails in CI."""
    if not Path("/usr/include/alsa/pcm_external.h").exists():
        message = "ALSA's headers are missing: sudo apt-get install libasound2-dev"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    target = tmp_path_factory.mktemp("plugin") / "libasound_module_pcm_virtual_microphone.so"
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
