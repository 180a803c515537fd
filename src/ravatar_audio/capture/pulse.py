"""Sound servers by the PulseAudio protocol, which PipeWire speaks as well.

Our own capture thread over libpulse (csrc/streams/rva_pulse.h), the server's sources, and word of those that come.
"""

import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ravatar_audio._core import ffi, lib
from ravatar_audio.capture.devices import Device
from ravatar_audio.capture.stream import PRIORITY, StreamRequest, StreamStatistics, read_durations, read_statistics
from ravatar_audio.capture.wake import Wake
from ravatar_audio.capture.worker import Errand
from ravatar_audio.errors import (
    DeviceInUseError,
    DeviceNotFoundError,
    MediaError,
    PermissionDeniedError,
    RecorderError,
)
from ravatar_audio.native import SAMPLE_BYTES, Chain, format_code

ANSWER_LIMIT_S = 2.0
"""Longest wait for a server's answer; a busy one takes milliseconds."""
OPEN_LIMIT_S = 5.0
"""Longest wait for a stream to begin: a Bluetooth microphone takes seconds to change its profile."""
MOST_SOURCES = 256
NO_LIBRARY = "libpulse.so.0 cannot be loaded"

# pulse/def.h, pa_error_code
_ACCESS, _NO_ENTITY, _REFUSED, _TIMEOUT, _TERMINATED, _BUSY = 1, 5, 6, 8, 11, 26
_KINDS: dict[int, tuple[type[MediaError], str]] = {
    _ACCESS: (PermissionDeniedError, "EACCES"),
    _NO_ENTITY: (DeviceNotFoundError, "ENOENT"),
    _REFUSED: (DeviceNotFoundError, "ECONNREFUSED"),
    _TERMINATED: (DeviceNotFoundError, "ECONNREFUSED"),
    _BUSY: (DeviceInUseError, "EBUSY"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A source as its server lists it; what that does not say is empty."""

    name: str
    """Lasts over replugging and reboots."""
    description: str
    bus: str
    form_factor: str
    profile: str
    """Of Bluetooth."""
    usb_id: str
    """Vendor and product, as "2886:0018"."""
    rate_hz: int
    """Its own, as channels and format."""
    channels: int
    format: str
    is_default: bool
    is_monitor: bool
    """It hears what a loudspeaker plays."""
    is_muted: bool
    is_suspended: bool


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What a sound server says of itself."""

    name: str
    """ "pulseaudio", "PulseAudio (on PipeWire 1.4.2)"; "" where none answers."""
    sources: tuple[Source, ...] = ()
    failure: str = ""
    """Why there is no answer; "" when there is one."""
    hangs: bool = False
    """It takes connections, but says nothing."""

    @property
    def default(self) -> Source | None:
        """The default source; None without any."""
        return next((source for source in self.sources if source.is_default), None)

    @property
    def system(self) -> str:
        """ "PipeWire" or "PulseAudio"."""
        return "PipeWire" if "PipeWire" in self.name else "PulseAudio"

    @property
    def keeps_time(self) -> bool:
        """Its capture times are right, as PulseAudio's are; not PipeWire's in its place."""
        return bool(self.name) and self.system == "PulseAudio"


@functools.cache
def _library() -> Any:
    out = ffi.new("rva_pulse **")
    return out[0] if lib.rva_pulse_bind(out) == lib.RVA_OK else None


def has_pulse() -> bool:
    """libpulse is there."""
    return _library() is not None


def _text(raw: Any) -> str:
    return bytes(ffi.string(raw)).decode(errors="replace")


def error_for(code: int, what: str) -> MediaError:
    """The media error for a result of the core's."""
    number = lib.RVA_ERROR_PULSE - code
    kind, name = _KINDS.get(number, (RecorderError, ""))
    text = _text(lib.rva_pulse_error_text(_library(), code))
    details: dict[str, Any] = {"pulse_code": number} if number >= 0 else {"core_code": code}
    if name:
        details["errno"] = name
    return kind(f"{what}: {text}", **details)


def ask_server(limit_s: float = ANSWER_LIMIT_S) -> ServerAnswer:
    """The user's sound server and its sources. Blocks, for `limit_s` at most; starts no server."""
    if _library() is None:
        return ServerAnswer("", failure=NO_LIBRARY)
    name, raw = ffi.new("char[]", lib.RVA_PULSE_TEXT), ffi.new("rva_pulse_source[]", MOST_SOURCES)
    count = lib.rva_pulse_list(_library(), ffi.NULL, round(limit_s * 1e9), name, raw, MOST_SOURCES)
    if count == lib.RVA_ERROR_PULSE - _TIMEOUT:
        return ServerAnswer("", failure=f"no answer in {limit_s:g} s", hangs=True)
    if count < 0:
        return ServerAnswer("", failure=_text(lib.rva_pulse_error_text(_library(), count)))
    return ServerAnswer(_text(name), tuple(_source(raw[number]) for number in range(min(count, MOST_SOURCES))))


def _source(raw: Any) -> Source:
    return Source(
        name=_text(raw.name),
        description=_text(raw.description),
        bus=_text(raw.bus),
        form_factor=_text(raw.form_factor),
        profile=_text(raw.profile),
        usb_id=_usb_id(_text(raw.vendor_id), _text(raw.product_id)),
        rate_hz=raw.rate_hz,
        channels=raw.channels,
        format=next(name for name in SAMPLE_BYTES if format_code(name) == raw.format),
        is_default=bool(raw.is_default),
        is_monitor=bool(raw.is_monitor),
        is_muted=bool(raw.is_muted),
        is_suspended=bool(raw.is_suspended),
    )


def _usb_id(vendor: str, product: str) -> str:
    """PipeWire writes the numbers as "0x2886", PulseAudio as "2886"."""
    numbers = [text.removeprefix("0x").zfill(4).casefold() for text in (vendor, product) if text]
    return ":".join(numbers) if len(numbers) == 2 else ""


def as_devices(answer: ServerAnswer) -> list[Device]:
    """The server's sources as devices, microphones first. Pure."""
    found = [
        Device(
            index=None,
            name=source.description or source.name,
            host_api=answer.system,
            channels=source.channels,
            rate_hz=source.rate_hz,
            is_default=source.is_default and not source.is_monitor,
            rates_hz=(source.rate_hz,),
            formats=(source.format,),
            source=source.name,
            bus=source.bus,
            form_factor=source.form_factor,
            profile=source.profile,
            usb_id=source.usb_id if source.bus == "usb" else "",
            is_monitor=source.is_monitor,
        )
        for source in answer.sources
    ]
    return sorted(found, key=lambda device: device.is_monitor)


class PulseStream:
    """The core's own thread on a source of a sound server."""

    backend = "pulse"
    gets_back = True

    def __init__(self, chain: Chain, request: StreamRequest, wake: Wake, resume_ns: int = 0) -> None:
        if _library() is None:
            raise RecorderError(NO_LIBRARY, advice="Install it (Debian: libpulse0).")
        self._what = f"the source {request.source or 'that is the default'!r} of the sound server"
        source = ffi.new("char[]", request.source.encode()) if request.source else ffi.NULL
        config = ffi.new(
            "rva_pulse_config *",
            {
                "server": ffi.NULL,
                "source": source,
                "rate_hz": request.rate_hz,
                "channels": request.channels,
                "format": format_code(request.format),
                "block_samples": request.block_samples,
                "wake_fd": wake.write_fd,
                "priority": PRIORITY,
                "resume_ns": resume_ns,
            },
        )
        self._stream: Any = _opened(chain.handle, config)
        self.latency_s = request.block_s
        self._last: Any = None
        self._reading = threading.Lock()  # a worker thread may close it meanwhile

    def start(self) -> None:
        code = lib.rva_pulse_start(self._stream) or lib.rva_pulse_wait(self._stream, round(OPEN_LIMIT_S * 1e9))
        if code:
            raise error_for(code, f"{self._what} cannot be opened")

    def close(self) -> None:
        self._last = self._read()  # for whoever asks meanwhile
        with self._reading:
            stream, self._stream = self._stream, None
        if stream is not None:
            last = ffi.new("rva_stream_statistics *")
            lib.rva_pulse_close(stream, last)
            self._last = last

    def watch(self, stall_s: float) -> bool:
        with self._reading:
            if self._stream is not None:
                lib.rva_pulse_watch(self._stream, round(stall_s * 1e9))
        return True

    def hurry(self) -> None:
        """Nothing to be done: the next block is there in milliseconds."""

    def restart(self) -> None:
        with self._reading:
            if self._stream is not None and self._state() != lib.RVA_PULSE_SUSPENDED:
                lib.rva_pulse_restart(self._stream)

    def events(self) -> list[tuple[str, str]]:
        told = []
        with self._reading:
            if self._stream is not None:
                for kind, before, source in _taken(self._stream):
                    if kind == lib.RVA_PULSE_MOVED:
                        text = f"the sound server moved the stream from {before!r} to {source!r}"
                        told.append(("source_changed", text))
        return told

    def _state(self) -> int:
        return int(lib.rva_pulse_state(self._stream))

    @property
    def _missing(self) -> str:
        with self._reading:
            state = self._state() if self._stream is not None else lib.RVA_PULSE_RUNNING
        if state == lib.RVA_PULSE_CONNECTING:
            return "the sound server is gone, or does not answer"
        if state == lib.RVA_PULSE_MISSING:
            return "the sound server does not have it any more"
        return "it is being opened again" if state in (lib.RVA_PULSE_LOOKING, lib.RVA_PULSE_OPENING) else ""

    def _read(self) -> Any:
        with self._reading:
            if self._stream is None:
                return self._last
            raw = ffi.new("rva_stream_statistics *")
            lib.rva_pulse_statistics(self._stream, raw)
        return raw

    def statistics(self) -> StreamStatistics:
        return replace(read_statistics(self._read()), missing=self._missing)

    def block_durations_s(self) -> list[tuple[float, int]]:
        return read_durations(self._read())


def _opened(chain: Any, config: Any) -> Any:
    out = ffi.new("rva_pulse_stream **")
    if code := lib.rva_pulse_open(_library(), chain, config, out):
        raise error_for(code, "the sound server's stream cannot be made")
    return out[0]


def _taken(stream: Any) -> Iterator[tuple[int, str, str]]:
    event = ffi.new("rva_pulse_event *")
    while lib.rva_pulse_next_event(stream, event):
        yield event.kind, _text(event.before), _text(event.source)


class SourceWatch:
    """Word of what comes at the user's sound server: itself, a source, another default. Close it."""

    def __init__(self) -> None:
        """Raises RecorderError where there is no libpulse."""
        if _library() is None:
            raise RecorderError(NO_LIBRARY)
        self._wake = Wake()
        config = ffi.new("rva_pulse_config *", {"format": lib.RVA_FORMAT_S16, "channels": 1})
        config.wake_fd = self._wake.write_fd
        self._stream: Any = _opened(ffi.NULL, config)
        lib.rva_pulse_start(self._stream)

    async def wait(self) -> None:
        """Until has_come() has something to look at. Raises trio.ClosedResourceError when this is closed."""
        if self._stream is not None:
            await self._wake.wait()

    def has_come(self) -> bool:
        """Whether anything has come since this was asked last. Never blocks."""
        self._wake.clear()
        return self._stream is not None and any(kind == lib.RVA_PULSE_ARRIVED for kind, *_ in _taken(self._stream))

    def close(self) -> None:
        """May be called again. In trio only: who waits goes on."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._wake.let_go()

            def close() -> None:
                lib.rva_pulse_close(stream, ffi.new("rva_stream_statistics *"))
                self._wake.close()

            Errand(close, lambda _: None).start()  # on a busy machine its thread may take a while to see it
