"""`ravatar-audio say`: a sound file as a recorded voice message."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import click
import trio

from ravatar_audio.api.messages import Reply
from ravatar_audio.capture import PipeSource
from ravatar_audio.capture.sources.pipe import is_pipe
from ravatar_audio.choices import RECORDING_FORMATS, RecordingFormat
from ravatar_audio.cli.live import PLATFORM, REST, as_plain, as_text
from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import (
    Seconds,
    SectionedCommand,
    json_lines,
    load_settings,
    run_reporting,
    settings_options,
)
from ravatar_audio.frames import Frame
from ravatar_audio.session import ChatSession, LiveSession
from ravatar_audio.session.sound_file import PROFILE, read_recording, record_all


@click.command(name="say", cls=SectionedCommand)
@click.argument("file", type=click.Path())
@click.option("--live", "is_live", is_flag=True, help="In Live Mode; default: in Chat Mode.")
@click.option("--push-to-talk", is_flag=True, help="Tell the platform that a button was held for it.")
@click.option(
    "--as", "format", type=click.Choice(RECORDING_FORMATS), default="wav", show_default=True, help="What is sent."
)
@click.option("--limit", type=Seconds(0.1, 3_600), default=120.0, show_default=True, help="Longest file in seconds.")
@click.option("--wait", type=Seconds(0), default=10.0, show_default=True, help="Seconds to wait for the answer.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines, the summary last.")
@settings_options(platform=PLATFORM, other=REST)
def command(
    file: str,
    is_live: bool,
    push_to_talk: bool,
    format: RecordingFormat,
    limit: float,
    wait: float,
    as_json: bool,
    settings_file: str | None,
    **given: Any,
) -> None:
    """Send a sound FILE as a recorded voice message, and print the avatar's answer.

    WAV files need nothing, other formats (MP3, FLAC, Ogg, M4A, WebM, ...) the extra "files". A pipe gives WAV, or PCM
    of 16 bits, 16 kHz mono. Whatever is in it becomes 16 kHz mono. Nothing happens to the file: when sending fails, say
    it again.
    """
    settings = load_settings(settings_file, given)
    emit = json_lines(as_json)

    async def work() -> None:
        if is_pipe(file):
            recording = await record_all(PipeSource(file, profile=PROFILE), limit_s=limit)
        else:
            recording = await trio.to_thread.run_sync(partial(read_recording, file, limit_s=limit))
        recording.is_push_to_talk = push_to_talk
        session = LiveSession(settings, _nothing()) if is_live else ChatSession(settings)
        async with session:
            await session.send_voice(recording, format=format)
            with trio.move_on_after(wait):
                async for event in session.events():
                    emit(as_plain(event))
                    if not as_json and (text := as_text(event)):
                        echo(text)
                    if isinstance(event, Reply):
                        break
        emit({"event": "summary", "seconds": round(recording.duration_s, 3), "format": format})
        if not as_json:
            echo(f"said {recording.duration_s:.1f} s as {format}", err=True)

    run_reporting(work, emit)


async def _nothing() -> AsyncIterator[Frame]:
    """A microphone that hears nothing: only the recording is to be said."""
    return
    yield
