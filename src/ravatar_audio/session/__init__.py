"""Where the two sides meet: frames go up, events come down.

live     LiveSession: Live Mode            outbox  the queue between source and network
events   what a session tells              state   user id, and slots that could not be given back
"""

from ravatar_audio.session.events import LinkLost, LinkUp, LiveEvent, SessionRenewed
from ravatar_audio.session.live import LiveSession, LiveStatistics

__all__ = ["LinkLost", "LinkUp", "LiveEvent", "LiveSession", "LiveStatistics", "SessionRenewed"]
