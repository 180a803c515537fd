"""The connection to a sound server by the PulseAudio protocol, which PipeWire speaks as well.

libpulse (csrc/streams/rva_pulse.h), its errors, what a stream of it reports, and word of what comes at the server.
"""

import functools
from collections.abc import Iterator
from typing import Any

from ravatar_audio._core import ffi, lib
from ravatar_audio.capture.host.blocking_call import ThreadCall
from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.errors import (
    DeviceInUseError,
    DeviceNotFoundError,
    MediaError,
    PermissionDeniedError,
    RecorderError,
)

NO_LIBRARY = "libpulse.so.0 cannot be loaded"

# pulse/def.h, pa_error_code
_ACCESS, _NO_ENTITY, _REFUSED, TIMEOUT, _TERMINATED, _BUSY = 1, 5, 6, 8, 11, 26
_KINDS: dict[int, tuple[type[MediaError], str]] = {
    _ACCESS: (PermissionDeniedError, "EACCES"),
    _NO_ENTITY: (DeviceNotFoundError, "ENOENT"),
    _REFUSED: (DeviceNotFoundError, "ECONNREFUSED"),
    _TERMINATED: (DeviceNotFoundError, "ECONNREFUSED"),
    _BUSY: (DeviceInUseError, "EBUSY"),
}


@functools.cache
def library() -> Any:
    out = ffi.new("rva_pulse **")
    return out[0] if lib.rva_pulse_bind(out) == lib.RVA_OK else None


def has_pulse() -> bool:
    """Return whether libpulse is there."""
    return library() is not None


def text_of(raw: Any) -> str:
    return bytes(ffi.string(raw)).decode(errors="replace")


def error_for(code: int, what: str) -> MediaError:
    """Return the media error for a result of the core's."""
    number = lib.RVA_ERROR_PULSE - code
    kind, name = _KINDS.get(number, (RecorderError, ""))
    text = text_of(lib.rva_pulse_error_text(library(), code))
    details: dict[str, Any] = {"pulse_code": number} if number >= 0 else {"core_code": code}
    if name:
        details["errno"] = name
    return kind(f"{what}: {text}", **details)


def open_stream(chain: Any, config: Any) -> Any:
    out = ffi.new("rva_pulse_stream **")
    if code := lib.rva_pulse_open(library(), chain, config, out):
        raise error_for(code, "the sound server's stream cannot be made")
    return out[0]


def take_events(stream: Any) -> Iterator[tuple[int, str, str]]:
    event = ffi.new("rva_pulse_event *")
    while lib.rva_pulse_next_event(stream, event):
        yield event.kind, text_of(event.before), text_of(event.source)


class SourceWatch:
    """Word of what comes at the user's sound server: itself, a source, another default. Close it."""

    def __init__(self) -> None:
        """Raises RecorderError where there is no libpulse."""
        if library() is None:
            raise RecorderError(NO_LIBRARY)
        self._wake = Wake()
        config = ffi.new("rva_pulse_config *", {"format": lib.RVA_FORMAT_S16, "channels": 1})
        config.wake_fd = self._wake.write_fd
        self._stream: Any = open_stream(ffi.NULL, config)
        lib.rva_pulse_start(self._stream)

    async def wait(self) -> None:
        """Wait until has_come() has something to look at. Raises trio.ClosedResourceError when this is closed."""
        if self._stream is not None:
            await self._wake.wait()

    def has_come(self) -> bool:
        """Return whether anything has come since this was asked last. Never blocks."""
        self._wake.clear()
        return self._stream is not None and any(kind == lib.RVA_PULSE_ARRIVED for kind, *_ in take_events(self._stream))

    def close(self) -> None:
        """Close it, again too. In trio only: who waits goes on."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._wake.let_go()

            def close() -> None:
                lib.rva_pulse_close(stream, ffi.new("rva_stream_statistics *"))
                self._wake.close()

            ThreadCall(close, lambda _: None).start()  # on a busy machine its thread may take a while to see it
