"""Our own capture thread over ALSA (csrc/streams/rva_alsa.h), and what the kernel says about its devices."""

import errno
import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ravatar_audio._core import ffi, lib
from ravatar_audio.capture.devices.cards import CaptureDevice, list_capture_devices
from ravatar_audio.capture.devices.device import Device, channels_text
from ravatar_audio.capture.host.stderr_capture import chatter_to_log
from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.capture.streams.stream import PRIORITY, CoreStream, StreamRequest
from ravatar_audio.errors import (
    ConstraintsError,
    DeviceInUseError,
    DeviceNotFoundError,
    MediaError,
    PermissionDeniedError,
    RecorderError,
)
from ravatar_audio.native import SAMPLE_BYTES, Chain, format_code

_KINDS: dict[int, type[MediaError]] = {
    errno.EACCES: PermissionDeniedError,
    errno.EPERM: PermissionDeniedError,
    errno.EBUSY: DeviceInUseError,
    errno.ENODEV: DeviceNotFoundError,
    errno.ENOENT: DeviceNotFoundError,
    errno.ENXIO: DeviceNotFoundError,
    errno.ECONNREFUSED: DeviceNotFoundError,
    errno.EINVAL: ConstraintsError,
}
BUSY_PATIENCE_S = 0.3
"""For a device that is to be opened and is busy: another program may only be listing it."""
_CONSTRAINTS = (lib.RVA_ERROR_RATE, lib.RVA_ERROR_CHANNELS, lib.RVA_ERROR_FORMAT)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a device can do by itself."""

    channels_min: int
    channels_max: int
    rates_hz: tuple[int, ...]
    """Of the usual rates, ascending; where it has none of them, the nearest to 48,000 that it has."""
    formats: tuple[str, ...]
    is_hardware: bool
    least_block_s: float = 0.0
    """Least sound that it gathers before it gives any; 0: not known."""

    def __str__(self) -> str:
        rates = ", ".join(map(str, self.rates_hz))
        least = f"{self.channels_min} to " if self.channels_min < self.channels_max else ""
        return f"{rates} Hz; {least}{channels_text(self.channels_max)}; {', '.join(self.formats)}"


@functools.cache
def _library() -> Any:
    out = ffi.new("rva_alsa **")
    if lib.rva_alsa_bind(out) != lib.RVA_OK:
        return None
    lib.rva_quiet_libraries()
    return out[0]


def has_alsa() -> bool:
    """libasound is there."""
    return _library() is not None


def _raise_for(code: int, what: str) -> NoReturn:
    number = lib.RVA_ERROR_SYSTEM - code
    if number <= 0:  # one of the core's own
        raise RecorderError(f"{what}: {ffi.string(lib.rva_error_text(code)).decode()}", core_code=code)
    raise error_for(number, what)


def error_for(number: int, what: str) -> MediaError:
    """The media error for an errno that ALSA gave."""
    kind = _KINDS.get(number, RecorderError)
    return kind(f"{what}: {os.strerror(number)}", errno=errno.errorcode.get(number, number))


def _patiently(call: Callable[[], int], patience_s: float) -> int:
    """The call's code; while the device is busy it is made again: whoever lists devices holds each for a moment."""
    until_s = time.monotonic() + patience_s
    while (code := call()) == lib.RVA_ERROR_SYSTEM - errno.EBUSY and time.monotonic() < until_s:
        time.sleep(0.02)
    return code


def probe(pcm: str, patience_s: float = 0.0) -> Abilities:
    """Ask a device what it can do, by opening it for a moment; one that is busy is tried again for `patience_s`.

    Raises the media error for what stands in the way: PermissionDeniedError, DeviceInUseError, DeviceNotFoundError, or
    RecorderError, also where there is no libasound.
    """
    if _library() is None:
        raise RecorderError("libasound.so.2 cannot be loaded", advice="Install it (Debian: libasound2).")
    raw = ffi.new("rva_alsa_abilities *")
    with chatter_to_log():
        code = _patiently(lambda: lib.rva_alsa_probe(_library(), os.fsencode(pcm), raw), patience_s)
    if code:
        _raise_for(code, f"the device {pcm!r} cannot be opened")
    return Abilities(
        channels_min=raw.channels_min,
        channels_max=raw.channels_max,
        rates_hz=tuple(rate for rate in ffi.unpack(raw.rates_hz, lib.RVA_ALSA_RATES) if rate),
        formats=tuple(name for name in SAMPLE_BYTES if raw.formats >> format_code(name) & 1),
        is_hardware=bool(raw.is_hardware),
        least_block_s=raw.period_min_us * 1e-6,
    )


def list_hardware(root: Path = Path("/")) -> list[Device]:
    """The kernel's capture devices. One that cannot be opened now is listed too, with the reason as its `problem`."""
    return [_described(found) for found in list_capture_devices(root)] if has_alsa() else []


def _described(found: CaptureDevice) -> Device:
    channels, rate_hz, formats, problem = 0, 0, (), ""
    rates_hz: tuple[int, ...] = ()
    try:
        abilities = probe(found.pcm)
    except MediaError as error:
        problem = error.code
    else:
        channels, rates_hz, formats = abilities.channels_max, abilities.rates_hz, abilities.formats  # type: ignore[assignment]
        rate_hz = preferred_rate_hz(rates_hz)
    return Device(
        index=None,
        name=found.name,
        host_api="ALSA hardware",
        channels=channels,
        rate_hz=rate_hz,
        is_default=False,
        pcm=found.pcm,
        card_id=found.card_id,
        usb_id=found.usb_id,
        serial=found.serial,
        port=found.port,
        rates_hz=rates_hz,
        formats=formats,
        problem=problem,
    )


def preferred_rate_hz(rates_hz: tuple[int, ...]) -> int:
    """The rate that a microphone is most likely to run at by itself; 0 for none that can be converted."""
    return next((rate for rate in (48_000, 44_100, 32_000, 16_000) if rate in rates_hz), max(rates_hz, default=0))


def preferred_format(formats: tuple[str, ...]) -> str:
    """The one that loses nothing that 16 bits can hold, and costs least."""
    return next((name for name in ("int16", "int24", "int32", "float32", "uint8") if name in formats), "int16")


def _refused(code: int, request: StreamRequest) -> str:
    if code == lib.RVA_ERROR_RATE:
        return f"{request.rate_hz} Hz"
    return channels_text(request.channels) if code == lib.RVA_ERROR_CHANNELS else f"the format {request.format}"


class AlsaStream(CoreStream):
    """The core's own thread on an ALSA device."""

    backend = prefix = "alsa"

    def __init__(self, chain: Chain, request: StreamRequest, wake: Wake, resume_ns: int = 0) -> None:
        if _library() is None:
            raise RecorderError("libasound.so.2 cannot be loaded", advice="Install it (Debian: libasound2).")
        pcm = ffi.new("char[]", os.fsencode(request.device.pcm))
        config = ffi.new(
            "rva_alsa_config *",
            {
                "pcm": pcm,
                "rate_hz": request.rate_hz,
                "channels": request.channels,
                "format": format_code(request.format),
                "block_samples": request.block_samples,
                "buffer_samples": round(request.buffer_s * request.rate_hz),
                "wake_fd": wake.write_fd,
                "priority": PRIORITY,
                "resume_ns": resume_ns,
            },
        )
        out = ffi.new("rva_alsa_stream **")
        with chatter_to_log():
            code = _patiently(lambda: lib.rva_alsa_open(_library(), chain.handle, config, out), BUSY_PATIENCE_S)
        if code in _CONSTRAINTS:
            raise ConstraintsError(
                f"the device {request.device.pcm!r} does not have {_refused(code, request)}", core_code=code
            )
        if code:
            _raise_for(code, f"the device {request.device.pcm!r} cannot be opened")
        super().__init__(out[0], float(lib.rva_alsa_latency_s(out[0])))

    def start(self) -> None:
        if code := lib.rva_alsa_start(self._stream):
            _raise_for(code, "the capture thread cannot be started")

    def hurry(self) -> None:
        self._call("hurry")
