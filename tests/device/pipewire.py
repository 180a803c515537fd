"""A private PipeWire with a microphone in it, and its server for PulseAudio's clients, through which we come."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import needs
from tests.device.pulse import PulseServer

_LIMIT_S = 20.0
_NODES = """\
context.objects = [
    { factory = adapter args = { factory.name = support.null-audio-sink node.name = speaker
                                 media.class = Audio/Sink audio.position = "FL,FR" } }
    { factory = adapter args = { factory.name = support.null-audio-sink node.name = usbmic
                                 media.class = Audio/Source/Virtual audio.position = "FL,FR" } }
]
"""


class PipeWireServer(PulseServer):
    """As PulseServer; its microphone hears zeros."""

    def start(self) -> None:
        nodes = self.folder / "config" / "pipewire" / "pipewire.conf.d"
        nodes.mkdir(parents=True, exist_ok=True)
        (nodes / "nodes.conf").write_text(_NODES, encoding="utf-8")
        bluetooth = self.folder / "config" / "wireplumber" / "bluetooth.lua.d"
        bluetooth.mkdir(parents=True, exist_ok=True)
        # Its Bluetooth part wants a login manager, and takes wireplumber down with it in a container, which has none.
        (bluetooth / "51-none.lua").write_text("bluez_monitor.enabled = false\n", encoding="utf-8")
        bus = f"unix:path={self.folder}/bus"
        self.environment |= {"DBUS_SESSION_BUS_ADDRESS": bus, "PIPEWIRE_RUNTIME_DIR": str(self.folder)}
        commands = [  # wireplumber needs a session bus
            ["dbus-daemon", "--session", "--nofork", f"--address={bus}"],
            ["pipewire"],
            ["wireplumber"],
            ["pipewire-pulse"],
        ]
        self._processes = []
        for command, made in zip(commands, ("bus", "pipewire-0", None, "pulse/native"), strict=True):
            with (self.folder / "log").open("ab") as log:
                process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
            self._processes.append(process)
            self._until(made)
        self.process = self._processes[1]
        until_s = time.monotonic() + _LIMIT_S
        # Nodes come one by one, and the default can be set only when wireplumber has made its place for it.
        while self.command("set-default-source", "usbmic").returncode != 0:
            assert time.monotonic() < until_s, (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def _until(self, made: str | None) -> None:
        until_s = time.monotonic() + _LIMIT_S
        while made is not None and not (self.folder / made).exists():
            assert time.monotonic() < until_s, f"{made} does not come"
            time.sleep(0.01)

    def kill(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait(_LIMIT_S)
        for made in ("bus", "pipewire-0", "pulse/native"):
            (self.folder / made).unlink(missing_ok=True)


@pytest.fixture
def pipewire_server(tmp_path: Path) -> Iterator[PipeWireServer]:
    """A server of the test's own; without PipeWire the test is skipped, but fails in CI."""
    for program in ("pipewire", "wireplumber", "pipewire-pulse", "dbus-daemon", "pactl"):
        needs(program)
    folder = tmp_path / "pipewire"
    folder.mkdir(mode=0o700)
    server = PipeWireServer(folder)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
