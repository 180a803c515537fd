"""What the platform refuses of what was sent: which messages say so, how many there were, and what to renew. Pure.

Nobody knows how the platform words a refusal, so no text counts, only the kind: an error without a reply, again and
again. What is renewed follows from that:

    nothing in doubt ──token refused──> CONVERSATION ──refused again──> SLOT ──refused again──> SLOT, ever more seldom
           ^         ──refused──────────────^                                                        │
           └──────────── a reply, or PROOF messages in a row without a refusal ──────────────────────┘
"""

import re
from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from ravatar_audio.api.messages import Reply, ServerMessage, StreamFault

PROOF_MESSAGES: Final = 40
"""Messages in a row that nothing was said against, which count as accepted; of live sound these are 10 s."""

EXPIRY_NEWS_S: Final = 1.0
"""How long after a frame a platform may say that its live session has expired, a round trip not counted."""

_REMEMBERED_MESSAGES: Final = 512
_ERROR_FIELDS: Final = (
    "error",
    "errors",
    "err",
    "error_code",
    "errorCode",
    "errorMessage",
    "error_message",
    "exception",
)
_STATUS_FIELDS: Final = ("status", "statusCode", "status_code", "code", "result")
_FLAG_FIELDS: Final = ("success", "ok", "accepted", "valid")
_KIND_FIELDS: Final = ("type", "direction", "kind", "status", "result")
_FAILED: Final = ("error", "fail", "refus", "reject", "denied", "exception", "invalid")


class Doubt(IntEnum):
    """What the platform may have forgotten, from the least."""

    NOTHING = 0
    CONVERSATION = 1
    """The id of `GET /connection`."""
    SLOT = 2
    """The live session."""


def is_refusal(message: ServerMessage) -> bool:
    """Return whether a message is an error without a reply, whatever its kind and its words. Stream errors are none."""
    if isinstance(message, StreamFault):
        return False
    if isinstance(message, Reply) and (message.text or message.audio or message.file_url):
        return False
    return _is_error(message.fields)


def _is_error(fields: Mapping[str, Any]) -> bool:
    if any(fields.get(name) for name in _ERROR_FIELDS) or any(fields.get(name) is False for name in _FLAG_FIELDS):
        return True
    for name in _STATUS_FIELDS:
        value = fields.get(name)
        number = int(value) if isinstance(value, str) and re.fullmatch(r"\d{3}", value, re.ASCII) else value
        if isinstance(number, int) and 400 <= number <= 599:
            return True
    words = [value.lower() for name in _KIND_FIELDS if isinstance(value := fields.get(name), str)]
    return any(part in word for word in words for part in _FAILED)


class _Sent(NamedTuple):
    """A message that was written: a frame's samples (None for any other), the gap that it has declared, and when."""

    samples: int | None
    gap_samples: int
    written_s: float


class Refusals:
    """Counts what was sent and what was refused of it, over all connections of a session.

    Answers come in the order of the messages, one for each that was refused; which of them it was nobody says. So the
    newest are counted: behind the first that is refused all are.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: so many refusals on one connection, without a reply between them, are acted upon."""
        self._limit = limit
        self._sent: deque[_Sent] = deque(maxlen=_REMEMBERED_MESSAGES)
        self._unrefused = self._on_connection = self._since_first = self._owed = self._gap_samples = 0
        self.is_refused: bool = False
        """Between the first refusal and the proof that the platform accepts again."""
        self.messages: int = 0
        """Refused since `is_refused`."""
        self.frames: int = 0
        self.samples: int = 0
        """Refused in all: live frames, and their samples."""
        self.doubt: Doubt = Doubt.NOTHING
        """What is to be renewed before the next connection."""
        self.renewed: Doubt = Doubt.NOTHING
        """What was renewed without a proof since."""

    def begin_connection(self) -> None:
        """Note that what was sent by the one before is not answered any more."""
        self._sent.clear()
        self._unrefused = self._on_connection = self._since_first = self._owed = 0

    @property
    def is_due(self) -> bool:
        """There were so many on this connection that something is to be done."""
        return self._on_connection >= self._limit

    @property
    def is_all_answered(self) -> bool:
        """Nothing that was sent by this connection can still be refused."""
        return not self._sent

    @property
    def gap_samples(self) -> int:
        """How much refused sound the next frame declares as missing before it; none while it may be refused too."""
        return 0 if self._on_connection else self._gap_samples

    def note_sent(self, samples: int | None, gap_samples: int = 0, written_s: float = 0.0) -> bool:
        """Note that a message was written: a frame of so many samples that declares a gap, or (None) another.

        True when that ends the refusals.
        """
        self._sent.append(_Sent(samples, gap_samples, written_s))
        if self._on_connection:
            self._since_first += 1
        elif samples is not None:
            self._gap_samples = 0
        if self._owed:
            self._owed -= 1
            self._take_newest()
            return False
        self._unrefused += 1
        return self._unrefused >= PROOF_MESSAGES and self.note_accepted()

    def note_refused(self) -> bool:
        """Note that a refusal came; return True when it is the first."""
        is_first = not self.is_refused
        if is_first:
            self.messages = 0
        self.is_refused = True
        self._on_connection += 1
        self._unrefused = 0
        self.messages += 1
        if self._sent:
            self._take_newest()
        else:
            self._owed += 1  # the answer was quicker than the one who has sent it
        return is_first

    def note_end(self) -> None:
        """Note that the connection is left because of refusals: what it carried behind the first one was refused as
        well.
        """
        for _ in range(min(len(self._sent), self._since_first - self._on_connection)):
            self._take_newest()

    def note_expired(self, now_s: float, round_trip_s: float, unacknowledged_frames: int) -> None:
        """Note that the live session has expired: nobody has listened to what came behind its end.

        Nobody says which frame came first behind it, but it is the one that was answered: the newest that was written a
        round trip ago, if that is not too long ago for an answer. What is not acknowledged goes again, and is no loss.
        """
        while self._sent and unacknowledged_frames:
            unacknowledged_frames -= self._sent.pop().samples is not None
        is_answered = False
        while self._sent and not is_answered and self._sent[-1].written_s >= now_s - round_trip_s - EXPIRY_NEWS_S:
            is_answered = self._sent[-1].samples is not None and self._sent[-1].written_s <= now_s - round_trip_s
            self._take_newest()

    def note_accepted(self) -> bool:
        """Note a reply, or the proof by silence. Return True when that ends the refusals."""
        was_refused = self.is_refused
        self.is_refused = False
        self._unrefused = self._on_connection = self._since_first = 0
        self.renewed = Doubt.NOTHING
        return was_refused

    def note_doubt(self, doubt: Doubt) -> None:
        """Note that something speaks for it that the platform has forgotten at least this."""
        self.doubt = max(self.doubt, doubt)

    def note_renewed(self) -> None:
        """Note that what was in doubt is new."""
        self.renewed = max(self.renewed, self.doubt)
        self.doubt = Doubt.NOTHING

    def _take_newest(self) -> None:
        sent = self._sent.pop()
        if sent.samples is not None:
            self.frames += 1
            self.samples += sent.samples
            self._gap_samples += sent.samples + sent.gap_samples
