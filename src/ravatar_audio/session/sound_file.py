"""Sound files in any common format, as recordings of 16 kHz mono."""

import os
from typing import Final, cast

from ravatar_audio.capture import Source
from ravatar_audio.capture.sources.reader import no_sound, open_sound_file
from ravatar_audio.choices import SampleFormat
from ravatar_audio.converter import Converter
from ravatar_audio.errors import SettingsError
from ravatar_audio.turns import Recording

PROFILE: Final = "high"
"""Profile of the resampler: a recording is not in a hurry."""

_STEP_S = 1.0


def read_recording(path: str | os.PathLike[str], *, limit_s: float = 120.0) -> Recording:
    """Read a sound file as a recording: its channels averaged, resampled by the core; 16 bit, 16 kHz mono stays as it
    is.

    WAV needs nothing; MP3, FLAC, Ogg, M4A, WebM, video files and others need the extra "files". It takes its time: call
    it in a thread. Raises SettingsError for a file that cannot be read, has no sound, or is longer than `limit_s`
    seconds (0.1 to 3,600), MediaAbortedError for one that is written to meanwhile.
    """
    recording = Recording(limit_s)
    reader = open_sound_file(path)
    try:
        converter = Converter(reader.rate_hz, reader.channels, cast(SampleFormat, reader.format), profile=PROFILE)
        with converter:
            while block := reader.read(round(_STEP_S * reader.rate_hz)):
                for frame in converter.process(block):
                    _add(recording, frame.pcm[: 2 * frame.length_samples], reader.name)
            for frame in converter.flush():
                _add(recording, frame.pcm[: 2 * frame.length_samples], reader.name)
    except SettingsError as error:
        if reader.name in error.message:
            raise
        raise error.replaced(message=f"the sound file {reader.name!r} cannot be read: {error.message}") from error
    finally:
        reader.close()
    if not recording.samples:
        raise no_sound(reader.name)
    return recording


async def record_all(source: Source, *, limit_s: float = 120.0) -> Recording:
    """Record all that a source gives until its end; raises SettingsError when it is longer than `limit_s`."""
    recording = Recording(limit_s)
    async with source:
        async for frame in source:
            _add(recording, frame.pcm[: 2 * frame.length_samples], source.name)
    return recording


def _add(recording: Recording, pcm: bytes, name: str) -> None:
    recording.add_pcm(pcm)
    if recording.cut_samples:
        raise SettingsError(f"the sound file {name!r} is longer than {recording.duration_s:g} s")
