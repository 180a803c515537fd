"""`ravatar-audio devices`: the microphones there are."""

import contextlib
import dataclasses
import json
import shlex
import sys
from collections.abc import Mapping

import click
import trio

from ravatar_audio.capture import Device, Microphone
from ravatar_audio.capture.devices.channels import ChannelsLook, numbers_text
from ravatar_audio.capture.streams.device_list import find_devices_in_time
from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import Seconds, run
from ravatar_audio.diagnosis.listening import look_at
from ravatar_audio.errors import DeviceNotFoundError, MediaError, RavatarError, RecorderError
from ravatar_audio.printable import one_line

LATE_S = 0.2
"""Longest wait for a device's first block."""
MONITOR = ", hears what the loudspeaker plays"


@click.command(name="devices")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of text.")
@click.option(
    "--listen",
    "listen_s",
    type=Seconds(0, 60),
    default=1.0,
    show_default=True,
    help="Seconds to listen to devices of more than one channel; 0: not at all.",
)
def command(as_json: bool, listen_s: float) -> None:
    """List the microphones, each with what chooses it, what captures it and what it can do by itself.

    Of a device with more than one channel it shows each, and which to hear: speak meanwhile, and let the loudspeaker
    play, as an array may have a channel that repeats it.

    --device takes a selector as listed (usb:VID:PID, card:ID), a name, or a part of a name that fits only one. These
    survive a reboot and replugging; a number (PortAudio's index) does not.
    """
    found: list[tuple[list[Device], RecorderError | None]] = []
    looks: dict[Device, ChannelsLook] = {}

    async def work() -> None:
        found.append(await find_devices_in_time())
        looks.update(await look_at_all(found[0][0], listen_s))

    run(work)
    ((devices, missing),) = found
    if missing is not None:
        echo(f"Only hardware is listed, no sound server: {missing.message}. {missing.advice}", err=True)
    if as_json:
        echo(json.dumps([_as_dict(device, devices, looks.get(device)) for device in devices]))
    elif devices:
        echo(page(devices, looks))
    else:
        echo("No microphone was found.", err=True)
        echo(f"  {DeviceNotFoundError.advice_on(sys.platform)}", err=True)
        echo("  'ravatar-audio doctor' says what stands in the way.", err=True)


async def look_at_all(devices: list[Device], listen_s: float) -> dict[Device, ChannelsLook]:
    """Listen to what has more than one channel and is no sound server; what cannot be opened is left out.

    All at once, and then one by one what was busy: two names may stand for one device.
    """
    looks: dict[Device, ChannelsLook] = {}

    async def look(device: Device) -> None:
        microphone = Microphone(f"alsa:{device.pcm}", backend="alsa", recover_s=0)
        with contextlib.suppress(RavatarError):
            async with microphone:
                microphone.tap(listen_s)
                await trio.sleep(listen_s + LATE_S)
                if found := look_at(microphone, device.usb_id):
                    looks[device] = found

    fit = [device for device in devices if device.pcm and device.channels > 1 and not device.problem]
    listened = [device for device in fit if listen_s and not device.is_converter]
    async with trio.open_nursery() as nursery:
        for device in listened:
            nursery.start_soon(look, device)
    for device in listened:
        if device not in looks:
            await look(device)
    return looks


def _as_dict(device: Device, devices: list[Device], look: ChannelsLook | None) -> dict[str, object]:
    derived = {name: getattr(device, name) for name in ("backend", "backend_reason")}
    found = dataclasses.asdict(look) if look else None
    return dataclasses.asdict(device) | derived | {"selector": device.selector_among(devices), "listened": found}


def page(devices: list[Device], looks: Mapping[Device, ChannelsLook] | None = None) -> str:
    """Show all devices for people; `looks` has what was heard of some."""
    has_default = any(device.is_default for device in devices)
    last = "* is the default." if has_default else "The system has no default."
    looks = looks or {}
    return "\n".join([*(described(device, devices, looks.get(device)) for device in devices), last])


def offers(device: Device) -> list[str]:
    """Return what it can do; or why that cannot be asked now, and what to do."""
    if not device.problem:
        return [f"    offers    {device.offers}"]
    kinds = {kind.code: kind for kind in MediaError.__subclasses__()}
    return [f"    now       {device.problem}", f"    to do     {kinds[device.problem].advice_on(sys.platform)}"]


def channel_lines(look: ChannelsLook | None) -> list[str]:
    """Return what each channel carries, and which to hear."""
    if look is None:
        return []
    first, *further = map(str, look.channels)
    advice = [f"    to do     {'; '.join(look.reasons)}. {look.advice}"] if look.reasons else []
    return [
        f"    heard     {numbers_text(look.heard)}",
        f"    sound     {first}",
        *(f"{'':14}{line}" for line in further),
        *advice,
    ]


def described(device: Device, devices: list[Device], look: ChannelsLook | None = None) -> str:
    """Return a device for people, in a few lines; an asterisk marks the default one."""
    identity = {
        "card": device.card_id,
        "USB": device.usb_id,
        "serial": device.serial,
        "port": device.port,
        "ALSA name": device.pcm,
        "source": device.source,
        "bus": device.bus,
        "kind": device.form_factor,
        "profile": device.profile,
        "index": "" if device.index is None else str(device.index),
    }
    lines = [
        f"{'*' if device.is_default else ' '} {device.name} ({device.host_api}{MONITOR if device.is_monitor else ''})",
        f"    select    --device {shlex.quote(device.selector_among(devices))}",
        f"    backend   {device.backend}: {device.backend_reason}",
        *offers(device),
        *channel_lines(look),
        f"    identity  {', '.join(f'{what} {value}' for what, value in identity.items() if value)}",
    ]
    return "\n".join(map(one_line, lines))
