"""Whether this user may open the microphones' device files. The kernel's nodes, their group, and ours."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ravatar_audio.capture.devices.cards import list_capture_devices


@dataclass(frozen=True, slots=True)
class Access:
    """What stands between this user and the capture devices under /dev/snd."""

    nodes: tuple[str, ...]
    """The capture devices' files: "pcmC1D0c", ..."""
    forbidden: tuple[str, ...]
    """Those that this user may not open."""
    group: str
    """That the first of the forbidden ones, or else of all, belongs to; "" without any."""
    user: str
    groups: tuple[str, ...]
    """This process's."""
    missing: tuple[str, ...] = ()
    """Files of the kernel's capture devices that are not there, as in a container that was not given them."""

    @property
    def advice(self) -> str:
        """What to do about forbidden nodes."""
        return (
            f"Let {self.user} into the group {self.group!r}: sudo usermod -aG {self.group} {self.user}, "
            f"then log in again; a systemd service needs SupplementaryGroups={self.group}."
        )


def look_at_access(root: Path = Path("/"), may_open: Callable[[Path], bool] = lambda node: _may_open(node)) -> Access:
    """Find out who may open the devices' files. `root` and `may_open` are for tests, which run as root."""
    nodes = sorted((root / "dev/snd").glob("pcmC*c"))
    there = {node.name for node in nodes}
    forbidden = [node for node in nodes if not may_open(node)]
    first = next(iter(forbidden or nodes), None)
    return Access(
        nodes=tuple(node.name for node in nodes),
        forbidden=tuple(node.name for node in forbidden),
        group=_group_name(first.stat().st_gid) if first else "",
        user=user_name(os.geteuid()),
        groups=tuple(sorted(_group_name(gid) for gid in {*os.getgroups(), os.getegid()})),
        missing=tuple(device.node for device in list_capture_devices(root) if device.node not in there),
    )


def _may_open(node: Path) -> bool:
    return os.access(node, os.R_OK | os.W_OK)


def _group_name(gid: int) -> str:
    import grp  # not on Windows

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def user_name(user_id: int) -> str:
    """Return the user's name; the number itself where it has none."""
    import pwd  # not on Windows

    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:  # as with systemd's DynamicUser without nss
        return str(user_id)
