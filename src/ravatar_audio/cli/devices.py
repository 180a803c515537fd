"""`ravatar-audio devices`: the microphones there are."""

import dataclasses
import json

import click

from ravatar_audio.capture import Device, list_devices


@click.command(name="devices")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def command(as_json: bool) -> None:
    """List the microphones; --device takes a selector, a name, or a part of a name that fits only one of them.

    Under the backend "alsa" our own thread captures, as PortAudio does not survive the unplugging of hardware; under
    "portaudio" PortAudio's thread does, for sound servers and everything else.
    """
    devices = list_devices()
    if as_json:
        click.echo(json.dumps([_as_dict(device) for device in devices]))
    elif devices:
        click.echo(table(devices))
    else:
        click.echo("No microphone was found.", err=True)
        click.echo(
            "  Connect one; on Linux the user must be in the group 'audio', or a sound server must run.", err=True
        )


def _as_dict(device: Device) -> dict[str, object]:
    return dataclasses.asdict(device) | {"backend": device.backend, "selector": device.selector}


def table(devices: list[Device]) -> str:
    """The devices in columns; an asterisk marks the default one."""
    rows = [("", "index", "name", "host API", "channels", "rate", "backend", "selector")]
    rows += [
        (
            "*" if item.is_default else "",
            "" if item.index is None else str(item.index),
            item.name,
            item.host_api,
            str(item.channels),
            f"{item.rate_hz} Hz" if item.rate_hz else item.problem,
            item.backend,
            item.selector,
        )
        for item in devices
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = {1, 4, 5}
    lines = [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
