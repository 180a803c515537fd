"""The machine: limits of the audio thread, and a Raspberry Pi's power. Mostly pure.

`root` is for tests.
"""

import contextlib
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from ravatar_audio.capture.devices.cards import read_text
from ravatar_audio.capture.host.memory_lock import why_memory_cannot_be_locked
from ravatar_audio.capture.streams.stream import PRIORITY
from ravatar_audio.diagnosis.finding import Finding

ANSWER_LIMIT_S = 2.0
"""Longest wait for the firmware's program."""
THROTTLED_BITS = {
    0: "under-voltage",
    1: "ARM frequency capped",
    2: "throttled",
    3: "soft temperature limit active",
}
"""Of `vcgencmd get_throttled`: now; the same 16 higher: since boot (raspberrypi.com, documentation of vcgencmd)."""


@dataclass(frozen=True, slots=True)
class Power:
    """What a Raspberry Pi says about its power and temperature."""

    now: tuple[str, ...]
    since_boot: tuple[str, ...]

    def finding(self) -> Finding:
        advice = (
            "Use the power supply made for this model and a short, thick cable; give the microphone a powered hub."
            if any("voltage" in word for word in self.now + self.since_boot)
            else "Cool it: a heat sink, a fan, an open case."
        )
        if self.now:
            return Finding("power", "warning", f"now: {', '.join(self.now)}", advice)
        if self.since_boot:
            return Finding("power", "warning", f"fine now, but since boot: {', '.join(self.since_boot)}", advice)
        return Finding("power", "ok", "no under-voltage and no throttling since boot")


def parse_throttled(text: str) -> Power | None:
    """From "throttled=0x50005", as vcgencmd prints it, or the bare number of the kernel's file; None for neither."""
    found = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]+)", text.strip())
    if not found:
        return None
    bits = int(found[1], 16)
    now = tuple(word for bit, word in THROTTLED_BITS.items() if bits >> bit & 1)
    return Power(now, tuple(word for bit, word in THROTTLED_BITS.items() if bits >> (bit + 16) & 1))


def ask_firmware() -> str:
    """What vcgencmd says of the power; empty where there is none."""
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


def check_power(root: Path = Path("/"), vcgencmd: str | None = None) -> Finding | None:
    """None on what is no Raspberry Pi. `vcgencmd` is the program's output, asked for when None."""
    if "Raspberry Pi" not in read_text(root / "proc/device-tree/model"):
        return None
    for path in root.glob("sys/devices/platform/soc*/*firmware/get_throttled"):
        if power := parse_throttled(read_text(path)):
            return power.finding()
    if power := parse_throttled(ask_firmware() if vcgencmd is None else vcgencmd):
        return power.finding()
    for name in root.glob("sys/class/hwmon/hwmon*/name"):
        if read_text(name) == "rpi_volt" and (alarm := read_text(name.parent / "in0_lcrit_alarm")):
            return Power(("under-voltage",) if alarm == "1" else (), ()).finding()
    return Finding("power", "skipped", "neither vcgencmd nor the kernel reports under-voltage")


def why_no_priority() -> str | None:
    """Why a thread of this process may not have a real-time priority; None when it may, or need not.

    One more than the audio thread's is for the thread that keeps watch over PortAudio's (csrc/streams/rva_watch.h).

    It is tried, in a thread that ends with it, as limits, capabilities and control groups all have a say.
    """
    if sys.platform != "linux":  # the sound system's own thread captures
        return None
    results: list[str | None] = []

    def attempt() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY + 1))
            results.append(None)
        except OSError as error:
            results.append(error.strerror or "refused")

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return results[0]


def check_priority(refusal: str | None, limit: int | None) -> Finding:
    """Pure: `refusal` is why_no_priority()'s, `limit` RLIMIT_RTPRIO's soft value."""
    if limit is None:
        return Finding("priority", "skipped", f"is the sound system's affair on {sys.platform}")
    if refusal is None:
        return Finding(
            "priority",
            "ok",
            f"an audio thread of ours, or PortAudio's on ALSA, may run at real-time priority {PRIORITY}",
        )
    return Finding(
        "priority",
        "warning",
        f"no real-time priority for the audio thread: {refusal}; RLIMIT_RTPRIO is {limit}",
        f"Allow it: LimitRTPRIO=20 in a systemd service, or '@audio - rtprio 20' in /etc/security/limits.d/audio.conf "
        f"and a new login; at least {PRIORITY + 1} is needed. Without it a busy machine may lose sound.",
    )


def check_memory(refusal: str | None, *, is_asked_for: bool) -> Finding:
    """Pure: `refusal` is why_memory_cannot_be_locked()'s."""
    if refusal is None:
        return Finding("memory", "ok", "is locked, as asked" if is_asked_for else "may be locked; not asked for")
    why = refusal.partition(";")[0]  # without what to do, which follows
    if not is_asked_for:
        return Finding("memory", "ok", f"is not locked, as not asked for; if it were: {why}")
    return Finding(
        "memory",
        "warning",
        f"cannot be locked: {why}",
        "Allow it: LimitMEMLOCK=infinity in a systemd service, or '@audio - memlock unlimited' in "
        "/etc/security/limits.d/audio.conf and a new login.",
    )


def check_limits(*, locks_memory: bool) -> list[Finding]:
    """Of this process; `locks_memory` is the setting."""
    limit = None
    if sys.platform == "linux":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    return [
        check_priority(why_no_priority(), limit),
        check_memory(why_memory_cannot_be_locked(), is_asked_for=locks_memory),
    ]
