"""Sound servers whose microphones are ALSA devices, as a USB microphone behind a desktop's server is.

They hear a ramp that is a function of the system's clock, and goes on whatever becomes of the server: what a program
hears says to the sample what is missing. There are two of them, so that a server can move a stream to the other one.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.device.microphones import Pcm, VirtualMicrophones
from tests.device.servers import LIMIT_S, RATE_HZ, PipeWireServer, PulseServer, SoundServer, served

NAMES = ("usbmic", "othermic")

NODE = """{{
    factory.name = api.alsa.pcm.source, node.name = {name}, node.description = {name}, media.class = Audio/Source,
    api.alsa.path = {name}, audio.format = S16LE, audio.rate = {rate_hz}, audio.channels = 1, audio.position = MONO,
    api.alsa.period-size = {block}, api.alsa.disable-tsched = true, api.alsa.disable-mmap = true, object.linger = true
}}"""


class WithHardware(SoundServer):
    """A server that opens the virtual microphones itself. Its clients know nothing of them."""

    def __init__(self, folder: Path, plugin: Path) -> None:
        hardware = folder / "hardware"
        hardware.mkdir()
        pcms = (Pcm(name=name, rates=(RATE_HZ,), channels=(1, 1), lasting=True, exclusive=False) for name in NAMES)
        self._hardware = VirtualMicrophones(hardware, plugin, tuple(pcms))
        super().__init__(folder)

    def commands(self) -> list[tuple[list[str], str]]:
        finds_them = f"ALSA_CONFIG_PATH={self._hardware.environment['ALSA_CONFIG_PATH']}"
        return [(["env", finds_them, *command], made) for command, made in super().commands()]

    def ask(self, *command: str) -> str:
        """What a client of the server prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
        return done.stdout

    def plug(self, rate_hz: int = RATE_HZ, channels: int = 1) -> None:
        assert (rate_hz, channels) == (RATE_HZ, 1)
        self.plug_in("usbmic")
        self._until(lambda: self.command("set-default-source", "usbmic").returncode == 0, "the microphone is there")

    def unplug(self, *, keep_another: bool = False) -> None:
        if keep_another:
            self.plug_in("othermic")
        self.unplug_from("usbmic")

    def has(self, name: str) -> bool:
        """Whether this microphone is one of the server's sources."""
        return f"\t{name}\t" in self.do("list", "short", "sources")

    def plug_in(self, name: str) -> None:
        """A microphone comes, unless it is there."""
        if not self.has(name):
            self.add(name)
            self._until(lambda: self.has(name), f"{name} is there")

    def unplug_from(self, name: str) -> None:
        """A microphone goes."""
        self.remove(name)
        self._until(lambda: not self.has(name), f"{name} is gone")

    def add(self, name: str) -> None:
        raise NotImplementedError

    def remove(self, name: str) -> None:
        raise NotImplementedError


class PulseHardware(WithHardware, PulseServer):
    """PulseAudio with microphones of its own."""

    def add(self, name: str) -> None:
        # A buffer of 0.64 s: PulseAudio does not survive an overrun of a plugin, which has no kernel to wake it.
        layout = f"rate={RATE_HZ} channels=1 format=s16le mmap=0 tsched=0 fragments=64 fragment_size={RATE_HZ // 50}"
        self.do("load-module", "module-alsa-source", f"device={name}", f"source_name={name}", *layout.split())

    def remove(self, name: str) -> None:
        rows = [row.split("\t") for row in self.do("list", "short", "modules").splitlines()]
        for row in rows:
            if row[1] == "module-alsa-source" and f"device={name} " in row[2]:
                self.do("unload-module", row[0])


class PipeWireHardware(WithHardware, PipeWireServer):
    """PipeWire with microphones of its own."""

    programs: ClassVar[tuple[str, ...]] = (*PipeWireServer.programs, "pw-cli")

    def add(self, name: str) -> None:
        self.ask("pw-cli", "create-node", "adapter", NODE.format(name=name, rate_hz=RATE_HZ, block=RATE_HZ // 100))

    def remove(self, name: str) -> None:
        number = ""
        for line in self.ask("pw-cli", "list-objects", "Node").splitlines():
            words = line.split()
            if words[:1] == ["id"]:
                number = words[1].rstrip(",")
            if line.strip() == f'node.name = "{name}"':
                self.ask("pw-cli", "destroy", number)


@pytest.fixture
def pulse_hardware(tmp_path: Path, microphone_plugin: Path) -> Iterator[SoundServer]:
    """PulseAudio with two microphones; without it the test is skipped, but fails in CI."""
    yield from served(PulseHardware, tmp_path / "pulse", lambda folder: PulseHardware(folder, microphone_plugin))


@pytest.fixture
def pipewire_hardware(tmp_path: Path, microphone_plugin: Path) -> Iterator[SoundServer]:
    """PipeWire with two microphones; without it the test is skipped, but fails in CI."""
    yield from served(
        PipeWireHardware, tmp_path / "pipewire", lambda folder: PipeWireHardware(folder, microphone_plugin)
    )
