"""`ravatar-audio emulator`: a local RAVATAR platform to develop against."""

import json
from typing import Any

import click
import trio

from ravatar_audio.cli.run import run
from ravatar_audio.emulator import Emulator, EmulatorSettings, EmulatorStatistics, Fault, read_faults, server_tls


@click.command(name="emulator")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8_642, show_default=True, help="Port; 0: any free one.")
@click.option(
    "--wav-dir", type=click.Path(file_okay=False), default="heard", show_default=True, help="Folder of WAV files."
)
@click.option("--slots", type=click.IntRange(0), default=4, show_default=True, help="Live sessions at a time.")
@click.option("--token-lifetime", type=click.FloatRange(0.001), default=86_400.0, show_default=True, help="Seconds.")
@click.option("--vad", is_flag=True, help="Say vadEnabled to clients.")
@click.option("--tls", "certificate", type=click.Path(dir_okay=False), help="Certificate and key (PEM): https and wss.")
@click.option("--fault", "faults", multiple=True, help="A fault, as 'startLiveSession status=503 times=2'. Repeatable.")
@click.option("--faults", "fault_file", type=click.Path(dir_okay=False), help="File of faults (TOML or JSON).")
@click.option("--json", "as_json", is_flag=True, help="What was heard as one JSON object on the last line.")
def command(
    host: str,
    port: int,
    wav_dir: str,
    slots: int,
    token_lifetime: float,
    vad: bool,
    certificate: str | None,
    faults: tuple[str, ...],
    fault_file: str | None,
    as_json: bool,
) -> None:
    """Run a platform on this machine: all endpoints, strict about every message; what it hears is kept as WAV files.

    It needs no account and has no AI: it answers with what it heard. Interrupt it to see what it counted.
    """
    settings = EmulatorSettings(
        host=host,
        port=port,
        wav_dir=wav_dir,
        slots=slots,
        token_lifetime_s=token_lifetime,
        vad_enabled=vad,
        tls=server_tls(certificate) if certificate else None,
        faults=(*(read_faults(fault_file) if fault_file else ()), *map(Fault.parse, faults)),
    )

    async def work() -> None:
        async with Emulator(settings) as emulator:
            click.echo(f"listening on {emulator.api_url}  (RAVATAR_API_URL={emulator.api_url})", err=True)
            click.echo(f"WAV files in {emulator.folder}; interrupt to end", err=True)
            try:
                await trio.sleep_forever()
            finally:
                result = summary(emulator.statistics())
                click.echo(json.dumps(result) if as_json else table(result))

    run(work)


def summary(heard: EmulatorStatistics) -> dict[str, Any]:
    """What was heard since the start."""
    return {
        "connections": len(heard.connections),
        "live_sessions": len(heard.live),
        "frames": heard.frames,
        "samples": heard.samples,
        "violations": heard.violation_count,
        "faults_fired": heard.faults_fired,
        "wavs": [str(live.wav) for live in heard.live if live.wav],
    }


def table(result: dict[str, Any]) -> str:
    """The summary for people."""
    lines = [f"{name.replace('_', ' '):<14} {result[name]}" for name in result if name != "wavs"]
    return "\n".join(lines + [f"heard as       {wav}" for wav in result["wavs"]])
