"""Which programs have a capture device open: what the kernel says, and what can be seen of programs' open files.

/proc/asound/cardN/pcmMc/subS/status has the owner's thread id; /proc/PID/fd has open files, of this user's programs
only unless root asks. `root` is for tests.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ravatar_audio.capture.devices.cards import CaptureDevice, list_capture_devices, read_text


@dataclass(frozen=True, slots=True)
class Holder:
    """A program that has a capture device open."""

    pid: int
    program: str
    """Its name, as ps shows it; empty when it cannot be seen."""

    def __str__(self) -> str:
        return f"{self.program or 'a program'} (pid {self.pid})"


def list_holders(device: CaptureDevice, root: Path = Path("/")) -> list[Holder]:
    """List the programs that hold this device, by pid."""
    pids = {process_of(owner, root) for owner in _owners(device, root)} | _openers(device.node, root)
    return [Holder(pid, read_text(root / f"proc/{pid}/comm")) for pid in sorted(pids)]


def holders_of(pcm: str, root: Path = Path("/")) -> list[Holder]:
    """List the programs that hold the hardware that ALSA calls `pcm`; of all hardware for a name that is not
    hardware's.
    """
    devices: Sequence[CaptureDevice] = list_capture_devices(root)
    devices = [device for device in devices if device.pcm == pcm] or devices
    found = {holder for device in devices for holder in list_holders(device, root)}
    return sorted(found, key=lambda holder: holder.pid)


def _owners(device: CaptureDevice, root: Path) -> set[int]:
    folder = root / f"proc/asound/card{device.card_number}/pcm{device.device_number}c"
    texts = (read_text(status) for status in folder.glob("sub*/status"))
    return {int(found[1]) for text in texts if (found := re.search(r"^owner_pid\s*:\s*(\d+)", text, re.MULTILINE))}


def _openers(node: str, root: Path) -> set[int]:
    found = set()
    for folder in root.glob("proc/[0-9]*/fd"):
        with contextlib.suppress(OSError):  # another user's, or just ended
            if any(str(link.readlink()) == f"/dev/snd/{node}" for link in folder.iterdir()):
                found.add(int(folder.parent.name))
    return found


def process_of(thread_id: int, root: Path) -> int:
    """Return the process that a thread belongs to; the thread's own number when that cannot be seen."""
    found = re.search(r"^Tgid:\s*(\d+)", read_text(root / f"proc/{thread_id}/status"), re.MULTILINE)
    return int(found[1]) if found else thread_id
