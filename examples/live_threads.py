"""A live session without an event loop: what the avatar answers is printed."""

import sys

from ravatar_audio.blocking import LiveSession, Reply, Settings

with LiveSession.open(Settings.load(), *sys.argv[1:]) as live:
    for event in live.events():
        if isinstance(event, Reply):
            print(event.text)
