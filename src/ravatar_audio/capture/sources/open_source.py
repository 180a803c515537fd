"""Which source the user means."""

from ravatar_audio.capture.microphone.microphone import Microphone
from ravatar_audio.capture.microphone.source import Source
from ravatar_audio.capture.sources.file import FileSource
from ravatar_audio.capture.sources.pipe import PipeSource, is_pipe
from ravatar_audio.capture.sources.synthetic import SyntheticSource
from ravatar_audio.choices import Pace
from ravatar_audio.conversion import options_of
from ravatar_audio.settings import Settings


def open_source(
    settings: Settings, spec: str = "mic", *, pace: Pace | None = None, duration_s: float | None = None
) -> Source:
    """Make the source that `spec` names; nothing is opened before `async with`.

    "mic" is the settings' microphone; "-" is PCM on standard input, in the settings' rate, channels and format (16,000
    Hz, 1, "int16" where they say none), as is a path that is no regular file: a FIFO, a device, a socket;
    "synthetic:speech", ":tone", ":sweep" and ":noise" are generated; anything else is a sound file's path. `pace`
    ("real" or "full") is for all but the microphone; None: "full" for what comes through a pipe, "real" for the rest.
    `duration_s` is for generated sound.
    """
    options = options_of(settings)
    if spec == "mic":
        return Microphone.from_settings(settings)
    if spec == "-" or is_pipe(spec):
        return PipeSource(
            0 if spec == "-" else spec,
            pace=pace or "full",
            rate_hz=settings.rate_hz or 16_000,
            channels=settings.channels or 1,
            format=settings.format or "int16",
            give_up_s=settings.pipe_timeout_ms / 1000 or None,
            is_endless=settings.endless,
            **options,
        )
    if spec.startswith("synthetic:"):
        rate_hz = settings.rate_hz or 48_000
        return SyntheticSource(
            spec.removeprefix("synthetic:"), rate_hz=rate_hz, duration_s=duration_s, pace=pace or "real", **options
        )
    return FileSource(spec, pace=pace or "real", **options)
