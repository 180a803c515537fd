"""The times that turns are taken by."""

from dataclasses import InitVar, dataclass, fields
from typing import Any, Self

from ravatar_audio.deprecation import warn_renamed
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import RATE_HZ
from ravatar_audio.settings import Settings
from ravatar_audio.turns.events import TurnMode

_NOT_GIVEN: Any = "see max_turn_ms"  # known by its identity
_SETTINGS = {item.name: item for item in fields(Settings)}


def _default(name: str) -> Any:
    return _SETTINGS[name].default


@dataclass(frozen=True, slots=True)
class Timing:
    """What a mode's key does, in samples: see TurnMachine."""

    pre_roll_samples: int
    confirm_samples: int
    """A key that is let go earlier starts nothing."""
    hold_samples: int
    """From the key's release to the turn's end, unless it is pressed again."""
    cap_samples: int | None
    restarts: bool
    """After the cap a key that is still down starts the next turn, without a gap."""
    emits_taps: bool
    """A key that was not down long enough is worth an event: a button, not a noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRules:
    """Pre-roll, tail, hangover, caps; defaults and ranges are those of Settings, whose names these are.

    Raises SettingsError for a value out of its range. Hangover, the cap of voice activity and the shortest press are
    the platform's own: 900 ms, 15 s, 200 ms.
    """

    pre_roll_ms: int = _default("pre_roll_ms")
    """Sound from before the button or the voice, 0 to 5,000."""
    tail_ms: int = _default("tail_ms")
    """Sound after the button was let go, 0 to 5,000; a new press in it goes on with the turn."""
    hangover_ms: int = _default("hangover_ms")
    """Silence that ends a turn of voice activity, 50 to 10,000."""
    shortest_press_ms: int = _default("shortest_press_ms")
    """A shorter press sends nothing, 0 to 5,000."""
    onset_ms: int = _default("onset_ms")
    """Speech that must be heard without a break before a turn begins, 0 to 1,000."""
    max_turn_ms: int | None = _default("max_turn_ms")
    """Longest turn of voice activity, 1,000 to 600,000; the next follows without a gap. None: no limit."""
    press_cap_ms: int | None = _default("press_cap_ms")
    """Longest turn of push-to-talk, 1,000 to 3,600,000; against a button that is stuck. None: no limit."""
    echo_ms: int = _default("echo_ms")
    """How long the avatar's voice hangs in the room after it has ended, 0 to 5,000; still gated."""
    cap_ms: InitVar[Any] = _NOT_GIVEN
    """The old name of max_turn_ms."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the times that the settings say."""
        return cls(**{item.name: getattr(settings, item.name) for item in fields(cls)})

    def __post_init__(self, cap_ms: Any) -> None:
        if cap_ms is not _NOT_GIVEN:
            warn_renamed("argument", "cap_ms", "max_turn_ms", stacklevel=3)
            object.__setattr__(self, "max_turn_ms", cap_ms)
        for item in fields(self):
            value, rules = getattr(self, item.name), _SETTINGS[item.name].metadata
            low, high = rules["low"], rules["high"]
            if value is None and item.name in ("max_turn_ms", "press_cap_ms"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise SettingsError(f"{item.name} is {value!r}; it must be a whole number of ms, {low} to {high}")
        for cap, confirm in (("max_turn_ms", self.onset_ms), ("press_cap_ms", self.shortest_press_ms)):
            value = getattr(self, cap)
            if value is not None and value <= self.pre_roll_ms + confirm:
                raise SettingsError(
                    f"{cap} is {value}; it must be more than the {self.pre_roll_ms + confirm} ms that begin"
                )

    def timing(self, mode: TurnMode) -> Timing:
        """Return the key's timing in a mode."""
        pre_roll = _samples(self.pre_roll_ms)
        match mode:
            case TurnMode.OPEN:
                return Timing(pre_roll, 0, 0, None, restarts=False, emits_taps=False)
            case TurnMode.PTT:
                confirm, hold, cap = self.shortest_press_ms, self.tail_ms, self.press_cap_ms
                restarts = False
            case TurnMode.VAD:
                confirm, hold, cap = self.onset_ms, self.hangover_ms, self.max_turn_ms
                restarts = True
        return Timing(
            pre_roll,
            _samples(confirm),
            _samples(hold),
            None if cap is None else _samples(cap),
            restarts=restarts,
            emits_taps=not restarts,
        )

    @property
    def echo_samples(self) -> int:
        """echo_ms at 16 kHz."""
        return _samples(self.echo_ms)


def _samples(milliseconds: int) -> int:
    return milliseconds * RATE_HZ // 1_000
