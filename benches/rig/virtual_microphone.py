"""Virtual USB microphones: ALSA devices with a clock of their own, without hardware or server.

A subprocess that gets their `environment` sees them and no other device. PortAudio and ALSA look at the environment
once in a process's life, so the process that makes them never uses them itself.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..report.machine import Missing

HERE = Path(__file__).parent
PLUGIN_SOURCE = HERE / "virtual_microphone.c"
PLUGIN_NAME = "libasound_module_pcm_virtual_microphone.so"
ALSA_FORMATS = {"int16": "S16_LE", "int24": "S24_3LE", "int32": "S32_LE", "float32": "FLOAT_LE", "padded": "S24_LE"}


@dataclass(frozen=True)
class Pcm:
    """One virtual microphone; virtual_microphone.c has the meaning of the fields."""

    name: str = "usbmic"
    rates: tuple[int, ...] = (48_000,)
    channels: tuple[int, int] = (1, 2)
    formats: tuple[str, ...] = ("int16",)
    source: str = "ramp"
    ppm: int = 0
    step: int = 1
    period_min: int = 48
    exclusive: bool = True
    lasting: bool = False
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
            numbers = f"channels_min {pcm.channels[0]} channels_max {pcm.channels[1]} ppm {pcm.ppm} step {pcm.step}"
            numbers += f" lasting {int(pcm.lasting)} exclusive {int(pcm.exclusive)}"
            numbers += f" period_min {pcm.period_min}"
            hint = f'hint {{ show on description "{pcm.description}" }}'
            lines.append(f"pcm.{pcm.name} {{ type virtual_microphone {texts} {numbers} {hint} }}")
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
        return os.environ | {
            "ALSA_CONFIG_PATH": str(self.folder / "asound.conf"),
            "JACK_NO_START_SERVER": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [_checkout(), os.environ.get("PYTHONPATH")])),
        }


def write_wav(path: Path, rate_hz: int, sound: NDArray[np.float64]) -> Path:
    """A file for a microphone's `source`: (samples, channels) of -1 to 1, each channel with a sound of its own."""
    with wave.open(str(path), "wb") as file:
        file.setparams((sound.shape[1], 2, rate_hz, 0, "NONE", ""))
        file.writeframes(np.round(np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes())
    return path


def build_shared(source: Path, target: Path, *libraries: str) -> Path:
    """A shared library from one C file; raises Missing where there is no compiler."""
    return build_program(source, target, "-shared", "-fPIC", "-DPIC", *libraries)


def build_program(source: Path, target: Path, *flags: str) -> Path:
    """A program from one C file; raises Missing where there is no compiler."""
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler.split()[0]) is None:
        raise Missing("needs a C compiler: sudo apt-get install gcc libc6-dev")
    always = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*compiler.split(), *always, str(source), "-o", str(target), *flags], check=True)
    return target


def has_alsa_headers() -> bool:
    """Whether the plugin can be built."""
    return Path("/usr/include/alsa/pcm_external.h").exists()


@contextmanager
def virtual_microphones(*pcms: Pcm) -> Iterator[VirtualMicrophones]:
    """Build the plugin and make the microphones, for a bench; raises Missing where they cannot be had."""
    if not sys.platform.startswith("linux") or not has_alsa_headers():
        raise Missing("needs virtual ALSA microphones: sudo apt-get install gcc libasound2-dev")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        plugin = build_shared(PLUGIN_SOURCE, folder / PLUGIN_NAME, "-lasound")
        yield VirtualMicrophones(folder, plugin, pcms or (Pcm(),))


def _checkout() -> str | None:
    """The folder from which a subprocess finds the benches and the tests; none where they are installed."""
    return str(HERE.parent.parent) if __package__ == "benches.rig" else None
