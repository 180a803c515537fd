"""Keeping the process in memory, so that the audio thread never waits for a disk."""

import os
import re
import sys
from pathlib import Path

from ravatar_audio._core import lib

_CAP_IPC_LOCK = 1 << 14  # linux/capability.h


def why_memory_cannot_be_locked(status: Path = Path("/proc/self/status")) -> str | None:
    """Return what stands in the way of lock_memory(), or None when nothing does."""
    if sys.platform != "linux":
        return f"memory cannot be locked on {sys.platform}"
    import resource

    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    if found and int(found[1], 16) & _CAP_IPC_LOCK:
        return None
    # Less than no limit does not do: whatever is allocated beyond it would fail, in the middle of the work.
    return f"the limit of locked memory (RLIMIT_MEMLOCK) is {limit} bytes; set LimitMEMLOCK=infinity for the service"


def lock_memory() -> str | None:
    """Lock all memory of this process, also what comes later, as it is used. Why that was not possible, or None."""
    if why := why_memory_cannot_be_locked():
        return why
    code = lib.rva_host_lock_memory()
    return f"memory cannot be locked: {os.strerror(-code)}" if code < 0 else None
