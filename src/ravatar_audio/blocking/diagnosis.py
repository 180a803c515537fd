"""The doctor's examinations for programs of threads."""

from collections.abc import Callable

from ravatar_audio import diagnosis
from ravatar_audio.blocking.waiting import run_once
from ravatar_audio.diagnosis import Finding
from ravatar_audio.settings import Settings


def diagnose(
    settings: Settings,
    *,
    platform: bool = True,
    slot: bool = False,
    microphone: bool = True,
    listen_s: float = 2.0,
    on_finding: Callable[[Finding], None] | None = None,
) -> tuple[Finding, ...]:
    """Examine everything: `ravatar_audio.diagnose` for programs of threads: it returns when all has been examined.

    `on_finding` is called in the library's thread, with each finding as it is made, and must return at once.
    """

    async def examine() -> tuple[Finding, ...]:
        return await diagnosis.diagnose(
            settings,
            platform=platform,
            slot=slot,
            microphone=microphone,
            listen_s=listen_s,
            on_finding=on_finding,
        )

    return run_once("diagnose", examine)
