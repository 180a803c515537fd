"""What the board says of itself: temperatures, and a Raspberry Pi's power. Linux; elsewhere there is nothing.

`root` is for tests.
"""

import contextlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ANSWER_LIMIT_S: Final = 2.0
"""Longest wait for the firmware's program."""
THROTTLED_BITS: Final = {
    0: "under-voltage",
    1: "ARM frequency capped",
    2: "throttled",
    3: "soft temperature limit active",
}
"""Of `vcgencmd get_throttled`: now; the same 16 higher: since boot (raspberrypi.com, documentation of vcgencmd)."""
_ZONES_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Power:
    """What a Raspberry Pi says about its power and temperature, in words of THROTTLED_BITS."""

    now: tuple[str, ...]
    since_boot: tuple[str, ...]


def parse_throttled(text: str) -> Power | None:
    """Read it from "throttled=0x50005", as vcgencmd prints it, or the bare number of the kernel's file; None for
    neither.
    """
    found = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]+)", text.strip())
    if not found:
        return None
    bits = int(found[1], 16)
    now = tuple(word for bit, word in THROTTLED_BITS.items() if bits >> bit & 1)
    return Power(now, tuple(word for bit, word in THROTTLED_BITS.items() if bits >> (bit + 16) & 1))


def ask_firmware() -> str:
    """Return what vcgencmd says of the power; empty where there is none."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["vcgencmd", "get_throttled"],  # noqa: S607 - wherever the system has it
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=ANSWER_LIMIT_S,
            check=False,
        )
        return done.stdout
    return ""


def is_pi(root: Path = Path("/")) -> bool:
    """Return whether the machine is a Raspberry Pi."""
    return "Raspberry Pi" in _read(root / "proc/device-tree/model")


def read_power(root: Path = Path("/"), vcgencmd: str | None = None) -> Power | None:
    """Read the power of a Raspberry Pi: by the kernel, or the firmware's program, or the voltage sensor. None: nothing
    says.

    `vcgencmd` is the program's output, asked for when None.
    """
    for path in root.glob("sys/devices/platform/soc*/*firmware/get_throttled"):
        if power := parse_throttled(_read(path)):
            return power
    if power := parse_throttled(ask_firmware() if vcgencmd is None else vcgencmd):
        return power
    for name in root.glob("sys/class/hwmon/hwmon*/name"):
        if _read(name) == "rpi_volt" and (alarm := _read(name.parent / "in0_lcrit_alarm")):
            return Power(("under-voltage",) if alarm == "1" else (), ())
    return None


def read_temperatures(root: Path = Path("/")) -> dict[str, float]:
    """Read the degrees Celsius by the kernel's thermal zone, as "cpu-thermal"; of zones with one name the hottest."""
    found: dict[str, float] = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*"))[:_ZONES_MAX]:
        with contextlib.suppress(ValueError):
            name, celsius = _read(zone / "type") or zone.name, int(_read(zone / "temp")) / 1000
            found[name] = max(celsius, found.get(name, celsius))
    return found


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    return ""
