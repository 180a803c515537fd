"""Where the two sides meet: frames go up, events come down.

live      LiveSession: Live Mode            conversation  the link that both keep up
chat      ChatSession: Chat Mode            outbox        the queue between source and network
events    what a session tells              choosing      which avatar, which language (pure)
state     user id, and slots that could not be given back
"""

from ravatar_audio.session.chat import ChatSession
from ravatar_audio.session.events import LinkLost, LinkUp, LiveEvent, SessionRenewed
from ravatar_audio.session.live import LiveSession, LiveStatistics

__all__ = ["ChatSession", "LinkLost", "LinkUp", "LiveEvent", "LiveSession", "LiveStatistics", "SessionRenewed"]
