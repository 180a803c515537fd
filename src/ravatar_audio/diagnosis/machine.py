"""The machine: limits of the audio thread, and a Raspberry Pi's power. Mostly pure.

`root` is for tests.
"""

import os
import sys
import threading
from pathlib import Path

from ravatar_audio.capture.host.memory_lock import why_memory_cannot_be_locked
from ravatar_audio.capture.streams.stream import PRIORITY
from ravatar_audio.diagnosis.finding import Finding
from ravatar_audio.observe.board import Power, is_pi, read_power


def power_finding(power: Power) -> Finding:
    """Report the power. Pure."""
    advice = (
        "Use the power supply made for this model and a short, thick cable; give the microphone a powered hub."
        if any("voltage" in word for word in power.now + power.since_boot)
        else "Cool it: a heat sink, a fan, an open case."
    )
    if power.now:
        return Finding("power", "warning", f"now: {', '.join(power.now)}", advice)
    if power.since_boot:
        return Finding("power", "warning", f"fine now, but since boot: {', '.join(power.since_boot)}", advice)
    return Finding("power", "ok", "no under-voltage and no throttling since boot")


def check_power(root: Path = Path("/"), vcgencmd: str | None = None) -> Finding | None:
    """Check the power; None on what is no Raspberry Pi. `vcgencmd` is the program's output, asked for when None."""
    if not is_pi(root):
        return None
    if power := read_power(root, vcgencmd):
        return power_finding(power)
    return Finding("power", "skipped", "neither vcgencmd nor the kernel reports under-voltage")


def why_no_priority() -> str | None:
    """Return why a thread of this process may not have a real-time priority; None when it may, or need not.

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
    """Check the priority. Pure: `refusal` is why_no_priority()'s, `limit` RLIMIT_RTPRIO's soft value."""
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
    """Check the locking of memory. Pure: `refusal` is why_memory_cannot_be_locked()'s."""
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
    """Check the limits of this process; `locks_memory` is the setting."""
    limit = None
    if sys.platform == "linux":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    return [
        check_priority(why_no_priority(), limit),
        check_memory(why_memory_cannot_be_locked(), is_asked_for=locks_memory),
    ]
