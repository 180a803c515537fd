"""A line: a device that has been found, and its stream into a chain. Everything here may block."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from ravatar_audio._core import lib
from ravatar_audio.capture.devices.device import Device, channels_text, choose_device
from ravatar_audio.capture.devices.privacy import privacy_error
from ravatar_audio.capture.host.wakeup import Wake, Wakes
from ravatar_audio.capture.servers.sources import ServerAnswer, ask_server
from ravatar_audio.capture.servers.status import is_client
from ravatar_audio.capture.streams import alsa
from ravatar_audio.capture.streams.alsa import AlsaStream
from ravatar_audio.capture.streams.device_list import find_source, find_without_portaudio, list_sources, with_hardware
from ravatar_audio.capture.streams.open_errors import explained, true_cause
from ravatar_audio.capture.streams.portaudio import PortAudio
from ravatar_audio.capture.streams.pulse import PulseStream
from ravatar_audio.capture.streams.stream import Stream, StreamRequest
from ravatar_audio.errors import ConstraintsError, DeviceInUseError, DeviceNotFoundError, MediaError, RecorderError
from ravatar_audio.native import Chain
from ravatar_audio.observe.log import line_logger

log: logging.Logger = line_logger(__name__)

NICE = -11
"""Of the audio thread where the limits allow it, as sound servers take; it works for less than 1 % of the time."""

# Sound servers offer dozens of channels; nobody means to average those.
_MOST_CHANNELS_BY_DEFAULT = 8
_warned_of_pyaudio = False

_open_streams: set["DeviceStream"] = set()
"""Until a stream has been closed its thread pushes: its chain and its wake-ups live on here, whoever forgets them."""


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """What the program asks for; None leaves it to the device."""

    selector: str | int | None
    rate_hz: int | None
    channels: int | None
    format: str | None
    block_s: float
    buffer_s: float
    backend: str
    latency_s: float | None = None
    """That was asked for; `block_s` is it too, or the usual one."""
    is_strict: bool = False
    """What the device does not have is refused, and nothing taken in its place."""

    @property
    def has_layout(self) -> bool:
        """Rate, channels or format are not left to the device."""
        return (self.rate_hz, self.channels, self.format) != (None, None, None)

    @property
    def has_constraints(self) -> bool:
        """Something is not left to the device."""
        return self.has_layout or self.latency_s is not None

    def freed(self) -> "DeviceRequest":
        """With rate, channels and format left to the device."""
        return replace(self, rate_hz=None, channels=None, format=None)

    def refusal(self, latency_s: float) -> ConstraintsError | None:
        """Of a device of this latency: more than twice or less than half of what was asked for."""
        asked_s = self.latency_s
        if asked_s is None or asked_s / 2 <= latency_s <= asked_s * 2:
            return None
        return ConstraintsError(
            f"blocks of {1e3 * asked_s:g} ms were asked for; the device's are {1e3 * latency_s:.1f} ms"
        )


class DeviceStreamPort(Protocol):
    """A device that has been found; see DeviceStream."""

    device: Device
    request: StreamRequest
    refusal: ConstraintsError | None

    def open(self, chain: Chain, wakes: Wakes, resume_ns: int = 0) -> Stream:
        """Open its stream into the chain, and start it."""

    def close(self) -> None:
        """Give everything back."""


class DeviceStream:
    """A device that has been found, and what open() makes of it. close() gives everything back."""

    def __init__(self, wanted: DeviceRequest) -> None:
        """Find the device and settle how it is to be opened. Raises the media error for what stands in the way."""
        self._portaudio: PortAudio | None = None
        self._stream: Stream | None = None
        self.refusal: ConstraintsError | None = None
        """Why its latency is not the one that was asked for."""
        self._feeds: tuple[Chain, Wakes] | None = None
        self._wanted = wanted
        try:
            self.device: Device = self._find(wanted)
            self.request: StreamRequest = _settled(wanted, self.device)
        except MediaError as error:
            self.close()
            if (refusal := privacy_error()) is not None:
                raise refusal.replaced(details=error.details) from error
            if isinstance(error, DeviceNotFoundError) and self._portaudio_is_asked(wanted):
                raise true_cause(error, wanted.selector) from error
            raise explained(error, str(wanted.selector or "")) from error.__cause__
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _portaudio_is_asked(wanted: DeviceRequest) -> bool:
        return wanted.backend not in ("alsa", "pulse")

    def _find(self, wanted: DeviceRequest) -> Device:
        if wanted.backend == "alsa":
            return choose_device(alsa.list_hardware(), wanted.selector)
        if wanted.backend == "pulse":
            return find_source(wanted.selector)
        if wanted.backend == "auto" and sys.platform == "linux" and (found := find_without_portaudio(wanted.selector)):
            return found
        try:
            self._portaudio = PortAudio()
        except RecorderError as error:
            is_missing = isinstance(error.__cause__, ImportError)
            if wanted.backend != "auto" or not is_missing or not (others := [*alsa.list_hardware(), *list_sources()]):
                raise
            return choose_device(others, wanted.selector)
        listed = self._portaudio.devices()
        if wanted.backend == "auto":
            listed = with_hardware(listed)
        return choose_device(listed, wanted.selector)

    def open(self, chain: Chain, wakes: Wakes, resume_ns: int = 0) -> Stream:
        """Open the stream into the chain and start it; close() ends it. On an error everything has been given back."""
        self._feeds = chain, wakes
        _open_streams.add(self)
        try:
            if sys.platform == "darwin" and (refusal := privacy_error()) is not None:
                raise refusal  # macOS would open it, and send zeros
            self._stream = stream = self._opened(chain, wakes.stream, resume_ns)
            self.refusal = self._wanted.refusal(stream.latency_s)
            if self.refusal is not None and self._wanted.is_strict:
                raise self.refusal
            with _urgency():
                stream.start()
        except MediaError as error:
            self.close()
            if (refusal := privacy_error()) is not None:
                raise refusal.replaced(details=error.details) from error
            if isinstance(error, ConstraintsError):
                raise error.replaced(message=f"{error.message}; {_abilities(self.device)}") from error.__cause__
            if isinstance(error, (DeviceNotFoundError, DeviceInUseError, RecorderError)) and self.device.pcm:
                raise true_cause(error, self.device.pcm) from error
            raise explained(error, self.device.pcm) from error.__cause__
        except BaseException:
            self.close()
            raise
        return stream

    def _opened(self, chain: Chain, wake: Wake, resume_ns: int) -> Stream:
        if self.device.source:
            return PulseStream(chain, self.request, wake, resume_ns)
        if self._portaudio is None:
            return AlsaStream(chain, self.request, wake, resume_ns)
        backend = self._wanted.backend
        if backend == "auto":
            backend = "portaudio" if self._portaudio.is_native else "pyaudio"
            if backend == "pyaudio":
                _warn_of_pyaudio()
        return self._portaudio.open(chain, self.request, wake, resume_ns, backend=backend)

    def close(self) -> None:
        """Afterwards nothing pushes into the chain. May be called again; may never return when PortAudio hangs."""
        try:
            if self._stream is not None:
                self._stream.close()
        finally:
            portaudio, self._portaudio = self._portaudio, None
            if portaudio is not None:
                portaudio.close()
        _open_streams.discard(self)


@contextlib.contextmanager
def _urgency() -> Iterator[None]:
    """A thread that is started in here has a higher priority than this one, where RLIMIT_NICE allows it.

    Not a real-time one: our own thread takes that itself, and PortAudio's on ALSA gets it while a watch is kept, as it
    loops for ever on a device that was unplugged (csrc/streams/rva_watch.h).
    """
    if sys.platform != "linux":  # elsewhere a thread does not inherit it
        yield
        return
    this_thread = threading.get_native_id()
    usual = os.getpriority(os.PRIO_PROCESS, this_thread)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, this_thread, min(usual, NICE))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, this_thread, usual)


def _settled(wanted: DeviceRequest, device: Device) -> StreamRequest:
    """The device's own values for what was left open, so that nothing is converted on the way."""
    rate_hz, channels, format, least_block_s = device.rate_hz, device.channels, "float32", 0.0
    if device.source:
        rate_hz = max(lib.RVA_RATE_MIN_HZ, min(rate_hz, lib.RVA_RATE_MAX_HZ))
        (format,) = device.formats
    abilities = None
    if device.pcm:
        format = "int16"
        try:
            abilities = alsa.probe(device.pcm, alsa.BUSY_PATIENCE_S)
        except MediaError:
            if device.index is None:
                raise  # what stands in the way of asking stands in the way of opening
    is_served = device.index is not None and is_client()  # the probe may have made it one
    server = ask_server() if is_served else ServerAnswer("")
    if abilities is not None:
        channels = max(abilities.channels_min, min(abilities.channels_max, channels or abilities.channels_max))
        format, least_block_s = alsa.preferred_format(abilities.formats), abilities.least_block_s
        rate_hz = rate_hz or alsa.preferred_rate_hz(abilities.rates_hz)
        if is_served and wanted.rate_hz is None:
            # PortAudio's default is 44,100 Hz, which the server would make of the source's own, for us to convert.
            named = next((source for source in server.sources if source.name == device.pcm), server.default)
            native_hz = named.rate_hz if named else 0
            rate_hz = native_hz if native_hz in abilities.rates_hz else rate_hz
    if channels > _MOST_CHANNELS_BY_DEFAULT:  # unless the device has no fewer
        channels = max(2, abilities.channels_min if abilities else 0)
    return StreamRequest(
        device=device,
        rate_hz=wanted.rate_hz or rate_hz,
        channels=wanted.channels or channels,
        format=wanted.format or format,
        block_s=wanted.block_s,
        buffer_s=wanted.buffer_s,
        least_block_s=least_block_s,
        is_served=is_served,
        server_keeps_time=server.keeps_time,
        source="" if device.is_default and wanted.selector in (None, "", "default") else device.source,
    )


def _abilities(device: Device) -> str:
    """What a device can do, for somebody who asked for something else."""
    if device.pcm:
        with contextlib.suppress(MediaError):
            return f"it has {alsa.probe(device.pcm)}"
    return f"its own are {device.rate_hz} Hz and up to {channels_text(device.channels)}"


def _warn_of_pyaudio() -> None:
    global _warned_of_pyaudio
    if not _warned_of_pyaudio:
        _warned_of_pyaudio = True
        log.warning(
            "PortAudio's functions cannot be looked up through PyAudio: its Python callback is used instead, "
            "and sound will be lost when the interpreter is busy"
        )
