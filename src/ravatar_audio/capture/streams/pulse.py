"""Our own capture thread on a source of a sound server, by the PulseAudio protocol (csrc/streams/rva_pulse.h)."""

from dataclasses import replace

from ravatar_audio._core import ffi, lib
from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.capture.servers.connection import NO_LIBRARY, error_for, library, open_stream, take_events
from ravatar_audio.capture.streams.stream import PRIORITY, CoreStream, StreamRequest, StreamStatistics
from ravatar_audio.errors import RecorderError
from ravatar_audio.native import Chain, format_code

OPEN_LIMIT_S = 5.0
"""Longest wait for a stream to begin: a Bluetooth microphone takes seconds to change its profile."""


class PulseStream(CoreStream):
    """The core's own thread on a source of a sound server."""

    backend = prefix = "pulse"
    gets_back = True

    def __init__(self, chain: Chain, request: StreamRequest, wake: Wake, resume_ns: int = 0) -> None:
        if library() is None:
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
        super().__init__(open_stream(chain.handle, config), request.block_s)

    def start(self) -> None:
        code = lib.rva_pulse_start(self._stream) or lib.rva_pulse_wait(self._stream, round(OPEN_LIMIT_S * 1e9))
        if code:
            raise error_for(code, f"{self._what} cannot be opened")

    def restart(self) -> None:
        with self._reading:
            if self._stream is not None and self._state() != lib.RVA_PULSE_SUSPENDED:
                lib.rva_pulse_restart(self._stream)

    def events(self) -> list[tuple[str, str]]:
        found = []
        with self._reading:
            if self._stream is not None:
                for kind, before, source in take_events(self._stream):
                    if kind == lib.RVA_PULSE_MOVED:
                        text = f"the sound server moved the stream from {before!r} to {source!r}"
                        found.append(("source_changed", text))
        return found

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

    def statistics(self) -> StreamStatistics:
        return replace(super().statistics(), missing=self._missing)
