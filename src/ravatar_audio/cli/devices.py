"""`ravatar-audio devices`: the microphones there are."""

import dataclasses
import json

import click

from ravatar_audio.capture import Device, list_devices


@click.command(name="devices")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def command(as_json: bool) -> None:
    """List the microphones: what --device takes is a name or a part of one that fits only one of them."""
    devices = list_devices()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(device) for device in devices]))
    elif devices:
        click.echo(table(devices))
    else:
        click.echo("No microphone was found.", err=True)
        click.echo(
            "  Connect one; on Linux the user must be in the group 'audio', or a sound server must run.", err=True
        )


def table(devices: list[Device]) -> str:
    """The devices in columns; an asterisk marks the default one."""
    rows = [("", "index", "name", "host API", "channels", "rate")]
    rows += [
        (
            "*" if item.is_default else "",
            str(item.index),
            item.name,
            item.host_api,
            str(item.channels),
            f"{item.rate_hz} Hz",
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
