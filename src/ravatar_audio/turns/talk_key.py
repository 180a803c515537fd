"""What presses the machine's key: button, voice, mute, mode, and the avatar's own voice."""

import copy
from dataclasses import dataclass
from enum import Enum, auto

from ravatar_audio.turns.events import Reason, TurnEvent, TurnEventKind, TurnMode
from ravatar_audio.turns.machine import TurnMachine
from ravatar_audio.turns.rules import TurnRules


class Change(Enum):
    """What can change from one sample to the next."""

    BEGIN = auto()
    """The first sample of a capture."""
    PRESS = auto()
    RELEASE = auto()
    SPEECH = auto()
    NO_SPEECH = auto()
    LOUD = auto()
    """The barge-in detector hears somebody."""
    NOT_LOUD = auto()
    MUTE = auto()
    UNMUTE = auto()
    MODE = auto()
    AVATAR_SPEAKS = auto()
    AVATAR_ENDS = auto()
    """The avatar's last word; its echo is gated a little longer."""
    UNGATE = auto()
    CANCEL = auto()


@dataclass(slots=True)
class TalkKey:
    """The state of everything that presses the key, and the machine whose key it is."""

    rules: TurnRules
    mode: TurnMode
    machine: TurnMachine
    is_pressed: bool = False
    is_speech: bool = False
    is_muted: bool = False
    is_gated: bool = False
    """The avatar speaks, or its echo hangs in the room."""
    gated_at: int = 0
    """When it began to; a voice from before does not barge in."""
    ungates_at: int | None = None

    def copy(self) -> "TalkKey":
        """Copy the state, to look ahead with."""
        other = copy.copy(self)
        other.machine = self.machine.copy()
        return other

    def apply(self, change: Change, at: int, mode: TurnMode | None = None) -> list[TurnEvent]:
        """Make a change at a position, `mode` being the new one for Change.MODE."""
        events = self.advance(at)
        match change:
            case Change.PRESS:
                self.is_pressed: bool = True
            case Change.RELEASE:
                self.is_pressed: bool = False
            case Change.SPEECH:
                self.is_speech: bool = True
            case Change.NO_SPEECH:
                self.is_speech: bool = False
            case Change.CANCEL:
                events += self.machine.cancel(at)
                if self.mode is TurnMode.OPEN:
                    self.machine.is_key_down = False  # nobody can let it go: the next turn follows
            case Change.LOUD if self.is_gated and at >= self.gated_at:
                self.is_gated, self.ungates_at = False, None
                events.append(self._note(TurnEventKind.BARGED_IN, at))
            case Change.MUTE if not self.is_muted:
                self.is_muted: bool = True
                events += self.machine.cut(at, Reason.MUTED)
                events.append(self._note(TurnEventKind.MUTED, at))
            case Change.UNMUTE if self.is_muted:
                self.is_muted: bool = False
                self.machine.floor = max(self.machine.floor, at)
                events.append(self._note(TurnEventKind.UNMUTED, at))
            case Change.MODE if mode is not None and mode is not self.mode:
                events += self.machine.cut(at, Reason.MODE)
                self.mode, self.machine.timing = mode, self.rules.timing(mode)
                events.append(self._note(TurnEventKind.MODE_CHANGED, at, mode))
            case Change.AVATAR_SPEAKS:
                self.ungates_at = None
                if not self.is_gated:
                    self.is_gated, self.gated_at = True, at
                    if self.mode is not TurnMode.PTT:
                        events += self.machine.cut(at, Reason.AVATAR)
                    events.append(self._note(TurnEventKind.GATED, at))
            case Change.AVATAR_ENDS if self.is_gated and self.ungates_at is None:
                self.ungates_at = at + self.rules.echo_samples
                events += self.advance(self.machine.now)
            case _:
                pass
        return events + self._settle(at)

    def advance(self, to: int) -> list[TurnEvent]:
        """Let samples pass up to `to`."""
        events: list[TurnEvent] = []
        if self.ungates_at is not None and self.ungates_at <= to:
            at, self.ungates_at = self.ungates_at, None
            self.is_gated: bool = False
            events += self.machine.advance(at)
            self.machine.floor = max(self.machine.floor, at)
            events += [self._note(TurnEventKind.UNGATED, at), *self._settle(at)]
        return events + self.machine.advance(to)

    @property
    def is_deaf(self) -> bool:
        """Muted, or gated while the avatar speaks. A button that is pressed is heard over the avatar."""
        return self.is_muted or (self.is_gated and self.mode is not TurnMode.PTT)

    def _settle(self, at: int) -> list[TurnEvent]:
        """Report to the machine when its key has changed."""
        wanted = {TurnMode.OPEN: True, TurnMode.PTT: self.is_pressed, TurnMode.VAD: self.is_speech}[self.mode]
        is_down = wanted and not self.is_deaf
        if is_down == self.machine.is_key_down:
            return []
        self.machine.release_reason = Reason.SILENCE if self.mode is TurnMode.VAD else Reason.RELEASED
        if is_down:
            return self.machine.down(at)
        return self.machine.up(at)

    def _note(self, kind: TurnEventKind, at: int, mode: TurnMode | None = None) -> TurnEvent:
        return TurnEvent(kind, max(at, self.machine.now), self.machine.turn, mode)
