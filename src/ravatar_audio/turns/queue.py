"""Changes that wait for their sample: given by their times, in effect at their positions."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import RATE_HZ
from ravatar_audio.turns.events import TurnMode
from ravatar_audio.turns.talk_key import Change

QUEUED_MAX = 64
"""Most controls that wait for sound. A person makes a few a second; where no frame comes they would gather for ever."""

_JUMP_SAMPLES = RATE_HZ // 20
"""Least jump of capture times, which jitter by a device block: when they jump by more, sound is missing that nobody
counted."""

_SETS = {
    Change.PRESS: "button",
    Change.RELEASE: "button",
    Change.MUTE: "mute",
    Change.UNMUTE: "mute",
    Change.MODE: "mode",
    Change.AVATAR_SPEAKS: "avatar",
    Change.AVATAR_ENDS: "avatar",
    Change.CANCEL: "turn",
}
"""Which state a control sets: of two that set the same, the later counts."""


@dataclass(slots=True)
class QueuedChange:
    """A change and where it takes effect."""

    change: Change
    position: int | None
    """None before the first frame: not known yet."""
    at_s: float | None = None
    """When it happened; None: it comes from the sound itself, and has its position."""
    mode: TurnMode | None = None


class ChangeQueue:
    """Sorted by position; controls stay in the order in which they came, whatever the clock says.

    Holds at most 64 controls: of more, the older half is reduced to what it comes to, one control for each state that
    it sets. A turn that begins and ends among those is not taken.
    """

    def __init__(self) -> None:
        self._items: list[QueuedChange] = []

    def __iter__(self) -> Iterator[QueuedChange]:
        return iter(self._items)

    @property
    def first(self) -> QueuedChange | None:
        """The next to take effect."""
        return self._items[0] if self._items else None

    def pop(self) -> QueuedChange:
        """Take the first out."""
        return self._items.pop(0)

    def last_mode(self, otherwise: TurnMode) -> TurnMode:
        """Return the mode when all of these have taken effect."""
        return next((item.mode for item in reversed(self._items) if item.mode is not None), otherwise)

    def last_mute(self, otherwise: bool) -> bool:
        """Return whether it is muted when all of these have taken effect."""
        changes = {Change.MUTE: True, Change.UNMUTE: False}
        return next((changes[item.change] for item in reversed(self._items) if item.change in changes), otherwise)

    def add(self, change: Change, position: int | None, at_s: float, mode: TurnMode | None = None) -> None:
        """Add a control, at a time; `position` None: there has been no frame yet by which to know where that is."""
        earlier = [item.position for item in self._items if item.at_s is not None and item.position is not None]
        if position is not None and earlier:
            position = max(position, earlier[-1])
        self._insert(QueuedChange(change, position, at_s, mode))
        if sum(item.at_s is not None for item in self._items) > QUEUED_MAX:
            self._reduce()

    def insert(self, change: Change, position: int) -> None:
        """Insert a change that comes from the sound."""
        self._insert(QueuedChange(change, position))

    def place(self, position_of: Callable[[float], int], earliest: int) -> None:
        """Settle where controls that have a time take effect: once, unless the capture's clock has jumped."""
        newest = 0
        for item in self._items:
            if item.at_s is not None:
                here = position_of(item.at_s)
                if item.position is None or abs(here - item.position) > _JUMP_SAMPLES:
                    item.position = max(here, earliest)
                newest = item.position = max(newest, item.position)
        self._items.sort(key=lambda item: item.position or 0)

    def _insert(self, item: QueuedChange) -> None:
        index = len(self._items)
        if item.position is not None:
            while index and (before := self._items[index - 1].position) is not None and before > item.position:
                index -= 1
        self._items.insert(index, item)

    def _reduce(self) -> None:
        controls = [item for item in self._items if item.at_s is not None]
        older = controls[: len(controls) // 2]
        last = {_SETS[item.change]: item for item in older}
        gone = {id(item) for item in older} - {id(item) for item in last.values()}
        self._items = [item for item in self._items if id(item) not in gone]


def checked_time_s(at_s: float) -> float:
    """Check a control's time.

    Raises SettingsError for what is none, where the control is called and not where it acts.
    """
    if not isinstance(at_s, int | float) or not math.isfinite(at_s):
        raise SettingsError(f"at_s is {at_s!r}; it must be a time in seconds, as of time.monotonic()")
    return at_s
