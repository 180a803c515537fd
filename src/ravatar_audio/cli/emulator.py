"""`ravatar-audio emulator`: a local RAVATAR platform to develop against."""

import json
from typing import Any

import click
import trio

from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import Seconds, run
from ravatar_audio.emulator import (
    EmulatedAvatar,
    Emulator,
    EmulatorSettings,
    EmulatorStatistics,
    Fault,
    read_faults,
    server_tls,
)
from ravatar_audio.emulator.load_emulator import LoadEmulator
from ravatar_audio.emulator.settings import AVATARS, LANGUAGES
from ravatar_audio.errors import SettingsError
from ravatar_audio.settings import PROJECT_ID

SECONDS = Seconds(0.001)


@click.command(name="emulator")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8_642, show_default=True, help="Port; 0: any free one.")
@click.option("--tls", "certificate", type=click.Path(dir_okay=False), help="Certificate (PEM): https and wss.")
@click.option("--tls-key", "key", type=click.Path(dir_okay=False), help="Its key; default: in the certificate's file.")
@click.option(
    "--wav-dir", type=click.Path(file_okay=False), default="heard", show_default=True, help="Folder of WAV files."
)
@click.option("--slots", type=click.IntRange(0), default=4, show_default=True, help="Live sessions at a time.")
@click.option("--token-lifetime", type=SECONDS, default=86_400.0, show_default=True, help="Seconds that a JWT is good.")
@click.option(
    "--session-idle",
    type=SECONDS,
    default=120.0,
    show_default=True,
    help="Seconds without a connection after which a live session expires.",
)
@click.option("--session-lifetime", type=SECONDS, help="Seconds after which it expires in any case; default: never.")
@click.option(
    "--reply-every", type=SECONDS, default=5.0, show_default=True, help="Seconds of sound between answers in a turn."
)
@click.option("--project", "projects", multiple=True, help="A project id that exists. Repeatable; default: every one.")
@click.option(
    "--avatar",
    "avatars",
    multiple=True,
    metavar="ID[:NAME[:chat]]",
    help="An avatar; with 'chat' it has no Live Mode. Repeatable; default: ava, ben, and clara:Clara:chat.",
)
@click.option(
    "--language", "languages", multiple=True, metavar="CODE[:NAME]", help="A language. Repeatable; default: three."
)
@click.option("--vad", is_flag=True, help="Say vadEnabled to clients.")
@click.option("--ping-every", type=SECONDS, help="Seconds between the server's own pings; default: none.")
@click.option("--observed-names", is_flag=True, help="Spell answers as deployments do: token, id, code, content, date.")
@click.option("--refusal", metavar="JSON", help="What to answer to a message that is refused; default: what is wrong.")
@click.option("--frame-ancestors", help="Who may frame the streaming page, as \"'none'\"; default: everybody.")
@click.option("--receive-buffer", type=click.IntRange(1), help="Bytes that are taken while the server reads nothing.")
@click.option("--fault", "faults", multiple=True, help="A fault, as 'startLiveSession status=503 times=2'. Repeatable.")
@click.option("--faults", "fault_file", type=click.Path(dir_okay=False), help="File of faults (TOML or JSON).")
@click.option(
    "--load", "for_load", is_flag=True, help="A mode for thousands of clients: no WAV files, checks by sample."
)
@click.option("--workers", type=click.IntRange(1), help="With --load: processes that share the port; default: 1.")
@click.option("--json", "as_json", is_flag=True, help="What was heard as one JSON object on the last line.")
def command(as_json: bool, for_load: bool, workers: int | None, **given: Any) -> None:
    """Run a platform on this machine: all endpoints, strict about every message; what it hears is kept as WAV files.

    It needs no account and has no AI: it answers with what it heard. Interrupt it to see what it counted.
    """
    settings = settings_from(given)
    if workers is not None and not for_load:
        raise SettingsError("--workers needs --load: the whole emulator is one process", advice="Add --load.")
    if for_load:
        run_for_load(settings, workers or 1, as_json)
        return

    async def work() -> None:
        async with Emulator(settings) as emulator:
            echo(f"listening on {emulator.api_url}  (RAVATAR_API_URL={emulator.api_url})", err=True)
            echo(f"WAV files in {emulator.folder}; interrupt to end", err=True)
            try:
                await trio.sleep_forever()
            finally:
                result = summary(emulator.statistics())
                echo(json.dumps(result) if as_json else table(result))

    run(work)


def run_for_load(settings: EmulatorSettings, workers: int, as_json: bool) -> None:
    """Run the mode for load until interrupted."""
    with LoadEmulator(settings, workers) as emulator:

        async def work() -> None:
            echo(f"listening on {emulator.api_url}  (RAVATAR_API_URL={emulator.api_url})", err=True)
            echo(f"for load, {workers} process{'es' * (workers > 1)}; interrupt to end", err=True)
            try:
                await trio.sleep_forever()
            finally:
                counts = emulator.counters.as_dict()
                echo(json.dumps(counts) if as_json else table(counts))

        run(work)


def settings_from(given: dict[str, Any]) -> EmulatorSettings:
    """Return the settings that the command's options mean; raises SettingsError."""
    file, lines = given["fault_file"], given["faults"]
    if given["key"] and not given["certificate"]:
        raise SettingsError("a key without its certificate is no use", advice="Name the certificate as well: --tls.")
    return EmulatorSettings(
        host=given["host"],
        port=given["port"],
        tls=server_tls(given["certificate"], given["key"]) if given["certificate"] else None,
        wav_dir=given["wav_dir"],
        slots=given["slots"],
        token_lifetime_s=given["token_lifetime"],
        session_idle_s=given["session_idle"],
        session_lifetime_s=given["session_lifetime"],
        reply_every_s=given["reply_every"],
        projects=tuple(map(_project, given["projects"])) or None,
        avatars=tuple(map(_avatar, given["avatars"])) or AVATARS,
        languages=tuple(map(_language, given["languages"])) or LANGUAGES,
        vad_enabled=given["vad"],
        ping_every_s=given["ping_every"],
        observed_names=given["observed_names"],
        refusal=given["refusal"],
        frame_ancestors=given["frame_ancestors"],
        receive_buffer_bytes=given["receive_buffer"],
        faults=(*(read_faults(file) if file else ()), *map(Fault.parse, lines)),
    )


def _project(text: str) -> str:
    if not PROJECT_ID.fullmatch(text):
        raise SettingsError(f"project {text!r} cannot exist: it is 1 to 64 letters, digits or '-'")
    return text


def _avatar(text: str) -> EmulatedAvatar:
    identifier, name, kind = (*text.split(":"), "", "")[:3]
    if not identifier or kind not in ("", "chat"):
        raise SettingsError(f"avatar {text!r} is not of the form ID[:NAME[:chat]]")
    name = name or identifier
    return EmulatedAvatar(identifier, name, kind != "chat", f"Hello, I am {name}.")


def _language(text: str) -> tuple[str, str]:
    code, _, name = text.partition(":")
    if not code:
        raise SettingsError(f"language {text!r} is not of the form CODE[:NAME]")
    return name or code, code


def summary(heard: EmulatorStatistics) -> dict[str, Any]:
    """Return what was heard since the start."""
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
    """Return the summary for people."""
    lines = [f"{name.replace('_', ' '):<14} {result[name]}" for name in result if name != "wavs"]
    return "\n".join(lines + [f"heard as       {wav}" for wav in result.get("wavs", ())])
