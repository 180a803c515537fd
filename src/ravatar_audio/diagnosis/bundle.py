"""What somebody far away needs to find out what is wrong with a machine: one archive, without secrets.

Each part is a text, read from the system or asked of a program; one that cannot be had says why. Every text goes
through `scrubbed`, whoever wrote it.
"""

import dataclasses
import io
import json
import platform
import re
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ravatar_audio._version import __version__
from ravatar_audio.settings import Settings

LEFT_OUT: Final = "(left out)"
UNITS: Final = ("ravatar-audio-kiosk", "ravatar-audio-browser", "ravatar-audio")
LINES: Final = 20_000
"""Of the journal, the newest."""
LIMIT_BYTES: Final = 8_000_000
"""Of one part; what is before its last so many bytes is left out."""
PROGRAM_S: Final = 20.0
_NAMES: Final = ("project_id", "user_id")
"""Settings that are no secrets, but by which others could speak as this machine."""
_SECRETS: Final = (
    (re.compile(r"eyJ[\w-]{4,}\.[\w-]{4,}(\.[\w-]*)?"), LEFT_OUT),  # a JWT
    (
        re.compile(r"(?i)([?&\"']?\b(?:token|jwt|password|licenseid)\b[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,}]+"),
        rf"\1{LEFT_OUT}",
    ),
    (re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?)(?:\w+ )?[^\s\"',}]+"), rf"\1{LEFT_OUT}"),
    (re.compile(r"(\w+://)[^/\s@\"']+@"), rf"\1{LEFT_OUT}@"),  # user and password of an address
    (re.compile(r"(http://(?:127\.0\.0\.1|localhost):\d+/)[\w-]{16,}"), rf"\1{LEFT_OUT}"),  # the kiosk's page
)
_FILES: Final = {
    "sound.txt": ("/proc/asound/cards", "/proc/asound/card*/stream*", "/proc/asound/card*/pcm*/sub*/[hs]*"),
    "system.txt": (
        *("/etc/os-release", "/proc/version", "/proc/device-tree/model", "/proc/uptime", "/proc/loadavg"),
        *("/proc/meminfo", "/proc/cpuinfo", "/proc/pressure/*", "/sys/class/thermal/thermal_zone*/temp"),
    ),
}
_PROGRAMS: Final = {
    "journal.txt": (
        *("journalctl", "--no-pager", "--output=short-iso-precise", f"--lines={LINES}"),
        *(f"--unit={unit}" for unit in UNITS),
    ),
    "kernel.txt": ("journalctl", "--no-pager", "--dmesg", "--boot", "--output=short-iso-precise", "--lines=2000"),
    "units.txt": ("systemctl", "--no-pager", "show", *(f"{unit}.service" for unit in UNITS)),
    "disks.txt": ("df", "-h"),
    "usb.txt": ("lsusb",),
}


def scrubbed(text: str, known: Sequence[str] = ()) -> str:
    """Return the text without what looks like a secret, and without the `known` ones, of 4 characters or more."""
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= 4:
            text = text.replace(secret, LEFT_OUT)
    for pattern, put in _SECRETS:
        text = pattern.sub(put, text)
    return text


def known_secrets(settings: Settings) -> list[str]:
    """Return the values of these settings that appear nowhere."""
    secret = {item.name for item in dataclasses.fields(settings) if item.metadata["is_secret"]} | set(_NAMES)
    return [str(value) for name in sorted(secret) if (value := getattr(settings, name)) is not None]


def settings_text(settings: Settings) -> str:
    """Return the settings that are not as they come, without values that are secret."""
    lines = []
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if value != item.default:
            is_hidden = item.metadata["is_secret"] or item.name in _NAMES
            lines.append(f"{item.name} = {json.dumps(LEFT_OUT if is_hidden else value)}")
    return "\n".join(lines)


def about() -> str:
    """Return what this program and its system are, and the time."""
    found = {
        "ravatar-audio": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return json.dumps(found, indent=2)


def state_listing(folder: Path) -> str:
    """Return names, sizes and times of what is kept, not what is in it."""
    lines = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(status.st_mtime))
        lines.append(f"{status.st_mode:o} {status.st_size:>10} {when} {path.relative_to(folder)}")
    return "\n".join(lines) or "nothing"


def system_parts() -> dict[str, Callable[[], str]]:
    """Return the parts that are read from the system, by name, each to be called."""
    parts: dict[str, Callable[[], str]] = {"about.json": about}
    parts |= {name: lambda patterns=patterns: _of_files(patterns) for name, patterns in _FILES.items()}  # type: ignore[misc]
    parts |= {name: lambda command=command: _of_program(command) for name, command in _PROGRAMS.items()}  # type: ignore[misc]
    return parts


def _of_files(patterns: Sequence[str]) -> str:
    texts = []
    for pattern in patterns:
        for path in sorted(Path("/").glob(pattern.removeprefix("/"))):
            try:
                content = path.read_bytes()[:65_536].replace(b"\0", b"").decode("utf-8", "replace")
            except OSError as error:
                content = str(error)
            texts.append(f"== {path}\n{content.rstrip()}\n")
    return "\n".join(texts)


def _of_program(command: Sequence[str]) -> str:
    done = subprocess.run(  # noqa: S603 - one of _PROGRAMS
        command, capture_output=True, timeout=PROGRAM_S, check=False, stdin=subprocess.DEVNULL
    )
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def collected(parts: Mapping[str, Callable[[], str]], known: Sequence[str]) -> dict[str, str]:
    """Return all parts as texts without secrets; one that cannot be had says why."""
    texts = {}
    for name, part in parts.items():
        try:
            text = part()
        except (OSError, subprocess.SubprocessError) as error:
            text = f"it cannot be had: {error}"
        texts[name] = scrubbed(text[-LIMIT_BYTES:], known)
    return texts


def archive(texts: Mapping[str, str], recordings: Sequence[Path] = ()) -> bytes:
    """Return a .tar.gz of the texts, and of sound where that was asked for."""
    out = io.BytesIO()
    contents = [f"{name}: {len(text.encode())} bytes" for name, text in texts.items()]
    contents += [f"sound/{path.name}: {path.stat().st_size} bytes" for path in recordings]
    note = (
        f"Tokens, passwords, project and user id are {LEFT_OUT}; sound, and what was said, unless they were asked for."
    )
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in {"CONTENTS.txt": "\n".join([note, "", *contents]), **texts}.items():
            data = (text.rstrip("\n") + "\n").encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"ravatar-audio-support/{name}")
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            tar.addfile(entry, io.BytesIO(data))
        for path in recordings:
            tar.add(path, f"ravatar-audio-support/sound/{path.name}", recursive=False)
    return out.getvalue()


def without_conversation(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kiosk's state without what was said."""
    return {**state, "captions": f"{len(state.get('captions', ()))} captions {LEFT_OUT}"}
