"""Finding the devices of this system.

Hardware comes first, from the kernel: it is fresh, quiet and opens nothing for long. Then come a sound server's
sources, by its own word. PortAudio's list adds plugins and other systems; its own view of the hardware is left out, as
it is a snapshot of when it was initialised.
"""

import dataclasses
import logging
import re
import shlex
from collections.abc import Mapping

import trio

from ravatar_audio.capture.devices.cards import list_capture_devices
from ravatar_audio.capture.devices.device import Device, choose_device, fitting_devices
from ravatar_audio.capture.host.blocking_call import call_in_thread
from ravatar_audio.capture.servers.sources import as_devices, ask_server
from ravatar_audio.capture.servers.status import RESTART_ADVICE
from ravatar_audio.capture.streams import alsa
from ravatar_audio.capture.streams.portaudio import PortAudio
from ravatar_audio.errors import DeviceNotFoundError, MediaError, RecorderError
from ravatar_audio.observe.log import line_logger

log: logging.Logger = line_logger(__name__)

LIST_TIMEOUT_S = 8.0
"""Longest wait for the list: PortAudio takes a second for each device that is busy."""

_HARDWARE_NAME = re.compile(r"\((hw:\d+,\d+)\)$")


def list_devices() -> list[Device]:
    """The input devices of this system. Blocks for a moment: in trio, call it through trio.to_thread.run_sync.

    Without PortAudio these are the kernel's own devices and a sound server's sources; on systems where PortAudio is the
    only way to a microphone that raises RecorderError.
    """
    devices, missing = find_devices()
    if missing is not None:
        log.debug("what only PortAudio serves is not listed: %s", missing.message)
    return devices


def find_devices() -> tuple[list[Device], RecorderError | None]:
    """As list_devices(), with the reason why PortAudio's share is missing."""
    served = list_sources()
    try:
        with PortAudio() as portaudio:
            listed = portaudio.devices()
    except RecorderError as error:
        if found := [*alsa.list_hardware(), *served]:
            return found, error
        raise
    return with_sources([_with_abilities(device) for device in with_hardware(listed)], served), None


def list_sources() -> list[Device]:
    """The sound server's sources; none where no server answers. Blocks for a moment."""
    return as_devices(ask_server())


def with_sources(listed: list[Device], served: list[Device]) -> list[Device]:
    """What a sound server says of its default counts, and its sources come after the hardware. Pure."""
    if any(device.is_default for device in served):
        listed = [dataclasses.replace(device, is_default=False) for device in listed]
    hardware = [device for device in listed if device.is_hardware]
    return [*hardware, *served, *(device for device in listed if not device.is_hardware)]


async def find_devices_in_time(timeout_s: float = LIST_TIMEOUT_S) -> tuple[list[Device], RecorderError | None]:
    """As find_devices(), but for a sound library that hangs, as with a sound server that does not answer.

    Then it is left behind, with hardware only, and blocking_call.stuck_calls() has it.
    """
    try:
        return await call_in_thread(find_devices, timeout_s=timeout_s, undo=lambda _: None)
    except trio.TooSlowError:
        hangs = RecorderError(
            f"the sound library has not listed its devices for {timeout_s:g} s",
            advice=RESTART_ADVICE if alsa.has_alsa() else None,
        )
    if found := await trio.to_thread.run_sync(lambda: [*alsa.list_hardware(), *list_sources()]):
        return found, hangs
    raise hangs


def _with_abilities(device: Device) -> Device:
    """What ALSA says of a device that PortAudio lists; PortAudio itself reports one rate only."""
    if device.is_hardware or not device.pcm or not alsa.has_alsa():
        return device
    try:
        abilities = alsa.probe(device.pcm)
    except MediaError as error:
        return dataclasses.replace(device, problem=error.code)
    return dataclasses.replace(device, rates_hz=abilities.rates_hz, formats=abilities.formats)


def with_hardware(listed: list[Device]) -> list[Device]:
    """The kernel's own devices, and what PortAudio lists besides."""
    numbers = {f"hw:{found.card_number},{found.device_number}": found.pcm for found in list_capture_devices()}
    return merged(alsa.list_hardware(), listed, numbers)


def merged(hardware: list[Device], listed: list[Device], numbers: Mapping[str, str]) -> list[Device]:
    """Hardware, then what PortAudio lists besides it. Pure; `numbers` maps PortAudio's "hw:1,0" to ALSA's names."""
    doubles = {
        device.index: numbers.get(found[1]) for device in listed if (found := _HARDWARE_NAME.search(device.name))
    }
    known = {device.pcm for device in hardware}
    default = next((doubles.get(device.index) for device in listed if device.is_default), None)
    first = [dataclasses.replace(device, is_default=device.pcm == default) for device in hardware]
    return first + [device for device in listed if doubles.get(device.index) not in known]


def find_without_portaudio(selector: str | int | None) -> Device | None:
    """The device when the selector fits the kernel's own, a sound server's source, or is ALSA's name; else None."""
    kind = str(selector or "default").partition(":")[0].casefold()
    if kind == "pulse":
        return find_source(selector)
    if kind != "default" and alsa.has_alsa() and (found := _hardware(selector)):
        return found
    if kind == "card" or kind.isdigit():
        return None
    answer = ask_server()
    if answer.hangs:  # PortAudio would hang with it
        raise RecorderError(
            f"the sound server takes connections, and that is all: {answer.failure}", advice=RESTART_ADVICE
        )
    if not (served := as_devices(answer)):
        return None
    if kind == "default":
        return _default_of(served)
    return choose_device(served, selector) if fitting_devices(served, selector) else None


def find_source(selector: str | int | None) -> Device:
    """The sound server's source that the selector names. Raises DeviceNotFoundError."""
    answer = ask_server()
    if answer.failure:
        raise DeviceNotFoundError(f"no sound server answers: {answer.failure}", errno="ECONNREFUSED")
    served = as_devices(answer)
    return _default_of(served) if selector in (None, "", "default") else choose_device(served, selector)


def _default_of(served: list[Device]) -> Device:
    """A server whose default is a monitor has a microphone all the same, where it has one only."""
    if default := next((device for device in served if device.is_default), None):
        return default
    microphones = [device for device in served if not device.is_monitor] or alsa.list_hardware()
    if len(microphones) == 1:
        return microphones[0]
    if microphones:
        options = " or ".join(f"--device {shlex.quote(device.selector)}" for device in microphones)
        raise DeviceNotFoundError("the sound server's default is no microphone", advice=f"Choose one: {options}.")
    raise DeviceNotFoundError("the sound server has no microphone, only what its loudspeakers play")


def _hardware(selector: str | int | None) -> Device | None:
    try:
        return choose_device(alsa.list_hardware(), selector)
    except DeviceNotFoundError as error:
        if error.details.get("candidates") and str(selector).startswith("card:"):
            raise
        return None
