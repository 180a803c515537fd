"""What a kiosk's screen shows, decided from the events of session, turns and microphone. Pure: times are arguments.

                 begin()                 LinkUp                STARTED
    WAITING ───────────────▶ STARTING ───────────▶ READY ◀───────────────▶ HEARING
       ▲                                           ▲   ▲   CANCELLED          │ ENDED, CAPPED
       │ fail()                  the reply is over │   │ nothing for 20 s     ▼
       └── from every phase                 SPEAKING ◀──────────────────── THINKING
                                                          Reply

A reply is shown, and counts as spoken, in every phase of a session; a turn begins in each of them as well. Beside the
phase stand troubles that a session lives through: the link's, the microphone's, the platform's refusals.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ravatar_audio.api.messages import Reply
from ravatar_audio.capture import CaptureEvent
from ravatar_audio.errors import (
    AuthenticationError,
    BusyError,
    CertificateError,
    MediaError,
    NetworkError,
    PaymentRequiredError,
    RavatarError,
    SessionExpiredError,
    SettingsError,
)
from ravatar_audio.session import LinkLost, LinkUp, LiveEvent, SendingAccepted, SendingRefused, SessionRenewed
from ravatar_audio.session.avatar_speech import spoken_s
from ravatar_audio.turns import TurnEvent, TurnEventKind

CAPTIONS: Final = 4
"""Captions that are kept; the newest last."""
CAPTION_CHARACTERS: Final = 600
THINKING_LIMIT_S: Final = 20.0
"""After this without a reply the kiosk says that it listens: the platform promises no answer."""
SPOKEN_LEAST_S: Final = 1.5
"""A reply without text, or with a short one, is shown as spoken for so long."""
STARTING_LIMIT_S: Final = 180.0
"""A start that lasts longer hangs: token, slot and link have limits that add up to less."""
FRAMES_LIMIT_S: Final = 10.0
"""So long without a frame, and without a reason for it, the service is no longer alive."""
_FIRST_RETRY_S: Final = 2.0
_LONGEST_RETRY_S: Final = 30.0
_LONGEST_BY_HAND_S: Final = 300.0
"""For what only somebody's hand can change, such as a subscription: 300 requests a day instead of 3,000."""
_MICROPHONE_LOST: Final = ("stalled", "reopening", "hanging", "digital_silence")
_MICROPHONE_BACK: Final = ("recovered", "reopened", "stand_in", "sound")


class Phase(StrEnum):
    """What the kiosk does."""

    STARTING = "starting"
    READY = "ready"
    """It listens, or waits for the button."""
    HEARING = "hearing"
    """Somebody's turn is under way."""
    THINKING = "thinking"
    """A turn has ended, and the reply has not come."""
    SPEAKING = "speaking"
    WAITING = "waiting"
    """Out of service; tried again by itself."""


class Trouble(StrEnum):
    """What is wrong, as far as a visitor or the staff can do something about it."""

    MICROPHONE = "microphone"
    NETWORK = "network"
    BUSY = "busy"
    PAYMENT = "payment"
    ACCOUNT = "account"
    SESSION = "session"
    SETTINGS = "settings"
    CLOCK = "clock"
    """No certificate is valid yet by this machine's clock, which is behind the day of the installation."""
    PLATFORM = "platform"


_KINDS: Final[tuple[tuple[type[RavatarError], Trouble], ...]] = (
    (MediaError, Trouble.MICROPHONE),
    (NetworkError, Trouble.NETWORK),
    (BusyError, Trouble.BUSY),
    (PaymentRequiredError, Trouble.PAYMENT),
    (AuthenticationError, Trouble.ACCOUNT),
    (SessionExpiredError, Trouble.SESSION),
    (SettingsError, Trouble.SETTINGS),
)


_NOT_YET_VALID: Final = 9
"""X509_V_ERR_CERT_NOT_YET_VALID."""


def trouble_of(error: Exception, *, is_clock_behind: bool = False) -> Trouble:
    """Return what an error means on the screen; what is nothing else is the platform's."""
    if is_clock_behind and isinstance(error, CertificateError) and error.details.get("verify_code") == _NOT_YET_VALID:
        return Trouble.CLOCK
    return next((trouble for kind, trouble in _KINDS if isinstance(error, kind)), Trouble.PLATFORM)


_BY_HAND: Final = (Trouble.PAYMENT, Trouble.ACCOUNT)


def retry_in_s(failures: int, error: RavatarError | None = None) -> float:
    """Return how long to wait after so many failures in a row (from 1): 2, 4, 8, 16 s, then 30 s; where payment or the
    account is what is wrong, on to 5 minutes. A server may ask for more by Retry-After, up to 5 minutes.
    """
    by_hand = error is not None and trouble_of(error) in _BY_HAND
    longest_s = _LONGEST_BY_HAND_S if by_hand else _LONGEST_RETRY_S
    asked_s = error.details.get("retry_after_s") if error is not None else None
    wait_s = min(longest_s, _FIRST_RETRY_S * 2 ** (min(failures, 16) - 1))
    return max(wait_s, min(asked_s, _LONGEST_BY_HAND_S)) if isinstance(asked_s, float) else float(wait_s)


@dataclass(frozen=True, slots=True)
class Caption:
    """One line of the conversation."""

    who: str
    """"avatar"."""
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the page shows, at one moment; without the streaming URL, which is a secret."""

    phase: Phase
    trouble: Trouble | None
    code: str | None
    """Of the error behind the trouble, for the staff."""
    retry_in_s: float | None
    mode: str
    is_muted: bool
    level_dbfs: float | None
    """Peak of the newest frame; None without sound."""
    captions: tuple[Caption, ...]

    def as_plain(self) -> Mapping[str, Any]:
        """Return it as JSON takes it."""
        return {
            "phase": self.phase.value,
            "trouble": self.trouble.value if self.trouble else None,
            "code": self.code,
            "retry_in_s": None if self.retry_in_s is None else round(self.retry_in_s, 1),
            "mode": self.mode,
            "is_muted": self.is_muted,
            "level_dbfs": self.level_dbfs,
            "captions": [[caption.who, caption.text] for caption in self.captions],
        }


@dataclass(slots=True)
class _Problem:
    code: str
    retry_at_s: float | None = None


class KioskMachine:
    """Fed with what happens; asked for a Snapshot. Times are of one monotonic clock."""

    def __init__(self, now_s: float) -> None:
        self.phase: Phase = Phase.STARTING
        self.failures: int = 0
        """In a row; a session that is up ends the row."""
        self._since_s = self._frame_s = now_s
        self._speaks_until_s = now_s
        self._failure: tuple[Trouble, _Problem] | None = None
        self._problems: dict[Trouble, _Problem] = {}
        self._level_dbfs: float | None = None
        self._captions: deque[Caption] = deque(maxlen=CAPTIONS)
        self._mode = "open"
        self._is_muted = False

    def begin(self, now_s: float) -> None:
        """Note that a start is tried."""
        self._enter(Phase.STARTING, now_s)

    def fail(self, error: RavatarError, now_s: float, *, is_clock_behind: bool = False) -> float:
        """Note that a start, or the session, has failed; return after how many seconds to try again."""
        self.failures += 1
        wait_s = retry_in_s(self.failures, error)
        self._failure = (trouble_of(error, is_clock_behind=is_clock_behind), _Problem(error.code, now_s + wait_s))
        self._problems.clear()
        self._level_dbfs = None
        self._is_muted = False
        self._enter(Phase.WAITING, now_s)
        return wait_s

    def note_mode(self, mode: str, *, is_muted: bool) -> None:
        """Note how turns are taken, and whether the microphone is muted."""
        self._mode, self._is_muted = mode, is_muted

    def note_frame(self, peak_dbfs: float, now_s: float) -> None:
        """Note that sound has come from the microphone, whether or not it goes to the platform."""
        self._frame_s = now_s
        self._level_dbfs = round(max(-120.0, peak_dbfs), 1)

    def note_live(self, event: LiveEvent, now_s: float) -> None:
        """Note that something has happened to the session."""
        match event:
            case LinkUp():
                self.failures = 0
                self._failure = None
                self._problems.pop(Trouble.NETWORK, None)
                if self.phase in (Phase.STARTING, Phase.WAITING):
                    self._frame_s = now_s
                    self._enter(Phase.READY, now_s)
            case LinkLost(retry_in_s=wait_s):
                self._problems[Trouble.NETWORK] = _Problem("link_lost", now_s + wait_s)
            case SendingRefused():
                self._problems[Trouble.PLATFORM] = _Problem("sending_refused")
            case SendingAccepted():
                self._problems.pop(Trouble.PLATFORM, None)
            case SessionRenewed():
                self._captions.clear()
            case Reply(text=text):
                if text:
                    self._captions.append(Caption("avatar", text[:CAPTION_CHARACTERS]))
                begins_s = max(now_s, self._speaks_until_s)  # one after the other
                self._speaks_until_s = begins_s + max(SPOKEN_LEAST_S, spoken_s(event))
                if self.phase in (Phase.READY, Phase.THINKING):
                    self._enter(Phase.SPEAKING, now_s)

    def note_turn(self, event: TurnEvent, now_s: float) -> None:
        """Note that something has happened to a turn."""
        if self.phase in (Phase.STARTING, Phase.WAITING):
            return
        match event.kind:
            case TurnEventKind.STARTED if self._mode != "open":  # there the one turn is no sign of anybody
                self._enter(Phase.HEARING, now_s)
            case TurnEventKind.ENDED | TurnEventKind.CAPPED if self.phase is Phase.HEARING:
                self._enter(Phase.THINKING, now_s)
            case TurnEventKind.CANCELLED if self.phase is Phase.HEARING:
                self._enter(Phase.READY, now_s)

    def note_capture(self, event: CaptureEvent) -> None:
        """Note that something has happened to the microphone."""
        if event.kind in _MICROPHONE_LOST:
            self._problems[Trouble.MICROPHONE] = _Problem(event.kind)
            self._level_dbfs = None
        elif event.kind in _MICROPHONE_BACK:
            self._problems.pop(Trouble.MICROPHONE, None)

    def look(self, now_s: float) -> None:
        """Change what time alone changes."""
        is_spoken = self.phase is Phase.SPEAKING and now_s >= self._speaks_until_s
        is_unanswered = self.phase is Phase.THINKING and now_s >= self._since_s + THINKING_LIMIT_S
        if is_spoken or is_unanswered:
            self._enter(Phase.READY, now_s)

    def is_alive(self, now_s: float) -> bool:
        """Return whether frames move, or there is a known reason why not: what feeds the service manager's watchdog."""
        if self.phase is Phase.STARTING:
            return now_s < self._since_s + STARTING_LIMIT_S
        if self.phase is Phase.WAITING or Trouble.MICROPHONE in self._problems:
            return True
        return now_s < self._frame_s + FRAMES_LIMIT_S

    @property
    def is_ready(self) -> bool:
        """Sound flows, or it waits with a reason."""
        return self.phase is not Phase.STARTING or self._failure is not None

    def snapshot(self, now_s: float) -> Snapshot:
        """Return what the screen shows now."""
        self.look(now_s)
        found: tuple[Trouble, _Problem] | None = self._failure
        if self.phase not in (Phase.WAITING, Phase.STARTING):
            order = (Trouble.NETWORK, Trouble.PLATFORM, Trouble.MICROPHONE)
            found = next(((trouble, self._problems[trouble]) for trouble in order if trouble in self._problems), None)
        trouble, problem = found or (None, None)
        at_s = problem.retry_at_s if problem else None
        return Snapshot(
            phase=self.phase,
            trouble=trouble,
            code=problem.code if problem else None,
            retry_in_s=None if at_s is None else max(0.0, at_s - now_s),
            mode=self._mode,
            is_muted=self._is_muted,
            level_dbfs=self._level_dbfs,
            captions=tuple(self._captions),
        )

    def _enter(self, phase: Phase, now_s: float) -> None:
        self.phase = phase
        self._since_s = now_s
