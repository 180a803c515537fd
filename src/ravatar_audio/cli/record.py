"""`ravatar-audio record`: one turn as a file, taken as `live` takes them, without a platform."""

import contextlib
import dataclasses
import json
import math
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import trio

from ravatar_audio.capture import open_source
from ravatar_audio.choices import RECORDING_FORMATS
from ravatar_audio.cli.controls import KEYS, control
from ravatar_audio.cli.live import SOUND, TURNS
from ravatar_audio.cli.meter import Meter, gate_state
from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import INTERRUPTS, Seconds, SectionedCommand, load_settings, run, settings_options
from ravatar_audio.errors import NothingHeardError, RavatarError, SettingsError
from ravatar_audio.frames import RATE_HZ, Frame
from ravatar_audio.session import Recordings, TurnSource
from ravatar_audio.settings import Settings
from ravatar_audio.turns import Recording, TurnMode

LATE_S = 2.0
"""How much longer than its sound an open recording may take: a microphone that has stopped does not hold it up."""


@click.command(name="record", cls=SectionedCommand)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--source",
    "spec",
    default="mic",
    show_default=True,
    help="mic, a sound file, - (PCM on standard input), or synthetic:speech|tone|sweep|noise.",
)
@click.option("--seconds", type=Seconds(0.1, 3_600), default=120.0, show_default=True, help="Longest recording.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object.")
@settings_options(microphone=SOUND, turns=TURNS, other=("debug",))
def command(file: str, spec: str, seconds: float, as_json: bool, settings_file: str | None, **given: Any) -> None:
    """Record one turn to FILE, 16 kHz mono: a .wav, or with the extra "webm" a .webm; `ravatar-audio say` sends it.

    Without --mode, or with an open microphone, until interrupted; with ptt while the space bar is held (or between
    SIGUSR1 and SIGUSR2); with vad until nobody speaks any more. x cancels the turn, and the next one is recorded.
    """
    settings = load_settings(settings_file, given)
    if settings.mode == "auto":
        settings = dataclasses.replace(settings, mode="open")
    path = Path(file)
    format = path.suffix.removeprefix(".").lower()
    if format not in RECORDING_FORMATS:
        raise click.UsageError(f"{file!r} must end in .wav or .webm")

    kept: list[Recording] = []
    heard_samples, loudest_dbfs = 0, -math.inf

    async def work() -> None:
        meter = Meter(lambda: gate_state(turns.gate)) if sys.stderr.isatty() else None
        is_enough = trio.Event()

        def hear(frame: Frame) -> None:
            nonlocal heard_samples, loudest_dbfs
            heard_samples += frame.length_samples
            loudest_dbfs = max(loudest_dbfs, frame.rms_dbfs)
            if heard_samples >= seconds * RATE_HZ:
                is_enough.set()
            if meter:
                meter.show(frame)

        source = open_source(settings, spec)
        turns = TurnSource.from_settings(settings, source, on_frame=hear)
        async with turns, trio.open_nursery() as nursery:

            async def stop_when_interrupted() -> None:
                with trio.open_signal_receiver(*INTERRUPTS) as signals:
                    async for _ in signals:
                        await source.stop()  # what was heard until now is kept

            async def stop_in_time() -> None:
                if turns.gate.mode is TurnMode.OPEN:
                    with trio.move_on_after(seconds + LATE_S):
                        await is_enough.wait()
                    await source.stop()

            nursery.start_soon(stop_when_interrupted)
            nursery.start_soon(stop_in_time)
            if await nursery.start(control, turns) and turns.gate.mode is TurnMode.PTT:
                echo(KEYS, err=True)
            try:
                recording = await anext(Recordings(turns, limit_s=seconds), None)
            finally:
                if meter:
                    meter.close()
            nursery.cancel_scope.cancel()
        if recording is not None:
            kept.append(recording)

    part = new_part(path)  # that it cannot be written is found out before anything is said, not after
    try:
        run(work)
        if not kept:
            raise nothing_heard(settings, heard_samples / RATE_HZ, loudest_dbfs)
        with writing(part):
            part.write_bytes(kept[0].encoded(format))
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    echo(json.dumps(summary(path, kept[0])) if as_json else table(path, kept[0]), err=not as_json)


def nothing_heard(settings: Settings, heard_s: float, loudest_dbfs: float) -> NothingHeardError:
    """Return why there is no recording, and what would have made one."""
    if not heard_s:
        return NothingHeardError("nothing was recorded: there was no sound", advice="'ravatar-audio doctor' looks why.")
    loudest = "digital silence" if loudest_dbfs == -math.inf else f"{loudest_dbfs:.1f} dBFS at its loudest"
    heard = f"in {heard_s:.1f} s of sound ({loudest})"
    if settings.mode == "ptt":
        return NothingHeardError(
            f"nothing was recorded: {heard} no button was held for {settings.shortest_press_ms:g} ms",
            advice="Hold the space bar, or send SIGUSR1 and SIGUSR2, around what you say; --mode open needs no button.",
        )
    return NothingHeardError(
        f"nothing was recorded: {heard} nobody spoke",
        advice="Speak louder or nearer, or raise --gain; --mode open records everything."
        if settings.detector != "energy"
        else f"Speech begins at {settings.speech_dbfs:g} dBFS: speak louder or nearer, raise --gain, or lower "
        "--speech-dbfs; --mode open records everything.",
    )


def new_part(path: Path) -> Path:
    """Make an empty file beside `path`, under a name that was free; it is to become `path` when it is whole."""
    with writing(path):
        while True:
            part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
            with contextlib.suppress(FileExistsError):
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                return part


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise SettingsError where a file cannot be written."""
    try:
        yield
    except RavatarError:  # some are an OSError too
        raise
    except OSError as error:
        raise SettingsError(
            f"{str(path)!r} cannot be written: {error.strerror}",
            advice="Name a file in a folder that exists and that this user may write to.",
        ) from error


def summary(path: Path, recording: Recording) -> dict[str, Any]:
    """Return what was recorded."""
    return {
        "event": "summary",
        "file": str(path),
        "samples": recording.samples,
        "samples_lost": recording.lost_samples,
        "samples_cut": recording.cut_samples,
    }


def table(path: Path, recording: Recording) -> str:
    """Return the summary for people."""
    cut = f", cut at {recording.duration_s:g} s" if recording.cut_samples else ""
    lost = f", {recording.lost_samples} samples lost" if recording.lost_samples else ""
    return f"recorded {recording.duration_s:.1f} s to {path}{cut}{lost}"
