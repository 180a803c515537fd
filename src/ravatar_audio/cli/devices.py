"""`ravatar-audio devices`: the microphones there are."""

import dataclasses
import json
import shlex
import sys

import click

from ravatar_audio.capture import Device
from ravatar_audio.capture.finding import find_devices_in_time
from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import run
from ravatar_audio.errors import DeviceNotFoundError, MediaError, RecorderError
from ravatar_audio.printable import one_line


@click.command(name="devices")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of text.")
def command(as_json: bool) -> None:
    """List the microphones, each with what chooses it, what captures it and what it can do by itself.

    --device takes a selector as listed (usb:VID:PID, card:ID), a name, or a part of a name that fits only one. These
    survive a reboot and replugging; a number (PortAudio's index) does not.
    """
    found: list[tuple[list[Device], RecorderError | None]] = []

    async def work() -> None:
        found.append(await find_devices_in_time())

    run(work)
    ((devices, missing),) = found
    if missing is not None:
        echo(f"Only hardware is listed, no sound server: {missing.message}. {missing.advice}", err=True)
    if as_json:
        echo(json.dumps([_as_dict(device, devices) for device in devices]))
    elif devices:
        echo(page(devices))
    else:
        echo("No microphone was found.", err=True)
        echo(f"  {DeviceNotFoundError.advice_on(sys.platform)}", err=True)
        echo("  'ravatar-audio doctor' says what stands in the way.", err=True)


def _as_dict(device: Device, devices: list[Device]) -> dict[str, object]:
    derived = {name: getattr(device, name) for name in ("backend", "backend_reason")}
    return dataclasses.asdict(device) | derived | {"selector": device.selector_among(devices)}


def page(devices: list[Device]) -> str:
    """All devices for people."""
    has_default = any(device.is_default for device in devices)
    last = "* is the default." if has_default else "The system has no default."
    return "\n".join([*(described(device, devices) for device in devices), last])


def offers(device: Device) -> list[str]:
    """What it can do; or why that cannot be asked now, and what to do."""
    if not device.problem:
        return [f"    offers    {device.offers}"]
    kinds = {kind.code: kind for kind in MediaError.__subclasses__()}
    return [f"    now       {device.problem}", f"    to do     {kinds[device.problem].advice_on(sys.platform)}"]


def described(device: Device, devices: list[Device]) -> str:
    """A device for people, in a few lines; an asterisk marks the default one."""
    identity = {
        "card": device.card_id,
        "USB": device.usb_id,
        "serial": device.serial,
        "port": device.port,
        "ALSA name": device.pcm,
        "index": "" if device.index is None else str(device.index),
    }
    lines = [
        f"{'*' if device.is_default else ' '} {device.name} ({device.host_api})",
        f"    select    --device {shlex.quote(device.selector_among(devices))}",
        f"    backend   {device.backend}: {device.backend_reason}",
        *offers(device),
        f"    identity  {', '.join(f'{what} {value}' for what, value in identity.items() if value)}",
    ]
    return "\n".join(map(one_line, lines))
