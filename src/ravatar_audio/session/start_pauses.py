"""Pauses of a program that a service manager starts again and again: they outlive it, and grow with each refusal."""

import contextlib
import json
import os
import random
import time
from typing import Any, Final

import trio

from ravatar_audio.errors import GatewayTimeoutError, PlatformError, RavatarError, SessionExpiredError, StreamError
from ravatar_audio.observe.log import Log
from ravatar_audio.session.disk import replace
from ravatar_audio.settings import Settings

LONGEST_S: Final = 300.0
"""Longest pause between two starts; a service that is refused for a whole day asks some 300 to 600 times."""
FORGOTTEN_AFTER_S: Final = 3_600.0
"""Time without a start after which the next one begins at once."""


class StartPauses:
    """What the state folder keeps of starts that the platform has refused: how many in a row, and until when to wait.

    The pause doubles from 1 s to 5 minutes, drawn from its upper half; `Retry-After` counts, up to the same limit.
    Nothing is kept, and nothing waited for, where there is no folder that can be written to.
    """

    def __init__(self, settings: Settings, *, is_on: bool = True) -> None:
        """`is_on`: False where somebody watches, who shall not wait."""
        self._settings = settings
        self._is_on = is_on
        self._has_begun = False

    async def wait(self) -> None:
        """Wait for as long as the last failure of this program asks for."""
        kept = self._read()
        pause_s = min(LONGEST_S, max(0.0, kept.get("until_s", 0.0) - time.time()))
        if pause_s > 0:
            Log().warning(
                "the platform has refused the last %d starts (%s): the next one is in %.0f s",
                *(kept["failures"], kept["code"], pause_s),
            )
            await trio.sleep(pause_s)

    def note_begun(self) -> None:
        """Note that the session has begun: the next refusal is the first again."""
        if not self._has_begun:
            self._has_begun = True
            with contextlib.suppress(OSError, RavatarError):
                (self._settings.state_path / "refused").unlink(missing_ok=True)

    def note_failure(self, error: RavatarError) -> None:
        """Note that the program ends with this; what the platform has not said is no reason to wait, nor what ended a
        session.
        """
        if not self._is_on or not isinstance(error, PlatformError | GatewayTimeoutError):
            return
        if self._has_begun and isinstance(error, SessionExpiredError | StreamError):
            return
        failures = self._read().get("failures", 0) + 1
        limit_s = min(LONGEST_S, 2.0 ** min(failures - 1, 20))
        asked_s = error.details.get("retry_after_s")
        pause_s = max(random.uniform(limit_s / 2, limit_s), asked_s if isinstance(asked_s, float) else 0.0)  # noqa: S311
        fields = {
            "api_url": self._settings.api_url,
            "failures": failures,
            "until_s": time.time() + min(pause_s, LONGEST_S),
            "code": error.code,
        }
        with contextlib.suppress(OSError, RavatarError):
            os.close(replace(self._settings.state_path / "refused", json.dumps(fields).encode()))

    def _read(self) -> dict[str, Any]:
        """What is kept; empty where it is of another address, old, or damaged."""
        if not self._is_on:
            return {}
        try:
            kept = json.loads((self._settings.state_path / "refused").read_bytes())
            is_old = time.time() - float(kept["until_s"]) > FORGOTTEN_AFTER_S
            is_usable = kept["api_url"] == self._settings.api_url and isinstance(kept["failures"], int)
            return kept if is_usable and isinstance(kept["code"], str) and not is_old else {}
        except (OSError, RavatarError, ValueError, KeyError, TypeError, RecursionError):
            return {}
