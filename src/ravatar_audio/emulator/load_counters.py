"""What the processes of an emulator for load count together: memory that they share, without a lock.

Each process writes its own numbers alone; sums are made by whoever asks. A live session is one byte, which the process
that begins it and the one that ends it write, one after the other.
"""

import mmap
import struct
from typing import Final

NAMES: Final = (
    "tokens", "sockets", "sockets_closed", "lives", "lives_ended", "frames", "checked", "texts", "voices", "replies",
    "violations", "torn",
)  # fmt: skip
_AT: Final = {name: 8 * number for number, name in enumerate(NAMES)}
_WIDTH: Final = 8 * len(NAMES)
_COUNT: Final = struct.Struct("=Q")
LIVES_MAX: Final = 1 << 20
_ACTIVE, _ENDED = 1, 2


class LoadCounters:
    """Made before the processes are; each then has its own, by `of_process`."""

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, processes * _WIDTH + LIVES_MAX)
        self._processes, self._number = processes, 0
        self._lives_at = processes * _WIDTH

    def of_process(self, number: int) -> "LoadCounters":
        """Count as this process, from now on; called in it."""
        self._number = number
        return self

    def add(self, name: str, by: int = 1) -> None:
        """Count something that this process has done."""
        at = self._number * _WIDTH + _AT[name]
        _COUNT.pack_into(self._memory, at, _COUNT.unpack_from(self._memory, at)[0] + by)

    def total(self, name: str) -> int:
        """Return what all of them have counted."""
        return sum(
            int(_COUNT.unpack_from(self._memory, number * _WIDTH + _AT[name])[0]) for number in range(self._processes)
        )

    @property
    def active(self) -> int:
        """How many live sessions there are now."""
        return self.total("lives") - self.total("lives_ended")

    def start_live(self, slots: int) -> int | None:
        """Begin a live session and return its number; None when all slots are taken, or a million were given."""
        mine = int(_COUNT.unpack_from(self._memory, self._number * _WIDTH + _AT["lives"])[0])
        number = mine * self._processes + self._number
        if self.active >= slots or number >= LIVES_MAX:
            return None
        self._memory[self._lives_at + number] = _ACTIVE
        self.add("lives")
        return number

    def is_active(self, number: int) -> bool:
        """Return whether this live session has begun and has not ended."""
        return number < LIVES_MAX and self._memory[self._lives_at + number] == _ACTIVE

    def end_live(self, number: int) -> None:
        """End it; again does nothing."""
        if self.is_active(number):
            self._memory[self._lives_at + number] = _ENDED
            self.add("lives_ended")

    def as_dict(self) -> dict[str, int]:
        """Return all sums."""
        return {name: self.total(name) for name in NAMES} | {"active": self.active}
