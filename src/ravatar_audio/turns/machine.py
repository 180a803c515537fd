"""When a turn is open: a state machine over one key and the passing of samples. It knows no sound, and no mode.

idle ── down ──► pending ── held long enough ──► open ── up ──► holding ── over ──► idle
                    └── up: cancelled              ▲── down ──────┘
"""

import copy
from enum import Enum, auto

from ravatar_audio.turns.events import Reason, TurnEvent, TurnEventKind
from ravatar_audio.turns.rules import Timing


class _State(Enum):
    IDLE = auto()
    PENDING = auto()
    OPEN = auto()
    HOLDING = auto()


class TurnMachine:
    """Opens and ends turns. Positions are given in ascending order, but for a key that is reported late.

    The key is the button, the voice, or the open microphone; `timing` says what it does, and may be set while no turn
    is open. Each method returns the events that it led to, in order.
    """

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.now: int = 0
        """Everything before this position is decided."""
        self.floor: int = 0
        """No turn begins before this position."""
        self.given: int = 0
        """Set by the gate: sound before this position has been given out, so the open turn cannot end before it."""
        self.is_key_down: bool = False
        self.turn: int | None = None
        """Number of the open turn."""
        self.start: int = 0
        """First sample of the open turn."""
        self.release_reason = Reason.RELEASED
        self._turns = 0
        self._state = _State.IDLE
        self._key_at = 0

    def copy(self) -> "TurnMachine":
        """Make another machine in the same state, to look ahead with."""
        return copy.copy(self)

    @property
    def deadline(self) -> int | None:
        """The position at which something happens by itself, if no key changes before; None: nothing will."""
        timing = self.timing
        cap = None if timing.cap_samples is None else self.start + timing.cap_samples
        match self._state:
            case _State.IDLE:
                return None
            case _State.PENDING:
                return self._key_at + timing.confirm_samples
            case _State.OPEN:
                return cap
            case _State.HOLDING:
                over = self._key_at + timing.hold_samples
                return over if cap is None else min(over, cap)

    @property
    def earliest_start(self) -> int:
        """No turn that may still begin starts before this position, whatever happens from now on."""
        key_at = self._key_at if self._state is _State.PENDING else self.now
        return max(self.floor, key_at - self.timing.pre_roll_samples)

    @property
    def earliest_end(self) -> int:
        """The open turn does not end before this position, whatever the key does from now on."""
        deadline = self.deadline
        if self._state is _State.HOLDING:
            assert deadline is not None
            return deadline
        over = self.now + self.timing.hold_samples
        return over if deadline is None else min(over, deadline)

    def advance(self, to: int) -> list[TurnEvent]:
        """Let samples pass up to `to`."""
        events: list[TurnEvent] = []
        while (deadline := self.deadline) is not None and deadline <= to:
            cap = self.timing.cap_samples
            if self._state is _State.PENDING:
                events.append(self._open())
            elif cap is not None and deadline == self.start + cap:
                is_held = self._state is _State.OPEN
                events.append(self._end(deadline, TurnEventKind.CAPPED, Reason.CAP))
                if is_held and self.timing.restarts:
                    self._state, self._key_at = _State.PENDING, self.floor
            else:
                events.append(self._end(deadline, TurnEventKind.ENDED, self.release_reason))
        self.now = max(self.now, to)
        return events

    def down(self, at: int) -> list[TurnEvent]:
        """Note that the key is down from `at` on; in the past if it is reported late."""
        events = self.advance(at)
        self.is_key_down = True
        if self._state is _State.HOLDING:
            self._state = _State.OPEN
            return [*events, TurnEvent(TurnEventKind.EXTENDED, max(at, self._key_at), self.turn)]
        if self._state is _State.IDLE:
            self._state, self._key_at = _State.PENDING, max(at, self.floor)
        return events + self.advance(self.now)

    def up(self, at: int) -> list[TurnEvent]:
        """Note that the key is up from `at` on; in the past if it is reported late."""
        events = self.advance(at)
        self.is_key_down = False
        if self._state is _State.PENDING:
            return events + self._stop(at, TurnEventKind.CANCELLED, Reason.TAP)
        if self._state is _State.OPEN:
            self._state, self._key_at = _State.HOLDING, at
        return events + self.advance(self.now)

    def cut(self, at: int, reason: Reason) -> list[TurnEvent]:
        """End the turn at once: nothing from `at` on belongs to it, nothing before `at` to a later one.

        The key counts as up afterwards.
        """
        events = self.advance(at)
        self.is_key_down = False
        events += self._stop(at, TurnEventKind.ENDED, reason)
        self.floor = max(self.floor, at)
        return events

    def cancel(self, at: int) -> list[TurnEvent]:
        """Cancel the turn; a key that is down must be let go before it counts again."""
        events = self.advance(at)
        events += self._stop(at, TurnEventKind.CANCELLED, Reason.CALLED_OFF)
        self.floor = max(self.floor, at)
        return events

    def _open(self) -> TurnEvent:
        self.start = self.earliest_start
        self.turn = self._turns
        self._turns += 1
        self._state = _State.OPEN
        return TurnEvent(TurnEventKind.STARTED, self.start, self.turn)

    def _stop(self, at: int, kind: TurnEventKind, reason: Reason) -> list[TurnEvent]:
        """End the open turn, or what would have become one."""
        if self.turn is not None:
            return [self._end(at, kind, reason)]
        was_pending = self._state is _State.PENDING
        self._state = _State.IDLE
        is_emitted = was_pending and self.timing.emits_taps
        return [TurnEvent(TurnEventKind.CANCELLED, at, reason=reason)] if is_emitted else []

    def _end(self, at: int, kind: TurnEventKind, reason: Reason) -> TurnEvent:
        end = max(at, self.given, self.start)
        event = TurnEvent(kind, end, self.turn, reason)
        self.turn = None
        self._state = _State.IDLE
        self.floor = max(self.floor, end)
        return event
