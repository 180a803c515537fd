"""What an examination says of one thing: a Finding."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from ravatar_audio.errors import MediaError, RavatarError

Status = Literal["ok", "warning", "error", "skipped"]
"""Verdict of an examination: in order; to be looked at; in the way; not examined, as something it needs was not in
order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one thing."""

    name: str
    """The thing, as "permission", "WebSocket", "clock drift"."""
    status: Status
    message: str
    """What was found; it may have several lines."""
    advice: str = ""
    """What to do about a warning or an error; empty where there is nothing to do."""
    exit_code: int = 0
    """Of an error: what a command ends with for it, as each family of errors has its own; else 0."""
    code: str = ""
    """Of an error of this package: its `code`, as "permission_denied"; else empty."""


class FindingError(Exception):
    """A check's own problem, where no error of the tree says it."""

    def __init__(self, message: str, advice: str, *, exit_code: int = 0) -> None:
        """Without an exit code it is a warning."""
        super().__init__(message)
        self.message: str = message
        self.advice: str = advice
        self.exit_code: int = exit_code


def failed(name: str, error: RavatarError) -> Finding:
    """Make a finding of an error of the tree; the code of a media error goes first, as the platform's users know it."""
    code = f"{error.code}: " if isinstance(error, MediaError) else ""
    return Finding(name, "error", code + error.message, error.advice, error.exit_code, error.code)


async def attempt(name: str, check: Callable[[], Awaitable[str]]) -> Finding:
    """Run a check; what it returns is what is in order."""
    try:
        return Finding(name, "ok", await check())
    except RavatarError as error:
        return failed(name, error)
    except FindingError as error:
        return Finding(name, "error" if error.exit_code else "warning", error.message, error.advice, error.exit_code)
