"""The platform's side.

http      Platform: the endpoints          link      one WebSocket connection
messages  what is said over it (pure)      wire      the byte stream under it
results   what endpoints answer (pure)     link_end  what an end of it means (pure)
tokens    the JWT                          connecting  look-up, TCP, TLS, and why that could not be
audio     the live voice message           backoff   when to try again (pure)
heartbeat whether the peer still lives     name_servers  which of them is slow
exchange  HTTP requests and answers        proxy     which HTTP proxy, and what is said to it (pure)
content   an answer's content, unpacked    tls       the TLS context, and why TLS failed
answers   an answer's object, or its error (pure)
"""

from ravatar_audio.api.http import Platform
from ravatar_audio.api.messages import (
    Audio,
    ConnectionMessage,
    EventMessage,
    Reply,
    ServerMessage,
    StreamFault,
    SystemMessage,
    UnknownMessage,
)
from ravatar_audio.api.results import Avatar, ChatItem, Connection, Language, LiveStart, viewer_url

__all__ = [
    "Audio",
    "Avatar",
    "ChatItem",
    "Connection",
    "ConnectionMessage",
    "EventMessage",
    "Language",
    "LiveStart",
    "Platform",
    "Reply",
    "ServerMessage",
    "StreamFault",
    "SystemMessage",
    "UnknownMessage",
    "viewer_url",
]
