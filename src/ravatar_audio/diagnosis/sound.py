"""The sound system's side: who may, which server, which devices, who has the one we want.

Each check is pure but for the reading of what it is given.
"""

import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial

import trio

from ravatar_audio.capture import Device, choose_device
from ravatar_audio.capture.devices.holders import Holder, holders_of
from ravatar_audio.capture.devices.permissions import Access, look_at_access
from ravatar_audio.capture.devices.privacy import privacy_error
from ravatar_audio.capture.host.blocking_call import call_in_thread
from ravatar_audio.capture.servers.connection import NO_LIBRARY
from ravatar_audio.capture.servers.sources import ServerAnswer, ask_server
from ravatar_audio.capture.servers.status import RESTART_ADVICE, Servers, look_at_servers
from ravatar_audio.capture.streams.device_list import LIST_TIMEOUT_S, find_devices_in_time
from ravatar_audio.capture.streams.open_errors import true_cause
from ravatar_audio.diagnosis.echo import check_echo
from ravatar_audio.diagnosis.finding import Finding, failed
from ravatar_audio.diagnosis.listening import judge, listen
from ravatar_audio.diagnosis.machine import check_limits, check_power
from ravatar_audio.errors import DeviceNotFoundError, MediaError, PermissionDeniedError, RavatarError, RecorderError
from ravatar_audio.printable import one_line
from ravatar_audio.settings import Settings

ASK_TIMEOUT_S = 5.0
"""Longest wait for what may have to ask the sound library."""
HANGING_TIMEOUT_S = 1.0
"""Longest wait where its server is known not to answer."""


async def microphone_checks(settings: Settings, *, listen_s: float) -> AsyncIterator[Finding]:
    """Yield each finding as it is made; what depends on one that failed is skipped."""
    list_timeout_s = LIST_TIMEOUT_S
    if sys.platform == "linux":
        servers = await trio.to_thread.run_sync(look_at_servers)
        answer = ServerAnswer("")
        if servers.answering:
            answer = await trio.to_thread.run_sync(ask_server)
        yield check_access(look_at_access(), servers)
        yield (found := check_servers(servers, answer))
        if echo := check_echo(settings, answer):
            yield echo
        if found.status == "error":  # then the sound library will hang, but the hardware can be listed
            list_timeout_s = HANGING_TIMEOUT_S
    else:
        yield check_privacy(privacy_error())
    async for finding in device_checks(settings, listen_s, list_timeout_s):
        yield finding
    for finding in check_limits(locks_memory=settings.lock_memory):
        yield finding
    if power := await trio.to_thread.run_sync(check_power):
        yield power


async def device_checks(settings: Settings, listen_s: float, list_timeout_s: float) -> AsyncIterator[Finding]:
    """Examine the devices, the one that the settings choose, and what it sends."""
    try:
        devices, missing = await find_devices_in_time(list_timeout_s)
        if not devices:
            raise await cause_of(DeviceNotFoundError("no microphone was found"), settings)
        found = Finding("devices", "ok", "\n".join(one_line(in_a_line(device, devices)) for device in devices))
        if missing is not None:
            said = f"{found.message}\nonly hardware, no sound server: {missing.message}"
            found = Finding("devices", "warning", said, missing.advice)
    except MediaError as error:
        found = failed("devices", error)
    yield found
    if found.status == "error":
        yield Finding("microphone", "skipped", "needs devices")
        return
    try:
        device = choose_device(devices, settings.device)
    except MediaError as error:
        yield failed("microphone", await cause_of(error, settings))
        yield Finding("capture", "skipped", "needs microphone")
        return
    yield check_choice(device, settings)
    if device.is_hardware:
        yield check_holders(await trio.to_thread.run_sync(holders_of, device.pcm))
    try:
        for finding in judge(await listen(settings, listen_s)):
            yield finding
    except RavatarError as error:
        yield failed("capture", error)


async def cause_of(error: MediaError, settings: Settings) -> MediaError:
    """Return what the system says; the error itself where it does not answer."""
    with contextlib.suppress(trio.TooSlowError):
        ask = partial(true_cause, error, settings.device)
        return await call_in_thread(ask, timeout_s=ASK_TIMEOUT_S, undo=lambda _: None)
    return error


def check_access(access: Access, servers: Servers) -> Finding:
    """Check who may open the hardware.

    Pure. Without access to the hardware a sound server's devices may still serve.
    """
    if access.forbidden:
        said = (
            f"{access.user} may not open {', '.join(access.forbidden)} under /dev/snd; group {access.group!r} may, "
            f"and {access.user} is in {', '.join(access.groups)}"
        )
        if servers.answering:
            return Finding("permission", "ok", f"{said}; a sound server answers, and serves")
        return Finding("permission", "error", f"permission_denied: {said}", access.advice, 3)
    if servers.forbidden and not servers.answering:
        return Finding(
            "permission",
            "error",
            f"permission_denied: {access.user} may not connect to {servers.forbidden[0].path}",
            "Run this as the user whose sound server it is; in a service, with User= and XDG_RUNTIME_DIR=.",
            3,
        )
    if access.missing:
        return Finding(
            "permission",
            "warning",
            f"the kernel has {', '.join(access.missing)}, which /dev/snd has not, as in a container",
            "Give the container the devices: docker run --device /dev/snd --group-add audio.",
        )
    if access.nodes:
        return Finding("permission", "ok", f"{access.user} may open {', '.join(access.nodes)} under /dev/snd")
    return Finding("permission", "ok", "the kernel has no capture device, so there is none to open")


def check_privacy(refusal: PermissionDeniedError | None) -> Finding:
    """Check the privacy settings.

    Pure. On systems other than Linux the user allows the microphone, program by program.
    """
    if refusal is not None:
        return failed("permission", refusal)
    return Finding("permission", "ok", "the privacy settings do not refuse the microphone, as far as they say")


def check_servers(servers: Servers, answer: ServerAnswer) -> Finding:
    """Check the sound servers. Pure. No sound server is no problem: hardware needs none."""
    if not servers.answering:
        if servers.processes:
            return Finding("sound server", "warning", *servers.why_none_answers)
        return Finding("sound server", "ok", "none answers; hardware needs none")
    said = " and ".join(f"{server.protocol} at {server.path}" for server in servers.answering)
    said += " answers" if len(servers.answering) == 1 else " answer"
    here = ("", servers.runtime_dir)  # and not in another session
    if own := [str(process) for process in servers.processes if not process.user and process.runtime_dir in here]:
        said += f"; {', '.join(own)}"
    if answer.failure:
        return _silent_server(servers, said, answer.failure)
    source = answer.default
    if source is None and all(other.is_monitor for other in answer.sources):
        return Finding(
            "sound server",
            "warning",
            f"{said}; it has no source, so no microphone",
            "Connect the microphone; 'ravatar-audio devices' lists sources, 'arecord -l' what the kernel has.",
        )
    if source is None:
        return Finding("sound server", "warning", f"{said}; it has no default source", "Choose one: --device NAME.")
    said += f"; default source {source.name}" + (", suspended" if source.is_suspended else "")
    if source.is_muted:
        return Finding(
            "sound server", "warning", f"{said}, muted", "Unmute it: pactl set-source-mute @DEFAULT_SOURCE@ 0."
        )
    if source.is_monitor:
        return Finding(
            "sound server",
            "warning",
            f"{said}: it hears what the loudspeaker plays, not a microphone",
            "Choose a microphone: pactl set-default-source NAME; 'ravatar-audio devices' has the names.",
        )
    return Finding("sound server", "ok", said)


def _silent_server(servers: Servers, said: str, failure: str) -> Finding:
    """A server that takes connections, and says nothing."""
    if not any(server.protocol == "PulseAudio" for server in servers.answering):
        return Finding("sound server", "ok", said)
    if NO_LIBRARY in failure:
        return Finding(
            "sound server",
            "warning",
            f"{said}; {failure}, so it cannot be spoken to but by PortAudio",
            "Install it: sudo apt-get install libpulse0.",
        )
    places = " and ".join(str(server.path) for server in servers.answering)
    return Finding(
        "sound server",
        "error",
        f"{RecorderError.code}: the sound server at {places} takes connections, and that is all: {failure}",
        RESTART_ADVICE,
        RecorderError.exit_code,
    )


def in_a_line(device: Device, devices: Sequence[Device]) -> str:
    """Return a device with what chooses it and what it can do."""
    chosen_by = f"[{device.selector_among(devices)}, {device.backend}]"
    return f"{'* ' if device.is_default else ''}{device.name} {chosen_by}: {device.problem or device.offers}"


def check_choice(device: Device, settings: Settings) -> Finding:
    """Report the choice of a device. Pure."""
    asked = "the system's default" if settings.device is None else f"--device {settings.device}"
    why = device.backend_reason
    backend = device.backend
    if settings.backend != "auto":
        backend, why = settings.backend, "as the settings say"
    return Finding("microphone", "ok", f"{asked} is {device.name}; backend {backend}: {why}")


def check_holders(holders: Sequence[Holder]) -> Finding:
    """Check who has the device open. Pure."""
    if not holders:
        return Finding("in use", "ok", "no other program has it open, as far as this user can see")
    names = ", ".join(map(str, holders))
    return Finding(
        "in use",
        "warning",
        f"{names} {'has' if len(holders) == 1 else 'have'} it open",
        "A hardware device serves one program at a time: close it, or choose the sound server's device.",
    )
