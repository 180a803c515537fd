"""When each frame of a usual pipeline passed each stage. All times are `time.monotonic()`."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """One message's times, in order."""

    came_s: float
    """The callback began with the block that completes the frame."""
    awake_s: float
    """The task had that block."""
    framed_s: float
    """Mixed, converted and cut."""
    encoded_s: float
    """The text was there."""
    written_s: float
    """The library had taken the message."""


OnSent = Callable[[Passage], None]


def ignore(passage: Passage) -> None:
    """Nobody wants to know."""
