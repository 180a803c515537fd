"""Echo cancellation's side: whether its reference is there, and whether another canceller is at work already."""

from ravatar_audio.capture.servers.sources import ServerAnswer
from ravatar_audio.diagnosis.finding import Finding
from ravatar_audio.settings import Settings

_CANCELLERS = ("echo-cancel", "echo_cancel", "aec")
"""In the names of a server's sources that have taken the echo out."""


def check_echo(settings: Settings, answer: ServerAnswer) -> Finding | None:
    """Check the reference of the settings' echo cancellation. Pure; None where there is none."""
    if settings.echo_cancellation == "off":
        return None
    chosen = settings.device or (answer.default.name if answer.default else "")
    if any(word in chosen.casefold() for word in _CANCELLERS):
        return Finding(
            "echo",
            "warning",
            f"the microphone {chosen!r} has a canceller of its own, and echo_cancellation is on: two of them fight",
            "Use one: echo_cancellation = false, or the microphone behind the canceller as device.",
        )
    if settings.reference != "monitor":
        return Finding("echo", "ok", f"the reference is {settings.reference}")
    monitors = [source for source in answer.sources if source.is_monitor]
    found = next((source for source in monitors if source.is_default_monitor), None)
    if found is None and len(monitors) == 1:
        found = monitors[0]
    if found is None:
        return Finding(
            "echo",
            "error",
            "echo_cancellation is on, and no sound server has a monitor of the loudspeaker",
            "Start the sound server, or set reference to the device that hears what the loudspeaker plays.",
            3,
        )
    if found.is_muted:
        return Finding("echo", "warning", f"the reference {found.name} is muted", "Unmute it: pactl set-source-mute.")
    return Finding("echo", "ok", f"the reference is {found.name}")
