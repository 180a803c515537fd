"""What figures depend on: processor, clock, kernel, versions, and what else the machine does."""

import importlib.metadata
import os
import platform
import ssl
import sys
from pathlib import Path

from ravatar_audio.errors import SettingsError
from ravatar_audio.native import Chain

PACKAGES = (
    "ravatar-audio",
    "trio",
    "trio-websocket",
    "wsproto",
    "numpy",
    "soxr",
    "PyAudio",
    "websockets",
    "picows",
    "uvloop",
    "aiohttp",
)


class Missing(Exception):  # noqa: N818 - it is no error
    """This machine lacks what a bench, or a part of one, needs; the text says what and how to get it."""


def fingerprint() -> dict[str, object]:
    """The machine and the versions, with the load at this moment (runnable tasks over the last minute)."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "kernel": _kernel(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_mb": _memory_mb(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": sys.version.split()[0],
        "openssl": ssl.OPENSSL_VERSION,
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "load": load(),
    }


def load() -> float | None:
    """Runnable tasks over the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _cpu() -> str:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return _read("/proc/device-tree/model") or platform.processor() or platform.machine()


def _kernel() -> str | None:
    """The instruction set of the core's inner loops: the processor's best, or what RAVATAR_AUDIO_KERNEL says."""
    try:
        with Chain(rate_hz=48_000) as chain:
            return chain.kernel
    except SettingsError:
        return None


def _memory_mb() -> int | None:
    for line in (_read("/proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal"):
            return int(line.split()[1]) // 1024
    return None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip("\0\n ")
    except OSError:
        return None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
