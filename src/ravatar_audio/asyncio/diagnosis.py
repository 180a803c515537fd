"""The doctor's examinations for programs on an asyncio loop."""

import asyncio
from collections.abc import Callable

from ravatar_audio import diagnosis
from ravatar_audio.asyncio.waiting import in_loop, run_once
from ravatar_audio.diagnosis import Finding
from ravatar_audio.settings import Settings
from ravatar_audio.worlds import check_world


async def diagnose(
    settings: Settings,
    *,
    platform: bool = True,
    slot: bool = False,
    microphone: bool = True,
    listen_s: float = 2.0,
    on_finding: Callable[[Finding], None] | None = None,
) -> tuple[Finding, ...]:
    """Examine everything: `ravatar_audio.diagnose` for asyncio. `on_finding` is called in the loop, with each finding
    as it is made.
    """
    check_world("asyncio", "diagnose")
    loop = asyncio.get_running_loop()
    pass_on = in_loop(lambda: loop, on_finding)

    async def examine() -> tuple[Finding, ...]:
        return await diagnosis.diagnose(
            settings,
            platform=platform,
            slot=slot,
            microphone=microphone,
            listen_s=listen_s,
            on_finding=pass_on,
        )

    return await run_once("diagnose", examine)
