"""The source that the settings describe, with echo cancellation and noise suppression around a microphone."""

from collections.abc import Callable

from ravatar_audio.capture import CaptureEvent, Microphone, Source
from ravatar_audio.session.events import EchoEvent
from ravatar_audio.session.state_files import echo_memory_path
from ravatar_audio.session.turn_source import TurnSource
from ravatar_audio.settings import Settings


def open_voice(settings: Settings, source: Source) -> Source:
    """Return `source`, and for a microphone what takes its echo and noise out as the settings say.

    Nothing is opened before `async with`. Files, pipes and generated sound have no loudspeaker beside them: they
    stay as they are. Raises SettingsError where the extra that a setting needs is not installed.
    """
    if not isinstance(source, Microphone) or (
        settings.echo_cancellation == "off" and not settings.noise_suppression_db
    ):
        return source
    # These need numpy, which most sessions do without.
    from ravatar_audio.processing.canceller import Canceller, LinearCanceller
    from ravatar_audio.processing.memory import EchoMemory
    from ravatar_audio.processing.voice import VoiceSource

    canceller: Canceller = LinearCanceller()
    if settings.echo_cancellation != "own" or settings.noise_suppression_db:
        from ravatar_audio.processing.webrtc import WebrtcCanceller  # it takes its time to load

        canceller = WebrtcCanceller(
            cancels_echo=settings.echo_cancellation == "webrtc",
            noise_suppression_db=settings.noise_suppression_db,
            before=canceller if settings.echo_cancellation == "own" else None,
        )
    if settings.echo_cancellation == "off":
        return VoiceSource(source, None, canceller)
    names = (settings.device or "", settings.reference)
    memory = EchoMemory(echo_memory_path(settings), " | ".join(names))
    return VoiceSource(source, _reference(settings), canceller, memory=memory)


def _reference(settings: Settings) -> Microphone:
    channel = settings.reference_channel
    if channel is None:
        return Microphone(settings.reference)
    return Microphone(
        settings.device,
        rate_hz=settings.rate_hz,
        channels=settings.channels,
        format=settings.format,
        channels_heard=(channel,),
        backend=settings.backend,
    )


def report_echo(source: object, emit: Callable[[EchoEvent], None]) -> None:
    """Let `emit` have what becomes of the echo, where a session's source takes it out."""
    if isinstance(source, TurnSource):
        source = source.source

    def hear(event: CaptureEvent) -> None:
        emit(EchoEvent(event.kind, event.message))

    if hasattr(source, "on_echo"):  # a VoiceSource, or another with an echo to report
        source.on_echo = hear
