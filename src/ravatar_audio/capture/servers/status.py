"""The sound servers of this system: which run, and whether this user reaches them. From /proc and their sockets."""

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ravatar_audio.capture.devices.cards import read_text
from ravatar_audio.capture.devices.permissions import user_name

PROGRAMS = {
    "pulseaudio": "PulseAudio",
    "pipewire": "PipeWire",
    "pipewire-pulse": "PipeWire's PulseAudio service",
    "wireplumber": "WirePlumber",
    "pipewire-media-": "PipeWire's session manager",
    "jackd": "JACK",
    "jackdbus": "JACK",
}
"""A process's name in /proc, 15 characters of it, and what it is."""


START_ADVICE = (
    "Start it (systemctl --user start pipewire pipewire-pulse, or pulseaudio --start), or name the hardware: "
    "--device card:ID."
)
RESTART_ADVICE = (
    "Start it again: systemctl --user restart wireplumber pipewire pipewire-pulse, or pulseaudio -k; hardware needs no "
    "sound server: --device card:ID."
)


class Process(NamedTuple):
    """A program of a sound server that runs, whoever's it is."""

    program: str
    pid: int
    user: str = ""
    """Whose it is; "" for this user's own."""
    runtime_dir: str = ""
    """Its XDG_RUNTIME_DIR, where its sockets are; "" where that cannot be seen."""

    def __str__(self) -> str:
        return f"{PROGRAMS[self.program]} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Server:
    """A socket on which a sound server answers, or should."""

    protocol: str
    """ "PulseAudio" (which PipeWire speaks as well) or "PipeWire"."""
    path: Path
    error: int
    """0: it answers; else the errno of connecting."""

    @property
    def is_forbidden(self) -> bool:
        return self.error in (errno.EACCES, errno.EPERM)

    @property
    def is_absent(self) -> bool:
        return self.error in (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class Servers:
    """What there is of sound servers."""

    processes: tuple[Process, ...]
    """Any user's."""
    sockets: tuple[Server, ...]
    runtime_dir: str = ""
    """Where this program looks for them."""

    @property
    def answering(self) -> tuple[Server, ...]:
        return tuple(server for server in self.sockets if not server.error)

    @property
    def forbidden(self) -> tuple[Server, ...]:
        return tuple(server for server in self.sockets if server.is_forbidden)

    @property
    def why_none_answers(self) -> tuple[str, str]:
        """What runs all the same, for whom, and what to do; for when none is answering."""
        if not self.processes:
            return "no sound server answers", START_ADVICE
        others = [process for process in self.processes if process.user]
        own = [process for process in self.processes if not process.user]
        if not own:
            users = ", ".join(sorted({process.user for process in others}))
            return (
                f"no sound server answers; {_listed(others)} {_runs(others)} for another user ({users})",
                f"Run this as the user whose sound server it is (a service: User= and XDG_RUNTIME_DIR="
                f"{others[0].runtime_dir or '/run/user/UID'}), or name the hardware: --device card:ID.",
            )
        elsewhere = {process.runtime_dir for process in own} - {"", self.runtime_dir}
        if elsewhere:
            return (
                f"no sound server answers here; {_listed(own)} {_runs(own)} in another session of this user",
                f"Set XDG_RUNTIME_DIR={min(elsewhere)} for this program, too. Or start one here (systemctl --user "
                "start pipewire pipewire-pulse, or pulseaudio --start), or name the hardware: --device card:ID.",
            )
        return f"no sound server answers, though {_listed(own)} {_runs(own)}", RESTART_ADVICE


def _listed(processes: Sequence[Process]) -> str:
    return ", ".join(map(str, processes))


def _runs(processes: Sequence[Process]) -> str:
    return "runs" if len(processes) == 1 else "run"


def connect(path: Path) -> int:
    """Return the errno of connecting to a local socket; 0 when somebody answers."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except TimeoutError:
            return errno.ETIMEDOUT
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def look_at_servers(
    root: Path = Path("/"),
    environ: Mapping[str, str] | None = None,
    user_id: int | None = None,
    connect: Callable[[Path], int] = connect,
) -> Servers:
    """List the running programs, and the sockets that this user's programs would connect to.

    The arguments are for tests.
    """
    environ = os.environ if environ is None else environ
    user_id = os.getuid() if user_id is None else user_id
    processes = []
    for comm in root.glob("proc/[0-9]*/comm"):
        if (name := read_text(comm)) in PROGRAMS:
            with contextlib.suppress(OSError):  # it has just ended
                processes.append(_process(name, comm.parent, user_id))
    sockets = [
        Server(protocol, path, connect(root / path.relative_to("/")))
        for protocol, path in socket_paths(environ, user_id).items()
    ]
    by_pid = sorted(processes, key=lambda process: process.pid)
    return Servers(tuple(by_pid), tuple(sockets), str(_runtime_dir(environ, user_id)))


def _process(name: str, folder: Path, user_id: int) -> Process:
    owner_id = folder.stat().st_uid
    environment = read_text(folder / "environ").split("\0")
    runtime_dir = next((entry.partition("=")[2] for entry in environment if entry.startswith("XDG_RUNTIME_DIR=")), "")
    return Process(name, int(folder.name), "" if owner_id == user_id else user_name(owner_id), runtime_dir)


def _runtime_dir(environ: Mapping[str, str], user_id: int) -> Path:
    return Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user_id}")


def socket_paths(environ: Mapping[str, str], user_id: int) -> dict[str, Path]:
    """Return where servers' clients look: $PULSE_SERVER, $PULSE_RUNTIME_PATH, $PIPEWIRE_REMOTE, $XDG_RUNTIME_DIR."""
    runtime = _runtime_dir(environ, user_id)
    found = {}
    named = environ.get("PULSE_SERVER", "").split()[:1]
    pulse = named[0].removeprefix("unix:") if named else ""
    if pulse.startswith("/"):
        found["PulseAudio"] = Path(pulse)
    elif not pulse:  # else it is on another machine
        folder = environ.get("PULSE_RUNTIME_PATH")
        found["PulseAudio"] = (Path(folder) if folder else runtime / "pulse") / "native"
    folder = environ.get("PIPEWIRE_RUNTIME_DIR")
    found["PipeWire"] = (Path(folder) if folder else runtime) / (environ.get("PIPEWIRE_REMOTE") or "pipewire-0")
    return {protocol: path for protocol, path in found.items() if path.is_absolute()}


_PLUGINS = (b"/libasound_module_pcm_pulse.so", b"/libasound_module_pcm_pipewire.so")


def is_client(maps: Path = Path("/proc/self/maps")) -> bool:
    """Return whether this process has one of ALSA's plugins for sound servers in use."""
    with contextlib.suppress(OSError):
        loaded = maps.read_bytes()
        return any(plugin in loaded for plugin in _PLUGINS)
    return False
