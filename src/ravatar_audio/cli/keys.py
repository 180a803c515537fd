"""A terminal's bytes as keys, and a key as a button that is held. Pure.

Terminals send a key's letter when it goes down and again while it is held, and nothing when it is let go. Those with
the kitty keyboard protocol (https://sw.kovidgoyal.net/kitty/keyboard-protocol/) report all three, when asked to.
"""

import math
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

ASK: Final = b"\x1b[?u"
"""Question that terminals with the protocol answer, and others ignore."""
BEGIN: Final = b"\x1b[>11u"
"""Escape codes that are not ambiguous (1), with press, repeat and release (2), for all keys, letters too (8)."""
END: Final = b"\x1b[<u"

FIRST_REPEAT_S: Final = 0.75
"""Longest usual wait for a held key's first repeat: 0.66 s under X, 0.25 to 0.6 s elsewhere."""
_GAPS_S: Final = (0.12, 0.4)
_UNKNOWN_INTERVAL_S: Final = 0.1
"""Interval of repeats where it is not known: the Linux console's; others are quicker."""

_SEQUENCE = re.compile(r"\x1b\[([0-9:;<=>?]*)[ -/]*([@-~])|\x1bO.", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b\[[0-9:;<=>?]*[ -/]*\Z|\x1bO\Z")
_CTRL = 4


class Kind(Enum):
    """What a key does."""

    DOWN = auto()
    """It was pressed, or is held: a terminal may say the same for both."""
    UP = auto()
    ANSWER = auto()
    """No key: the terminal says that it reports releases when asked to."""


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that a terminal said: `name` is the letter, "escape" or "ctrl-c"."""

    name: str
    kind: Kind = Kind.DOWN


class KeyReader:
    """Bytes in, keys out; whatever is no key of interest (arrows, answers to others' questions) is left out."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, data: bytes) -> list[Key]:
        """Return the keys in these bytes; a sequence may come in pieces."""
        text = self._rest + data.decode("utf-8", "ignore")
        self._rest = ""
        keys: list[Key] = []
        at = 0
        while at < len(text):
            if text[at] != "\x1b":
                keys.append(Key("ctrl-c" if text[at] == "\x03" else text[at]))
                at += 1
            elif match := _SEQUENCE.match(text, at):
                keys += _sequence(match.group(1) or "", match.group(2) or "")
                at = match.end()
            elif _UNFINISHED.match(text, at):
                self._rest = text[at : at + 64]
                break
            else:
                keys.append(Key("escape"))  # alone: terminals send a sequence in one piece
                at += 1
        return keys


def _sequence(parameters: str, final: str) -> list[Key]:
    if final != "u":
        return []
    if parameters.startswith("?"):
        return [Key("", Kind.ANSWER)]
    fields = [field.split(":") for field in parameters.split(";")]
    try:
        code = int(fields[0][0])
        modifiers = int(fields[1][0] or 1) - 1 if len(fields) > 1 else 0
        event = int(fields[1][1]) if len(fields) > 1 and len(fields[1]) > 1 else 1
        name = {27: "escape"}.get(code) or chr(code)
    except (ValueError, OverflowError):
        return []
    return [Key(f"ctrl-{name}" if modifiers & _CTRL else name, Kind.UP if event == 3 else Kind.DOWN)]


class HeldKey:
    """A key as a button. Without `tells_release` it counts as let go when its repeats have ceased.

    A key that never repeats may have been a tap, or held for less than the wait for the first repeat: then it counts
    as held for that long, as a word that is cut off is worse than half a second of room.
    """

    def __init__(self) -> None:
        self.tells_release: bool = False
        self.is_down: bool = False
        self._since_s = self._last_s = 0.0
        self._repeats = 0
        self._interval_s = _UNKNOWN_INTERVAL_S

    def down(self, now_s: float) -> bool:
        """Note that the terminal says it is down. Return True when it was not before: a press."""
        if not self.is_down:
            self.is_down, self._since_s, self._last_s = True, now_s, now_s
            self._repeats, self._interval_s = 0, _UNKNOWN_INTERVAL_S
            return True
        self._repeats += 1
        if self._repeats > 1:  # the first one comes later than all others
            self._interval_s += (now_s - self._last_s - self._interval_s) / 4
        self._last_s = now_s
        return False

    def up(self) -> bool:
        """Note that the terminal says it was let go. Return True when it was down: a release."""
        was_down, self.is_down = self.is_down, False
        return was_down

    @property
    def deadline_s(self) -> float:
        """When it counts as let go, if nothing more is heard of it; inf when that is not a question."""
        if not self.is_down or self.tells_release:
            return math.inf
        if not self._repeats:
            return self._since_s + FIRST_REPEAT_S
        low_s, high_s = _GAPS_S
        return self._last_s + min(high_s, max(low_s, 3 * self._interval_s))

    def give_up(self) -> float:
        """Take it for up, as the deadline has passed. Return since when, as far as can be known."""
        self.is_down = False
        return self._last_s + self._interval_s if self._repeats else self._since_s + FIRST_REPEAT_S
