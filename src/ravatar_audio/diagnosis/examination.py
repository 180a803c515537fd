"""All of it: settings, platform, sound system, microphone and machine, in the order in which they must work."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import trio

from ravatar_audio.api.http import Platform
from ravatar_audio.diagnosis.finding import Finding, failed
from ravatar_audio.diagnosis.platform import PlatformChecks
from ravatar_audio.diagnosis.sound import microphone_checks
from ravatar_audio.errors import RavatarError, SettingsError
from ravatar_audio.session.machine import stable_user_id
from ravatar_audio.settings import Settings
from ravatar_audio.worlds import check_world

LISTEN_S = (1.0, 3_600.0)


async def diagnose(
    settings: Settings,
    *,
    platform: bool = True,
    slot: bool = False,
    microphone: bool = True,
    listen_s: float = 2.0,
    on_finding: Callable[[Finding], object] | None = None,
) -> tuple[Finding, ...]:
    """Examine everything that must work, and return what was found, in the order in which it must.

    What is wrong is a Finding with the status "error" or "warning" and advice; it is not raised, and what depends on an
    error is "skipped". `platform`: the network and the platform, with whatever these settings' connection needs;
    `slot`: take a live slot besides, give it back, and look at its streaming page. `microphone`: the sound system, the
    device, and `listen_s` seconds of its sound (1 to 3,600; the longer, the better its clock is known), then limits of
    this process and, on a Raspberry Pi, its power. It opens the device: a hardware one must not be in use.

    Takes `listen_s` and a few seconds; each wait for a network or a server has its limit, and a sound library that
    hangs is left behind in its thread. `on_finding` is called with each finding as it is made. Cancelled, it gives back
    what it has taken. Raises SettingsError for a `listen_s` out of its range.
    """
    check_world("trio", "diagnose")
    if not LISTEN_S[0] <= listen_s <= LISTEN_S[1]:
        raise SettingsError(f"listen_s is {listen_s}; it must be {LISTEN_S[0]:g} to {LISTEN_S[1]:g}")
    findings: list[Finding] = []
    async with aclosing(_examine(settings, platform, slot, microphone, listen_s)) as made:
        async for finding in made:
            findings.append(finding)
            if on_finding is not None:
                on_finding(finding)
    return tuple(findings)


async def _examine(
    settings: Settings, platform: bool, slot: bool, microphone: bool, listen_s: float
) -> AsyncGenerator[Finding]:
    """Every finding, as it is made."""
    try:
        user_id = await trio.to_thread.run_sync(stable_user_id, settings)
    except RavatarError as error:
        yield failed("settings", error)
        return
    yield Finding("settings", "ok", f"{settings.api_url}, user {user_id}, project {settings.project_id or '(none)'}")
    if platform:
        async with Platform(settings, user_id) as opened:
            async for finding in PlatformChecks(opened, with_slot=slot).run():
                yield finding
    if microphone:
        async for finding in microphone_checks(settings, listen_s=listen_s):
            yield finding
