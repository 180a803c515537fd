"""Where the two sides meet: frames go up, events come down.

live      LiveSession: Live Mode            conversation  the link that both keep up
chat      ChatSession: Chat Mode            outbox        the queue between source and network
events    what a session tells              choosing      which avatar, language and mode (pure)
checking  what may be sent (pure)
state     user id, and slots that could not be given back
turn_source  TurnSource: a source with a gate in front
recordings   turns as recordings                  sound_file    files as recordings
speaking     whether the avatar speaks (pure)
"""

from ravatar_audio.session.chat import ChatSession
from ravatar_audio.session.events import LinkLost, LinkUp, LiveEvent, SessionRenewed
from ravatar_audio.session.live import LiveSession, LiveStatistics
from ravatar_audio.session.recordings import Recordings
from ravatar_audio.session.turn_source import TurnSource

__all__ = [
    "ChatSession",
    "LinkLost",
    "LinkUp",
    "LiveEvent",
    "LiveSession",
    "LiveStatistics",
    "Recordings",
    "SessionRenewed",
    "TurnSource",
]
