"""`ravatar-audio support-bundle`: one archive for whoever shall find out what is wrong."""

import contextlib
import dataclasses
import json
import os
import time
from pathlib import Path

import click

from ravatar_audio.capture.streams.device_list import find_devices_in_time
from ravatar_audio.cli.kiosk_status import ADDRESS_FILE, asked
from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import run
from ravatar_audio.diagnosis import diagnose
from ravatar_audio.diagnosis.bundle import (
    archive,
    collected,
    known_secrets,
    settings_text,
    state_listing,
    system_parts,
    without_conversation,
)
from ravatar_audio.errors import RavatarError, SettingsError
from ravatar_audio.settings import Settings

SOUND = (".wav", ".pcm", ".webm")


@click.command(name="support-bundle")
@click.option("--output", type=click.Path(dir_okay=False), help="The file; default: here, named by the time.")
@click.option(
    "--settings", "settings_file", type=click.Path(), help="TOML file of settings; default: RAVATAR_SETTINGS."
)
@click.option(
    "--address-file", default=ADDRESS_FILE, show_default=True, type=click.Path(dir_okay=False), help="The kiosk's."
)
@click.option("--sound", is_flag=True, help="With recordings that the state folder has, and what was said.")
@click.option("--offline", is_flag=True, help="Do not examine the network and the platform.")
def command(output: str | None, settings_file: str | None, address_file: str, sound: bool, offline: bool) -> None:
    """Collect what is needed to find out what is wrong, in one archive that only you can read.

    Log of the service and the kernel's, settings, state, devices, what doctor says of the platform, the system's
    figures. Without tokens, passwords, project and user id, and without sound and what was said, unless --sound asks
    for them; a log with debug = true may tell of the latter. Nothing is sent anywhere. Run it as root: others cannot
    read the service's log and settings.
    """
    settings, wrong = Settings(), ""
    try:
        settings = Settings.load(settings_file)
    except SettingsError as error:
        wrong = f"\n# They cannot be used: {error.message}\n"
    parts = system_parts()
    parts["settings.toml"] = lambda: settings_text(settings) + wrong
    parts["state.txt"] = lambda: state_listing(settings.state_path)
    parts["kiosk.json"] = lambda: _kiosk(address_file, sound)
    texts = collected(parts, known_secrets(settings))

    async def work() -> None:
        with contextlib.suppress(RavatarError):
            devices, _ = await find_devices_in_time()
            found = [dataclasses.asdict(device) for device in devices]
            texts.update(collected({"devices.json": lambda: json.dumps(found, indent=2, default=str)}, []))
        if not offline:
            findings = [dataclasses.asdict(each) for each in await diagnose(settings, microphone=False)]
            doctor = {"doctor.json": lambda: json.dumps(findings, indent=2)}
            texts.update(collected(doctor, known_secrets(settings)))

    run(work)
    recordings = []
    if sound:
        recordings = [
            path for path in sorted(settings.state_path.rglob("*")) if path.suffix in SOUND and path.is_file()
        ]
    file = Path(output or time.strftime("ravatar-audio-support-%Y%m%d-%H%M%S.tar.gz"))
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(archive(texts, recordings))
    echo(f"written: {file}, {file.stat().st_size // 1024} KiB. Please look at it before you send it.")


def _kiosk(address_file: str, is_all: bool) -> str:
    try:
        state = asked(address_file)
    except RavatarError as error:
        return json.dumps({"error": error.message})
    return json.dumps(state if is_all else without_conversation(state), indent=2)
