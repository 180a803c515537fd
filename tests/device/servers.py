"""Private sound servers with a microphone in them, for tests of what servers do: PulseAudio, and PipeWire.

Both are spoken to through PulseAudio's protocol, and by our programs through its ALSA plugin, as on a usual desktop.
Their microphone "usbmic" hears what is played to "speaker", at 16 kHz and to the sample: a ramp tells what is missing.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.conftest import needs
from tests.device.microphones import ROOT

LIMIT_S = 20.0
RATE_HZ, RAMP = 16_000, 32_768
# norewinds: else the null sink hands its sound out in bursts of up to two seconds.
SPEAKER = ("sink_name=speaker", "norewinds=1", "format=s16le")
MICROPHONE = ("master=speaker.monitor", "source_name=usbmic")
ALSA = """\
pcm.usbmic { type pulse device "usbmic" hint { show on description "USB microphone behind a sound server" } }
pcm.!default { type pulse hint { show on description "default" } }
ctl.!default { type pulse }
"""


class SoundServer:
    """A server of the test's own, once it has been started."""

    programs: ClassVar[tuple[str, ...]] = ("pactl", "paplay")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("", "pulse", "state", "config"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        (folder / "asound.conf").write_text(ALSA, encoding="utf-8")
        self.socket = folder / "pulse" / "native"
        self.environment = os.environ | {
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PIPEWIRE_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder / "pulse"),
            "PULSE_STATE_PATH": str(folder / "state"),
            "PULSE_SERVER": f"unix:{self.socket}",
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/bus",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "JACK_NO_START_SERVER": "1",
            "PYTHONPATH": str(ROOT),
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def commands(self) -> list[tuple[list[str], str]]:
        """What is run, in this order, and the socket that each makes before the next may come."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server, as after a crash; returns when its microphone is there."""
        for command, made in self.commands():
            with (self.folder / "log").open("ab") as log:
                # As urgent as a desktop's sound server is, where that is allowed.
                urgent = ["nice", "-n", "-9", *command]
                self.processes.append(subprocess.Popen(urgent, env=self.environment, stdout=log, stderr=log))
            self._until((self.folder / made).exists, f"{made} comes")
        self._until(lambda: self.command("info").returncode == 0, "it answers")
        self.plug()

    def _until(self, is_so: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + LIMIT_S
        while not is_so():
            assert all(process.poll() is None for process in self.processes), self.log()
            assert time.monotonic() < until_s, f"not so: {what}\n{self.log()}"
            time.sleep(0.01)

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run pactl."""
        return subprocess.run(
            ["pactl", *words], env=self.environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )

    def do(self, *words: str) -> str:
        """Run pactl; what it prints."""
        done = self.command(*words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def modules(self, name: str) -> list[str]:
        """Numbers of the loaded modules of this name."""
        fields = (line.split("\t") for line in self.do("list", "short", "modules").splitlines())
        return [field[0] for field in fields if field[1:2] == [name]]

    def plug(self, rate_hz: int = RATE_HZ, channels: int = 1) -> None:
        """Make the speaker and the microphone, or what is missing of them."""
        speaker = (*SPEAKER, f"rate={rate_hz}", f"channels={channels}")
        for name, words in (("module-null-sink", speaker), ("module-remap-source", MICROPHONE)):
            if not self.modules(name):
                self.do("load-module", name, *words)
        self._until(lambda: self.command("set-default-source", "usbmic").returncode == 0, "the microphone is there")

    def unplug(self, *, keep_another: bool = False) -> None:
        """The microphone goes; with it the speaker's monitor, which is a source too, unless that is to stay."""
        for name in (*([] if keep_another else ["module-null-sink"]), "module-remap-source"):
            for number in self.modules(name):
                self.do("unload-module", number)

    def suspend(self, is_suspended: bool) -> None:
        """The microphone, as idle sound cards are."""
        self.do("suspend-source", "usbmic", str(int(is_suspended)))

    def streams(self) -> list[str]:
        """Numbers of the programs' streams, without those of the server's own modules."""
        fields = (line.split("\t") for line in self.do("list", "short", "source-outputs").splitlines())
        return [field[0] for field in fields if field[2:3] not in ([], ["-"])]

    def pause(self) -> None:
        """The server does nothing until go_on(), as on a machine that is too busy."""
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the server as a crash does."""
        for process in reversed(self.processes):
            process.kill()
            process.wait(LIMIT_S)
        self.processes = []
        for _, made in self.commands():
            if made:
                (self.folder / made).unlink(missing_ok=True)

    def close(self) -> None:
        self.kill()


class PulseServer(SoundServer):
    """PulseAudio."""

    programs = (*SoundServer.programs, "pulseaudio")

    def commands(self) -> list[tuple[list[str], str]]:
        script = self.folder / "server.pa"
        script.write_text(".fail\nload-module module-native-protocol-unix auth-anonymous=1\n", encoding="utf-8")
        flags = (
            "--daemonize=no --use-pid-file=no --exit-idle-time=-1 --disable-shm=yes --realtime=no --high-priority=no"
        )
        return [(["pulseaudio", "-n", "-F", str(script), *flags.split()], "pulse/native")]


class PipeWireServer(SoundServer):
    """PipeWire, with its server for PulseAudio's clients."""

    programs = (*SoundServer.programs, "pipewire", "wireplumber", "pipewire-pulse", "dbus-daemon")

    def commands(self) -> list[tuple[list[str], str]]:
        rate = self.folder / "config" / "pipewire" / "pipewire.conf.d" / "rate.conf"
        rate.parent.mkdir(parents=True, exist_ok=True)
        rate.write_text(f"context.properties = {{ default.clock.rate = {RATE_HZ} }}\n", encoding="utf-8")
        bluetooth = self.folder / "config" / "wireplumber" / "bluetooth.lua.d" / "51-none.lua"
        bluetooth.parent.mkdir(parents=True, exist_ok=True)
        # Its Bluetooth part wants a login manager, and takes wireplumber down with it in a container, which has none.
        bluetooth.write_text("bluez_monitor.enabled = false\n", encoding="utf-8")
        return [  # wireplumber needs a session bus
            (["dbus-daemon", "--session", "--nofork", f"--address=unix:path={self.folder}/bus"], "bus"),
            (["pipewire"], "pipewire-0"),
            (["wireplumber"], ""),
            (["pipewire-pulse"], "pulse/native"),
        ]


def served(kind: type[SoundServer], folder: Path, make: Callable[[Path], SoundServer]) -> Iterator[SoundServer]:
    """For fixtures: what `make` makes of the folder, a server of this kind, for as long as it is used."""
    for program in kind.programs:
        needs(program)
    folder.mkdir(mode=0o700)
    server = make(folder)
    try:
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pulse_server(tmp_path: Path) -> Iterator[SoundServer]:
    """A server of the test's own; without PulseAudio the test is skipped, but fails in CI."""
    yield from served(PulseServer, tmp_path / "pulse", PulseServer)


@pytest.fixture
def pipewire_server(tmp_path: Path) -> Iterator[SoundServer]:
    """A server of the test's own; without PipeWire the test is skipped, but fails in CI."""
    yield from served(PipeWireServer, tmp_path / "pipewire", PipeWireServer)
