"""A private PulseAudio server with a microphone in it, for tests of what sound servers do."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import needs
from tests.device.microphones import ROOT

_LIMIT_S = 20.0

# norewinds: else the null sink hands its sound out in bursts of up to two seconds.
_SCRIPT = """\
.fail
load-module module-null-sink sink_name=speaker norewinds=1 rate=48000 channels=2 format=s16le
load-module module-remap-source master=speaker.monitor source_name=usbmic
load-module module-native-protocol-unix auth-anonymous=1
set-default-sink speaker
set-default-source usbmic
"""
_ALSA = """\
pcm.usbmic { type pulse device "usbmic" hint { show on description "USB microphone behind PulseAudio" } }
pcm.!default { type pulse hint { show on description "default" } }
ctl.!default { type pulse }
"""


class PulseServer:
    """A running server. What is played to it is what its microphone hears."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("", "pulse", "state", "config"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        (folder / "server.pa").write_text(_SCRIPT, encoding="utf-8")
        (folder / "asound.conf").write_text(_ALSA, encoding="utf-8")
        self.environment = os.environ | {
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PULSE_RUNTIME_PATH": str(folder / "pulse"),
            "PULSE_STATE_PATH": str(folder / "state"),
            "PULSE_SERVER": f"unix:{folder}/pulse/native",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "JACK_NO_START_SERVER": "1",
            "PYTHONPATH": str(ROOT),
        }
        self._players: list[subprocess.Popen[bytes]] = []
        self.start()

    def start(self) -> None:
        """Start the server, as after a crash; returns when it answers."""
        flags = (
            "--daemonize=no --use-pid-file=no --exit-idle-time=-1 --disable-shm=yes --realtime=no --high-priority=no"
        )
        command = ["pulseaudio", "-n", "-F", str(self.folder / "server.pa"), *flags.split()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        until_s = time.monotonic() + _LIMIT_S
        while self.command("info").returncode != 0:
            assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8", errors="replace")
            assert time.monotonic() < until_s, "PulseAudio does not answer"

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run pactl."""
        return subprocess.run(
            ["pactl", *words], env=self.environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )

    def modules(self, name: str) -> list[str]:
        """Numbers of the loaded modules of this name."""
        lines = self.command("list", "short", "modules").stdout.splitlines()
        return [fields[0] for fields in (line.split("\t") for line in lines) if fields[1] == name]

    def module(self, name: str) -> str:
        """The number of the only one."""
        (number,) = self.modules(name)
        return number

    def play(self, wav: Path) -> None:
        """Play a file to the microphone, in the background."""
        self._players.append(subprocess.Popen(["paplay", "--latency-msec=50", str(wav)], env=self.environment))

    def kill(self) -> None:
        """End the server as a crash does."""
        self.process.kill()
        self.process.wait(_LIMIT_S)

    def close(self) -> None:
        for player in self._players:
            player.kill()
            player.wait(_LIMIT_S)
        self.kill()


@pytest.fixture
def pulse_server(tmp_path: Path) -> Iterator[PulseServer]:
    """A server of the test's own; without PulseAudio the test is skipped, but fails in CI."""
    needs("pulseaudio")
    needs("paplay")
    folder = tmp_path / "pulse-server"
    folder.mkdir(mode=0o700)
    server = PulseServer(folder)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
