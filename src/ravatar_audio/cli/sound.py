"""What the doctor looks at on the sound system's side: who may, which server, which devices, who has the one we want.

Each check is pure but for the reading of what it is given.
"""

import sys
from collections.abc import AsyncIterator, Sequence

import trio

from ravatar_audio.capture import Device, choose_device
from ravatar_audio.capture.access import Access, look_at_access
from ravatar_audio.capture.causes import true_cause
from ravatar_audio.capture.finding import find_devices
from ravatar_audio.capture.holders import Holder, holders_of
from ravatar_audio.capture.servers import PROGRAMS, Servers, Source, ask_default_source, look_at_servers
from ravatar_audio.cli.checks import Finding
from ravatar_audio.cli.listening import judge, listen
from ravatar_audio.cli.machine import check_limits, check_power
from ravatar_audio.errors import DeviceNotFoundError, MediaError, RavatarError
from ravatar_audio.settings import Settings

START_ADVICE = "Start it: systemctl --user start pipewire pipewire-pulse, or pulseaudio --start."


async def microphone_checks(settings: Settings, *, listen_s: float) -> AsyncIterator[Finding]:
    """Each finding as it is made; what depends on one that failed is skipped."""
    if sys.platform == "linux":
        servers = await trio.to_thread.run_sync(look_at_servers)
        source = await trio.to_thread.run_sync(ask_default_source) if servers.answering else None
        yield check_access(look_at_access(), servers)
        yield check_servers(servers, source)
    async for finding in device_checks(settings, listen_s):
        yield finding
    for finding in check_limits(locks_memory=settings.lock_memory):
        yield finding
    if power := await trio.to_thread.run_sync(check_power):
        yield power


async def device_checks(settings: Settings, listen_s: float) -> AsyncIterator[Finding]:
    """The devices, the one that the settings choose, and what it sends."""
    try:
        devices, missing = await trio.to_thread.run_sync(find_devices)
        if not devices:
            nothing = DeviceNotFoundError("no microphone was found")
            raise await trio.to_thread.run_sync(true_cause, nothing, settings.device)
        found = Finding("devices", "fine", "\n".join(map(in_a_line, devices)))
        if missing is not None:
            said = f"{found.text}\nonly hardware, no sound server: {missing.message}"
            found = Finding("devices", "warning", said, missing.advice)
    except MediaError as error:
        found = failed("devices", error)
    yield found
    if found.state == "problem":
        yield Finding("microphone", "skipped", "needs devices")
        return
    try:
        device = choose_device(devices, settings.device)
    except MediaError as error:
        yield failed("microphone", await trio.to_thread.run_sync(true_cause, error, settings.device))
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


def failed(name: str, error: RavatarError) -> Finding:
    """An error of the tree as a finding; the code of a media error goes first, as the platform's users know it."""
    code = f"{error.code}: " if isinstance(error, MediaError) else ""
    return Finding(name, "problem", code + error.message, error.advice, error.exit_code)


def check_access(access: Access, servers: Servers) -> Finding:
    """Pure. Without access to the hardware a sound server's devices may still serve."""
    if access.forbidden:
        said = (
            f"{access.user} may not open {', '.join(access.forbidden)} under /dev/snd; group {access.group!r} may, "
            f"and {access.user} is in {', '.join(access.groups)}"
        )
        if servers.answering:
            return Finding("permission", "fine", f"{said}; a sound server answers, and serves")
        return Finding("permission", "problem", f"permission_denied: {said}", access.advice, 3)
    if servers.forbidden and not servers.answering:
        return Finding(
            "permission",
            "problem",
            f"permission_denied: {access.user} may not connect to {servers.forbidden[0].path}",
            "Run this as the user whose sound server it is; in a service, with User= and XDG_RUNTIME_DIR=.",
            3,
        )
    if access.nodes:
        return Finding("permission", "fine", f"{access.user} may open {', '.join(access.nodes)} under /dev/snd")
    return Finding("permission", "fine", "the kernel has no capture device, so there is none to open")


def check_servers(servers: Servers, source: Source | None) -> Finding:
    """Pure. No sound server is no problem: hardware needs none."""
    running = ", ".join(f"{PROGRAMS[name]} (pid {pid})" for name, pid in servers.processes)
    if not servers.answering:
        if running:
            return Finding("sound server", "warning", f"{running} runs, but does not answer this user", START_ADVICE)
        return Finding("sound server", "fine", "none answers; hardware needs none")
    said = " and ".join(f"{server.protocol} at {server.path}" for server in servers.answering) + " answers"
    said += f"; {running}" if running else ""
    if source is None or not source.name:
        return Finding("sound server", "fine", said)
    said += f"; default source {source.name}" + (f", {source.state.lower()}" if source.state else "")
    if source.is_muted:
        return Finding("sound server", "warning", f"{said}, muted", "pactl set-source-mute @DEFAULT_SOURCE@ 0")
    if source.name.endswith(".monitor"):
        return Finding(
            "sound server",
            "warning",
            f"{said}: it hears what the loudspeaker plays, not a microphone",
            "Choose a microphone: pactl set-default-source NAME; 'pactl list short sources' has the names.",
        )
    return Finding("sound server", "fine", said)


def in_a_line(device: Device) -> str:
    """A device with what chooses it and what it can do."""
    offers = device.problem or device.offers
    return f"{'* ' if device.is_default else ''}{device.name} [{device.selector}, {device.backend}]: {offers}"


def check_choice(device: Device, settings: Settings) -> Finding:
    """Pure."""
    asked = "the system's default" if settings.device is None else f"--device {settings.device}"
    why = device.backend_reason
    backend = device.backend
    if settings.backend != "auto":
        backend, why = settings.backend, "as the settings say"
    return Finding("microphone", "fine", f"{asked} is {device.name}; backend {backend}: {why}")


def check_holders(holders: Sequence[Holder]) -> Finding:
    """Pure."""
    if not holders:
        return Finding("in use", "fine", "no other program has it open, as far as this user can see")
    names = ", ".join(map(str, holders))
    return Finding(
        "in use",
        "warning",
        f"{names} {'has' if len(holders) == 1 else 'have'} it open",
        "A hardware device serves one program at a time: close it, or choose the sound server's device.",
    )
