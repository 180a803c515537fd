"""Where a session is in its life. Pure."""

from enum import StrEnum


class SessionState(StrEnum):
    """Where a session is in its life:

        new ── entered ──► starting ── link up ──► connected ── link lost ──► reconnecting
                                                       ▲──────── link up ───────────┘
        each of them ── block left ──► ended           each of them ── error ──► failed

    The events LinkUp and LinkLost come with the changes between connected and reconnecting.
    """

    NEW = "new"
    """Made, and not entered."""
    STARTING = "starting"
    """Entered: token, conversation, live session and the first link are on their way."""
    CONNECTED = "connected"
    """The link is up: what is captured or said is sent."""
    RECONNECTING = "reconnecting"
    """The link was up and is lost; it is opened again. What is captured meanwhile waits for as long as it may."""
    ENDED = "ended"
    """Over in order."""
    FAILED = "failed"
    """Over for good by an error, which events(), wait_finished() and send_text() raise."""

    @property
    def is_over(self) -> bool:
        """Nothing more comes or goes."""
        return self in (SessionState.ENDED, SessionState.FAILED)
