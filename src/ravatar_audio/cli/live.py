"""`ravatar-audio live`: the microphone, a file or a pipe, streamed to the platform in Live Mode."""

import contextlib
import dataclasses
import logging
import sys
from typing import Any

import click

from ravatar_audio.api.messages import Reply
from ravatar_audio.capture import CaptureEvent, open_source
from ravatar_audio.choices import PACES, Pace
from ravatar_audio.cli.output import echo, echo_over_meter
from ravatar_audio.cli.run import (
    Seconds,
    SectionedCommand,
    json_lines,
    load_settings,
    run_reporting,
    settings_options,
)
from ravatar_audio.cli.streaming import Streamed, stream
from ravatar_audio.errors import RavatarError, SoundLostError
from ravatar_audio.frames import RATE_HZ
from ravatar_audio.playback import Player
from ravatar_audio.printable import one_line
from ravatar_audio.session import (
    ConversationRenewed,
    EchoEvent,
    LinkLost,
    LinkUp,
    LiveEvent,
    SendingAccepted,
    SendingRefused,
    SessionRenewed,
    observing,
    open_voice,
)
from ravatar_audio.session.start_pauses import StartPauses
from ravatar_audio.turns import TurnEvent

PLATFORM = (
    *("api_url", "ws_url", "token_url", "user_id", "project_id", "avatar_id", "language", "client_name"),
    *("width", "height"),
)
SOUND = (
    *("device", "fallback", "fallback_after_ms", "backend", "rate_hz", "channels", "format", "strict", "latency_ms"),
    *("channels_heard", "profile", "gain_db", "dc_block", "ring_ms", "lock_memory", "outbox_ms"),
)
SESSION = ("slot_wait_s", "renew", "linger_s")
WATCH = (
    *("metrics_prometheus", "metrics_otlp", "metrics_interval_ms"),
    *("record", "record_mb", "record_hours"),
)
PIPE = ("pipe_timeout_ms", "endless")
TURNS = (
    "mode",
    "pre_roll_ms",
    "tail_ms",
    "trailing_silence_ms",
    "shortest_press_ms",
    "press_cap_ms",
    "hangover_ms",
    "onset_ms",
    "max_turn_ms",
    "detector",
    "speech_dbfs",
    "half_duplex",
    "barge_in_dbfs",
    "echo_ms",
)
VOICE = ("echo_cancellation", "reference", "noise_suppression_db", "gain_control")
REST = (
    *("request_timeout_ms", "connect_timeout_ms", "proxy", "ca_file", "lenient_ca", "client_cert", "client_key"),
    *("state_dir", "debug"),
)


@click.command(name="live", cls=SectionedCommand)
@click.option(
    "--source",
    "spec",
    default="mic",
    show_default=True,
    help="mic, a sound file, synthetic:speech|tone|sweep|noise, or - for standard input: "
    "WAV, or PCM as --rate, --channels and --format say (16000, 1, int16).",
)
@click.option(
    "--pace",
    type=click.Choice(PACES),
    default="real",
    show_default=True,
    help="How fast a file or a pipe is sent; what can wait is made to wait.",
)
@click.option("--seconds", type=Seconds(0.1), help="Stop so long after the session is up; default: at the end.")
@click.option("--play", "is_played", is_flag=True, help="Play the sound of the avatar's answers, until a turn begins.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines, the summary last.")
@settings_options(
    platform=PLATFORM,
    session=SESSION,
    microphone=SOUND,
    pipe=PIPE,
    voice=VOICE,
    turns=TURNS,
    watching=WATCH,
    other=REST,
)
def command(
    spec: str,
    pace: Pace,
    seconds: float | None,
    is_played: bool,
    as_json: bool,
    settings_file: str | None,
    **given: Any,
) -> None:
    """Stream sound to an avatar until interrupted; what the avatar says is printed.

    With --mode ptt hold the space bar to talk; a hardware button sends SIGUSR1 when it goes down and SIGUSR2 when it
    goes up. In a terminal m mutes and unmutes, x cancels the turn. Without --mode the platform's vadEnabled decides
    between an open microphone and push-to-talk; any other --source than the microphone goes as it is.

    With --json each line is an object with "time" and "event": Reply and the platform's other messages, LinkUp,
    LinkLost, SendingRefused, SendingAccepted, ConversationRenewed, SessionRenewed, StreamingUrlChanged (without the
    URL, which holds a secret); TurnEvent, and CaptureEvent for the microphone (stalled, recovered, reopening, hanging,
    reopened, digital_silence, sound, overruns, clipping, source_changed, no_constraints, ...), both with "kind" and
    "position_samples" at 16 kHz; last "summary", and after a failure "error" with code, message and advice.

    What stands under a heading below is a setting: it can also come from the environment (RAVATAR_API_URL,
    RAVATAR_DEVICE, ...) or from a TOML file, by its whole name where that has a unit: RAVATAR_RATE_HZ, gain_db.
    """
    is_service = not (as_json or sys.stderr.isatty())
    settings = load_settings(settings_file, given, log_level=logging.INFO if is_service else logging.WARNING)
    if settings.mode == "auto" and spec != "mic":
        settings = dataclasses.replace(settings, mode="open")

    emit = json_lines(as_json)

    def show(event: LiveEvent) -> None:
        if isinstance(event, LinkUp):
            pauses.note_begun()
        emit(as_plain(event))
        if not as_json and (text := as_text(event)):
            echo_over_meter(text)

    source = open_voice(settings, open_source(settings, spec, pace=pace))
    lost_samples = 0

    def show_end(streamed: Streamed) -> None:
        nonlocal lost_samples
        lost_samples = streamed.lost_samples
        if not streamed.capture.captured_samples:
            return  # it has not begun; the error says why
        result = summary(streamed)
        emit(result)
        if not as_json:
            echo(table(result), err=True)

    pauses = StartPauses(settings, is_on=not sys.stderr.isatty())

    async def work() -> None:
        await pauses.wait()
        playing = Player() if is_played else contextlib.nullcontext()
        async with observing(settings) as observers, playing as player:
            await stream(
                settings,
                source,
                on_end=show_end,
                on_event=show,
                on_turn=lambda event: emit(as_plain(event)),
                on_capture=lambda event: emit(as_plain(event)),
                seconds=seconds,
                linger_s=settings.linger_s,
                with_meter=sys.stderr.isatty(),
                observers=observers,
                player=player,
            )
        if lost_samples and not source.is_real_time:
            raise SoundLostError(f"{lost_samples} samples ({lost_samples / RATE_HZ:.2f} s) of {source.name} were lost")

    try:
        run_reporting(work, emit)
    except RavatarError as error:
        pauses.note_failure(error)
        raise


def as_text(event: LiveEvent) -> str | None:
    """An event for people, on one line; None for those that need not be seen."""
    match event:
        case Reply():
            return f"avatar: {one_line(event.text)}"
        case LinkLost():
            return f"connection lost ({one_line(event.why)}); trying again in {event.retry_in_s:.1f} s"
        case LinkUp(connects=connects) if connects > 1:
            return "connected again"
        case SendingRefused():
            return f"the platform refuses what is sent ({one_line(event.why)})"
        case SendingAccepted():
            return f"the platform accepts again; it has refused {event.refused_messages} messages"
        case ConversationRenewed():
            return "the platform has given a new conversation"
        case EchoEvent():
            return f"echo: {one_line(event.message)}"
        case SessionRenewed():
            return "a new session has begun"
        case _:
            return None


def as_plain(event: LiveEvent | TurnEvent | CaptureEvent) -> dict[str, Any]:
    """An event as JSON: its kind and its fields, but for secrets, which no repr shows either."""
    fields = {item.name: getattr(event, item.name) for item in dataclasses.fields(event) if item.repr}
    return {"event": type(event).__name__} | {name: value for name, value in fields.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def summary(streamed: Streamed) -> dict[str, Any]:
    """What was captured and what became of it, in samples at 16 kHz."""
    return {
        "event": "summary",
        "frames_sent": streamed.live.sent_frames,
        "samples_captured": streamed.capture.captured_samples,
        "samples_sent": streamed.live.sent_samples,
        "samples_gated": streamed.gate.gated_samples,
        "turns": streamed.gate.turns,
        "samples_lost": streamed.lost_samples,
        "samples_unsent": streamed.unsent_samples,
        "reconnects": streamed.live.reconnects,
        "age_at_send_ms": streamed.age_at_send_ms,
    }


def table(result: dict[str, Any]) -> str:
    """The summary for people."""
    age = result["age_at_send_ms"]
    ages = f"; age at send p50 {age['p50']:.1f} ms, p99 {age['p99']:.1f} ms" if result["frames_sent"] else ""
    unsent = f", {result['samples_unsent']} not sent at the end" if result["samples_unsent"] else ""
    return (
        f"sent {result['frames_sent']} frames in {result['turns']} turns, {result['samples_sent']} of "
        f"{result['samples_captured']} samples; lost {result['samples_lost']}{unsent}; "
        f"{result['reconnects']} reconnects{ages}"
    )
