"""Where the two sides meet: frames go up, events come down.

live      LiveSession: Live Mode            conversation  what both share: entering, leaving, events
chat      ChatSession: Chat Mode            linking       the link that both keep up
events    what a session emits              outbox        the queue between source and network
state     where a session is in its life (pure)
reply_time       from a turn's end to the first reply (pure)
retries   when to try again (pure)          refusals      what the platform does not accept (pure)
slot      the live session's place          selection     which avatar, language and mode (pure)
message_limits   what may be sent (pure)    event_queue   what waits for whoever iterates
machine, state_files, disk   user id; slots that could not be given back
turn_source      TurnSource: a source with a gate in front
recordings       turns as recordings        sound_file    files as recordings
observing        metrics and the like, attached to sessions
avatar_gate      half-duplex, and as the fallback of echo cancellation
open_voice       the microphone with what the settings do to its sound
avatar_speech    whether the avatar speaks (pure)
"""

from ravatar_audio.session.chat import ChatSession
from ravatar_audio.session.events import (
    AvatarSilent,
    AvatarSpeaks,
    ConversationRenewed,
    EchoEvent,
    LinkLost,
    LinkUp,
    LiveEvent,
    SendingAccepted,
    SendingRefused,
    SessionRenewed,
    StreamingUrlChanged,
    TurnAnswered,
)
from ravatar_audio.session.live import LiveSession
from ravatar_audio.session.observing import observing
from ravatar_audio.session.open_voice import open_voice
from ravatar_audio.session.recordings import Recordings
from ravatar_audio.session.state import SessionState
from ravatar_audio.session.statistics import ChatStatistics, LiveStatistics
from ravatar_audio.session.turn_source import TurnSource

__all__ = [
    "AvatarSilent",
    "AvatarSpeaks",
    "ChatSession",
    "ChatStatistics",
    "ConversationRenewed",
    "EchoEvent",
    "LinkLost",
    "LinkUp",
    "LiveEvent",
    "LiveSession",
    "LiveStatistics",
    "Recordings",
    "SendingAccepted",
    "SendingRefused",
    "SessionRenewed",
    "SessionState",
    "StreamingUrlChanged",
    "TurnAnswered",
    "TurnSource",
    "observing",
    "open_voice",
]
