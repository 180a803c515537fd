"""Sound servers, which PulseAudio's protocol reaches.

status       which of them run, and whether this user reaches them: from /proc and their sockets
connection   libpulse: its errors, its events, word of what comes
sources      a server's sources, and as devices
"""
