"""`ravatar-audio demo`: the whole path on this machine, with neither account nor microphone nor network."""

import json
import tempfile
from typing import Any

import click

from ravatar_audio.api.proxy import NO_PROXY
from ravatar_audio.capture import open_source
from ravatar_audio.cli.live import SOUND
from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import Seconds, SectionedCommand, load_settings, run, settings_options
from ravatar_audio.cli.streaming import Streamed, stream
from ravatar_audio.emulator import Emulator, EmulatorSettings, EmulatorStatistics
from ravatar_audio.settings import Settings

_ROUNDTRIP_S = 0.3
"""Longest wait for the last frame to arrive and be counted before the platform is asked what it heard."""


@click.command(name="demo", cls=SectionedCommand)
@click.option("--seconds", type=Seconds(0.1, 86_400), default=10.0, show_default=True, help="How long to stream.")
@click.option("--mic", is_flag=True, help="The microphone instead of generated sound.")
@click.option(
    "--wav-dir", type=click.Path(file_okay=False), help="Folder to keep what the platform heard in; default: nowhere."
)
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object on the last line.")
@settings_options(microphone=SOUND, other=("debug",))
def command(
    seconds: float, mic: bool, wav_dir: str | None, as_json: bool, settings_file: str | None, **given: Any
) -> None:
    """Stream to a platform that runs inside this command, and show that what was captured is what arrived.

    Speech-like sound, or the microphone with --mic, goes the whole way: capture, C core, ring, WebSocket over a real
    socket. The meter shows level, frames, how old a frame's newest sample is when it has been sent, and what was lost.
    """
    configured = load_settings(settings_file, given)

    def show(source: str, streamed: Streamed, heard: EmulatorStatistics) -> None:
        result = summary(streamed, heard, is_kept=wav_dir is not None)
        echo(json.dumps(result) if as_json else table(result, source))

    async def work() -> None:
        with tempfile.TemporaryDirectory(prefix="ravatar-demo-") as scratch:
            async with Emulator(EmulatorSettings(wav_dir=wav_dir or f"{scratch}/heard")) as emulator:
                # Whatever the user has configured for the real platform does not concern this one.
                settings = local(configured, api_url=emulator.api_url, state_dir=scratch)
                source = open_source(
                    settings, "mic" if mic else "synthetic:speech", duration_s=None if mic else seconds
                )
                ended: list[Streamed] = []
                try:
                    await stream(
                        settings,
                        source,
                        on_end=ended.append,
                        on_event=lambda event: None,
                        seconds=seconds if mic else None,
                        linger_s=_ROUNDTRIP_S,
                    )
                finally:  # after an interruption as well
                    heard = emulator.statistics()
                    if ended and heard.live:
                        show(source.name, ended[0], heard)

    run(work)


def local(configured: Settings, *, api_url: str, state_dir: str) -> Settings:
    """Return the settings of the microphone and the core, with the platform at `api_url`, and everything sent."""
    kept = {name: getattr(configured, name) for name in (*SOUND, "debug")}
    return Settings(api_url=api_url, state_dir=state_dir, mode="open", **kept, proxy=NO_PROXY)


def summary(streamed: Streamed, heard: EmulatorStatistics, *, is_kept: bool) -> dict[str, Any]:
    """Return what was sent and what arrived. Received samples are without the zeros that pad the last frame."""
    received = heard.samples - streamed.padding_samples
    (session,) = heard.live
    return {
        "frames_sent": streamed.live.sent_frames,
        "frames_received": heard.frames,
        "samples_captured": streamed.capture.captured_samples,
        "samples_received": received,
        "samples_lost": streamed.capture.captured_samples + streamed.capture.device_lost_samples - received,
        "age_at_send_ms": streamed.age_at_send_ms,
        "wav": str(session.wav) if session.wav and is_kept else None,
    }


def table(result: dict[str, Any], source: str) -> str:
    """Return the summary for people."""
    age = result["age_at_send_ms"]
    return "\n".join(
        [
            f"source         {source}",
            f"frames         {result['frames_sent']} sent, {result['frames_received']} received",
            f"samples        {result['samples_captured']} captured, {result['samples_received']} received, "
            f"{result['samples_lost']} lost",
            f"age at send    p50 {age['p50']:.1f} ms, p99 {age['p99']:.1f} ms, max {age['max']:.1f} ms",
            f"heard as       {result['wav'] or '(--wav-dir DIR keeps it as a WAV file)'}",
        ]
    )
