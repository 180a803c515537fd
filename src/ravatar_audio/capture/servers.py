"""The sound servers of this system: which run, and whether this user reaches them. From /proc and their sockets."""

import contextlib
import errno
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ravatar_audio.capture.cards import read_text

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

    processes: tuple[tuple[str, int], ...]
    """Name of the program and pid, any user's."""
    sockets: tuple[Server, ...]

    @property
    def answering(self) -> tuple[Server, ...]:
        return tuple(server for server in self.sockets if not server.error)

    @property
    def forbidden(self) -> tuple[Server, ...]:
        return tuple(server for server in self.sockets if server.is_forbidden)


def connect(path: Path) -> int:
    """The errno of connecting to a local socket; 0 when somebody answers."""
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
    """The running programs, and the sockets that this user's programs would connect to. The arguments are for tests."""
    environ = os.environ if environ is None else environ
    processes = [
        (name, int(comm.parent.name)) for comm in root.glob("proc/[0-9]*/comm") if (name := read_text(comm)) in PROGRAMS
    ]
    places = socket_paths(environ, os.getuid() if user_id is None else user_id)
    sockets = [Server(protocol, path, connect(root / path.relative_to("/"))) for protocol, path in places.items()]
    return Servers(tuple(sorted(processes, key=lambda process: process[1])), tuple(sockets))


def socket_paths(environ: Mapping[str, str], user_id: int) -> dict[str, Path]:
    """Where the servers' clients look: $PULSE_SERVER, $PULSE_RUNTIME_PATH, $PIPEWIRE_REMOTE, $XDG_RUNTIME_DIR."""
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user_id}")
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


@dataclass(frozen=True, slots=True)
class Source:
    """A sound server's source, as pactl tells."""

    server: str
    name: str
    state: str
    """"RUNNING", "IDLE", "SUSPENDED", or "" when the list does not have it."""
    is_muted: bool


def ask_program(program: str, *words: str) -> str:
    """What a program of the system prints, in the C locale; empty where there is none, or no answer in 2 s."""
    path = shutil.which(program)
    if not path:
        return ""
    environment = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            [path, *words], capture_output=True, text=True, timeout=2.0, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def ask_default_source() -> Source | None:
    """The server's default source by pactl; None where there is no pactl, or no answer."""
    info = ask_program("pactl", "info")
    if not info:
        return None
    sources = ask_program("pactl", "list", "short", "sources")
    return parse_source(info, sources, ask_program("pactl", "get-source-mute", "@DEFAULT_SOURCE@"))


def ask_source_rate_hz(name: str) -> int:
    """The native rate of the source of that name, else of the server's default; 0 where pactl does not tell."""
    rates_hz = parse_source_rates(ask_program("pactl", "list", "short", "sources"))
    if rates_hz and name not in rates_hz:
        name = parse_source(ask_program("pactl", "info"), "", "").name
    return rates_hz.get(name, 0)


def parse_source_rates(sources: str) -> dict[str, int]:
    """Each source's rate by its name, from `pactl list short sources`. Pure."""
    found = re.finditer(r"^\d+\t([^\t]+)\t.*\b(\d+)Hz\b", sources, re.MULTILINE)
    return {name: int(rate) for name, rate in (match.groups() for match in found)}


def parse_source(info: str, sources: str, mute: str) -> Source:
    """From `pactl info`, `pactl list short sources` and `pactl get-source-mute @DEFAULT_SOURCE@`, in the C locale."""
    fields = dict(line.strip().split(": ", 1) for line in info.splitlines() if ": " in line)
    name = fields.get("Default Source", "")
    rows = [line.split("\t") for line in sources.splitlines()]
    state = next((row[-1].strip() for row in rows if len(row) > 2 and row[1] == name), "")
    return Source(fields.get("Server Name", ""), name, state, mute.strip().lower() == "mute: yes")
