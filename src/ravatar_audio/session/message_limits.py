"""What may be sent as a message: what the platform would refuse is refused before. Pure."""

import re

from ravatar_audio.errors import SettingsError

TEXT_CHARACTERS_MAX = 64 * 1024
"""Most characters of one written message: more than an hour of speech."""

VOICE_BYTES_MAX = 8 * 1024 * 1024
"""Most bytes of one recorded message: 4.4 minutes as WAV. Base64 makes 11 MiB of it, and servers usually take 16."""

_WAV_OR_WEBM = re.compile(rb"RIFF.{4}WAVE|\x1a\x45\xdf\xa3", re.DOTALL)


def check_text(text: object) -> None:
    """Check a text.

    Raises SettingsError for what is no text, or an empty one, one that is too long, or no valid Unicode.
    """
    if not isinstance(text, str):
        why = f"is of type {type(text).__name__}, not str"
    elif not text.strip():
        why = f"is empty: {text!r}"
    elif len(text) > TEXT_CHARACTERS_MAX:
        why = f"has {len(text)} characters; it must be {TEXT_CHARACTERS_MAX} at most"
    elif any("\ud800" <= character <= "\udfff" for character in text):
        why = "holds half a character (a lone surrogate), which is no Unicode text"
    else:
        return
    raise SettingsError(f"the message {why}", advice="Send text that says something, in several pieces if it is long.")


def check_voice(data: bytes) -> None:
    """Check a recording. Raises SettingsError for one that is too long, or that is neither a WAV nor a WebM file."""
    if len(data) > VOICE_BYTES_MAX:
        raise SettingsError(
            f"the recording has {len(data)} bytes; it must be {VOICE_BYTES_MAX} at most",
            advice="Say it in shorter turns, or send it as WebM, which is a tenth of the size.",
        )
    if not _WAV_OR_WEBM.match(data):
        raise SettingsError(
            f"the recording's {len(data)} bytes are neither a WAV nor a WebM file",
            advice="Send a whole file of 16 kHz, mono, or a Recording.",
        )
