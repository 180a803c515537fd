"""Why a microphone cannot be had: the system's own reason, and what to do about it on this machine, now.

PortAudio says the same for a device that is absent, forbidden or busy, and ALSA the same for a sound server that does
not run and one that may not be reached. The system knows; it is asked. `root` is for tests.
"""

import errno
from pathlib import Path

from ravatar_audio.capture.devices.holders import Holder, holders_of
from ravatar_audio.capture.devices.permissions import look_at_access
from ravatar_audio.capture.servers.status import PROGRAMS, Servers, look_at_servers
from ravatar_audio.capture.streams import alsa
from ravatar_audio.errors import DeviceInUseError, DeviceNotFoundError, MediaError, PermissionDeniedError

_BUGS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError),
    *(NotImplementedError, RecursionError),
)


def is_bug(error: Exception) -> bool:
    """A fault of this program's code, which trying again does not cure; everything else comes from the system."""
    return isinstance(error, _BUGS)


def true_cause(error: MediaError, selector: str | int | None, root: Path = Path("/")) -> MediaError:
    """The system's own reason for a device that PortAudio did not list or could not open; else `error` itself.

    PortAudio's codes stay in the details.
    """
    if not alsa.has_alsa():
        return error
    access = look_at_access(root)
    if access.nodes and access.forbidden == access.nodes:
        return PermissionDeniedError(
            f"the microphones under /dev/snd may not be opened by {access.user}",
            advice=access.advice,
        ).replaced(details=error.details | {"errno": "EACCES"})
    name = "default" if selector in (None, "") else str(selector)
    try:
        alsa.probe(name)
    except MediaError as found:
        # For a name that ALSA does not know either, the first error says more.
        if found.details.get("errno") == "ENOENT":
            return error
        return explained(found.replaced(details=error.details | found.details), name, root)
    if error.details.get("host_code") == -errno.EIO:  # what ALSA's plugin for PulseAudio says of a missing source
        return DeviceNotFoundError(
            f"the sound server that serves {name!r} has no such source now: {error.message}",
            advice="Connect the microphone, or choose another source; 'ravatar-audio devices' lists them.",
        ).replaced(details=error.details)
    return error


def explained(error: MediaError, pcm: str, root: Path = Path("/")) -> MediaError:
    """The error with what this system shows about its cause: who holds the device, which group, which server."""
    if isinstance(error, DeviceInUseError):
        return with_holders(error, holders_of(pcm, root))
    if isinstance(error, PermissionDeniedError) and (access := look_at_access(root)).forbidden:
        return error.replaced(advice=access.advice)
    if error.details.get("errno") == "ECONNREFUSED":
        return of_servers(error, look_at_servers(root))
    return error


def with_holders(error: DeviceInUseError, holders: list[Holder]) -> DeviceInUseError:
    """Who has the device. Pure."""
    if not holders:
        return error
    names = ", ".join(map(str, holders))
    advice = f"Close what records from it: {names}."
    if any(holder.program in PROGRAMS for holder in holders):
        advice = f"The sound server has it: choose the server's device (--device default), or stop the server. {advice}"
    return error.replaced(message=f"{error.message}; it is held by {names}", advice=advice, details={"holders": names})


def of_servers(error: MediaError, servers: Servers) -> MediaError:
    """ALSA's plugin for a sound server was refused: by whom. Pure."""
    if servers.forbidden:
        return PermissionDeniedError(
            f"{error.message}; the sound server's socket {servers.forbidden[0].path} may not be opened by this user",
            advice="Run this as the user whose sound server it is (a service: User= and XDG_RUNTIME_DIR=), or name "
            "the hardware: --device card:ID.",
            errno="EACCES",
        )
    if not servers.answering:
        why, advice = servers.why_none_answers
        return DeviceNotFoundError(f"{error.message}; {why}", advice=advice, errno="ECONNREFUSED")
    return error
