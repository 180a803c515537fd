"""Whether the avatar speaks, as far as the platform's messages say. Pure.

The platform's guide names no message for it. So an `event` that reads like one counts ("speech_started", "avatar
stopped talking", `"isSpeaking": true`), and where none has ever come, a reply is taken to be spoken, at the pace of
speech.
"""

import math
import re
from typing import Final

from ravatar_audio.api.messages import EventMessage, Reply

CHARACTERS_PER_S: Final = 15.0
"""Speed of speech: 150 words a minute, at six characters a word with the space behind it."""
LONGEST_S: Final = 60.0
"""Longest speech: after it the avatar counts as silent, whatever has not been said: the microphone must not stay deaf
for good."""

_LONGEST_NAME: Final = 64
_FLAGS: Final = ("speaking", "isSpeaking", "is_speaking", "talking", "isTalking")
_NAMES: Final = ("event", "name", "status", "state", "action", "content", "message", "answer")
_SPEECH: Final = ("speak", "speech", "talk")
_BEGINS: Final = {
    "start",
    "starts",
    "started",
    "begin",
    "begins",
    "began",
    "begun",
    "speaking",
    "speaks",
    "talking",
    "talks",
}
_ENDS: Final = {"end", "ends", "ended", "stop", "stops", "stopped", "finish", "finished", "done", "over", "idle"}
_OTHERS: Final = {"user", "client", "recognition", "not"}


def tells_speaking(message: EventMessage) -> bool | None:
    """Return True when the event says that the avatar begins to speak, False when it ends, None for neither."""
    for flag in _FLAGS:
        if isinstance(value := message.fields.get(flag), bool):
            return value
    for name in _NAMES:
        text = message.fields.get(name)
        if not isinstance(text, str) or len(text) > _LONGEST_NAME:
            continue
        words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", text)}
        if not any(word.startswith(_SPEECH) for word in words) or words & _OTHERS:
            continue
        if words & _ENDS:
            return False
        if words & _BEGINS:
            return True
    return None


def spoken_s(reply: Reply) -> float:
    """Return about how long the avatar takes to say this, 0 to 60 s."""
    return min(LONGEST_S, len(reply.text or "") / CHARACTERS_PER_S)


class AvatarVoice:
    """Whether the avatar speaks; times are seconds of one clock:

    silent ── an event says so; a reply, where no event ever has ──► speaking
       ▲── an event says so; `ends_s`, where none does ────────────────┘
    """

    def __init__(self) -> None:
        self.is_speaking: bool = False
        self.ends_s: float = math.inf
        """When it counts as silent, if nobody says so before."""
        self.has_events: bool = False
        """The platform says when the avatar speaks; replies do not count any more."""

    def set(self, is_speaking: bool) -> None:
        """Somebody who knows says so, and will say when it ends."""
        self.is_speaking, self.ends_s = is_speaking, math.inf

    def note(self, message: object, now_s: float) -> bool | None:
        """Note a message of the platform. Return True when the avatar speaks by it, False when it is silent."""
        if isinstance(message, EventMessage) and (speaks := tells_speaking(message)) is not None:
            self.has_events = True
            self.set(speaks)
            if speaks:
                self.ends_s = now_s + LONGEST_S
            return speaks
        if isinstance(message, Reply) and not self.has_events:
            begins_s = max(now_s, self.ends_s) if self.ends_s < math.inf else now_s  # it says one after the other
            self.is_speaking = True
            self.ends_s = begins_s + spoken_s(message)
            return True
        return None
