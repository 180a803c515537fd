"""The microphone: a device stream that pushes into a chain, as an async iterator of frames."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import trio

from ravatar_audio.capture.devices import Device, choose_device
from ravatar_audio.capture.portaudio import PortAudio
from ravatar_audio.capture.source import Source, ring_capacity
from ravatar_audio.capture.stream import Stream, StreamRequest, StreamStatistics
from ravatar_audio.capture.wake import Wake
from ravatar_audio.capture.worker import call_in_thread
from ravatar_audio.errors import MediaAbortedError, MediaError, RecorderError, SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.native import Chain
from ravatar_audio.settings import Settings

log = logging.getLogger(__name__)

BACKENDS = ("auto", "portaudio", "pyaudio")

OPEN_TIMEOUT_S = 10.0
"""For finding, opening and starting a device; a busy ALSA device takes PortAudio a second."""
CLOSE_TIMEOUT_S = 5.0
"""For stopping; streams of one process wait for each other here, as PortAudio takes one call at a time."""
FIRST_BLOCK_TIMEOUT_S = 5.0
"""A device may take longer to deliver its first block than any other."""

# Sound servers offer dozens of channels; nobody means to average those.
_MOST_CHANNELS_BY_DEFAULT = 8
_warned_of_fallback = False


@dataclass(slots=True)
class _Opened:
    """Everything that an open microphone holds."""

    portaudio: PortAudio
    chain: Chain
    wake: Wake
    stream: Stream
    device: Device
    request: StreamRequest

    def close_stream(self) -> None:
        """Blocks. Afterwards nothing pushes into the chain, and PortAudio has been given back."""
        try:
            self.stream.close()
        finally:
            self.portaudio.close()

    def close(self) -> None:
        self.close_stream()
        self.chain.close()
        self.wake.close()


class Microphone(Source):
    """A microphone as an async iterator of frames:

        async with Microphone() as microphone:
            async for frame in microphone:
                ...

    `device` is a name, a part of one, an index, or None for the system's default. `rate_hz` (8,000 to 192,000),
    `channels` (1 to 32) and `format` ("int16", "int24", "int32", "float32", "uint8") are the device's own unless given;
    `heard` are the channels to average (None: all), counted from 0. `profile` and `gain_db` are the core's (see Chain).
    The ring holds `ring_s` seconds for a busy program. Every `block_s` seconds the device delivers a block; its buffer
    of `buffer_s` is how late the audio thread may be without a loss. When no block has come for `stall_s` the
    microphone counts as gone. `backend` is "portaudio" (C on PortAudio's thread), "pyaudio" (its Python callback) or
    "auto", which takes the first unless it cannot be had.

    Opening raises DeviceNotFoundError, DeviceInUseError, ConstraintsError, RecorderError or SettingsError; iterating
    raises MediaAbortedError when the device ends or goes silent on us, RecorderError when it never begins.
    """

    def __init__(
        self,
        device: str | int | None = None,
        *,
        rate_hz: int | None = None,
        channels: int | None = None,
        format: str | None = None,
        heard: Iterable[int] | None = None,
        profile: str = "balanced",
        gain_db: float = 0.0,
        ring_s: float = 2.048,
        block_s: float = 0.010,
        buffer_s: float = 0.100,
        stall_s: float = 0.5,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if backend not in BACKENDS:
            raise SettingsError(f"backend {backend!r} is unknown; it is one of {', '.join(BACKENDS)}")
        for name, value, low, high in (
            ("block_s", block_s, 0.001, 0.1),
            ("buffer_s", buffer_s, 0.01, 2.0),
            ("stall_s", stall_s, 0.05, 60.0),
        ):
            if not low <= value <= high:
                raise SettingsError(f"{name} is {value}; it must be {low} to {high}")
        self._selector, self._wanted_backend = device, backend
        self._wanted = (rate_hz, channels, format)
        self._block_s, self._buffer_s, self._stall_s = block_s, buffer_s, stall_s
        self._chain_options = {
            "heard": None if heard is None else tuple(heard),
            "profile": profile,
            "gain_db": gain_db,
            "capacity_frames": ring_capacity(ring_s),
        }
        self._opened: _Opened | None = None
        self._is_stopped = self._is_at_end = self._is_abandoned = False
        self.name = "microphone"

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The microphone that the settings describe."""
        return cls(
            settings.device,
            rate_hz=settings.rate_hz,
            channels=settings.channels,
            format=settings.format,
            heard=settings.heard_channels,
            profile=settings.profile,
            gain_db=settings.gain_db,
            ring_s=settings.ring_ms / 1000,
        )

    @property
    def device(self) -> Device | None:
        """The device that was opened; None while closed."""
        return self._opened.device if self._opened else None

    async def _open(self) -> None:
        if self._opened or self._is_stopped:
            raise RecorderError("this microphone has been opened before", advice="Make a new Microphone.")
        try:
            opened = await call_in_thread(self._open_blocking, timeout_s=OPEN_TIMEOUT_S, undo=_Opened.close)
        except trio.TooSlowError:
            raise RecorderError(f"the microphone did not open within {OPEN_TIMEOUT_S:g} s") from None
        self._opened, self._chain = opened, opened.chain
        self.name, self.backend = opened.device.name, opened.stream.backend
        self.rate_hz, self.channels, self.format = (
            opened.request.rate_hz,
            opened.request.channels,
            opened.request.format,
        )
        log.info(
            "microphone %s: %d Hz, %d channels, %s, backend %s",
            opened.device,
            self.rate_hz,
            self.channels,
            self.format,
            self.backend,
        )

    def _open_blocking(self) -> _Opened:
        portaudio = PortAudio()
        undo = [portaudio.close]
        try:
            device = choose_device(portaudio.devices(), self._selector)
            request = self._settled(device)
            wake = Wake()
            undo.append(wake.close)
            chain = Chain(
                rate_hz=request.rate_hz,
                channels=request.channels,
                format=request.format,
                wake_fd=wake.write_fd,
                **self._chain_options,  # type: ignore[arg-type]
            )
            undo.append(chain.close)
            stream = portaudio.open(chain, request, wake, backend=self._settled_backend(portaudio))
            undo.append(stream.close)
            stream.start()
        except BaseException:
            for close in reversed(undo):
                close()
            raise
        return _Opened(portaudio, chain, wake, stream, device, request)

    def _settled(self, device: Device) -> StreamRequest:
        rate_hz, channels, format = self._wanted
        if channels is None:
            channels = device.channels if device.channels <= _MOST_CHANNELS_BY_DEFAULT else 2
        # ALSA's devices speak integers, and PortAudio's other hosts on our systems are float inside.
        native_format = "int16" if device.host_api == "ALSA" else "float32"
        return StreamRequest(
            device_index=device.index,
            rate_hz=rate_hz or device.rate_hz,
            channels=channels,
            format=format or native_format,
            block_s=self._block_s,
            buffer_s=self._buffer_s,
        )

    def _settled_backend(self, portaudio: PortAudio) -> str:
        global _warned_of_fallback
        if self._wanted_backend != "auto":
            return self._wanted_backend
        if portaudio.is_native:
            return "portaudio"
        if not _warned_of_fallback:
            _warned_of_fallback = True
            log.warning(
                "PortAudio's functions cannot be looked up through PyAudio: its Python callback is used instead, "
                "and sound will be lost when the interpreter is busy"
            )
        return "pyaudio"

    async def _next(self) -> Frame | None:
        while (opened := self._opened) is not None:
            opened.wake.clear()
            frame = opened.chain.take()
            if frame is not None or self._is_at_end:
                return frame
            if not self._is_stopped:  # while it is being stopped, the last frame is still to come
                self._check_alive(opened.stream.statistics())
            with trio.move_on_after(self._stall_s / 2):
                await opened.wake.wait()
        return None

    def _check_alive(self, stream: StreamStatistics) -> None:
        if stream.has_finished:
            raise MediaAbortedError(
                f"the microphone {self.name!r} ended the stream after {stream.blocks} blocks",
                finish_code=stream.finish_code,
            )
        now_s = time.monotonic()
        if stream.last_block_s is None:
            if now_s - stream.opened_s > FIRST_BLOCK_TIMEOUT_S:
                raise RecorderError(f"the microphone {self.name!r} sent nothing for {FIRST_BLOCK_TIMEOUT_S:g} s")
        elif now_s - stream.last_block_s > self._stall_s:
            raise MediaAbortedError(
                f"the microphone {self.name!r} has sent nothing for {now_s - stream.last_block_s:.2f} s"
            )

    def _stream_statistics(self) -> StreamStatistics | None:
        return self._opened.stream.statistics() if self._opened else None

    def block_durations_s(self) -> list[tuple[float, int]]:
        """How long the audio thread took for its blocks: (least duration of a bucket, blocks in it), ascending."""
        return self._opened.stream.block_durations_s() if self._opened else []

    async def stop(self) -> None:
        opened = self._opened
        if opened is None or self._is_stopped:
            return
        self._is_stopped = True
        self.statistics()
        with trio.CancelScope(shield=True):
            try:
                await call_in_thread(opened.close_stream, timeout_s=CLOSE_TIMEOUT_S, undo=lambda _: None)
            except (trio.TooSlowError, MediaError) as error:
                # Its thread may still push: chain and wake-up must live on, unused.
                self._is_abandoned = True
                log.error("the microphone %r did not stop and is left behind: %r", self.name, error)  # noqa: TRY400
            else:
                opened.chain.finish()
        self._is_at_end = True
        opened.wake.set()

    async def aclose(self) -> None:
        opened = self._opened
        try:
            await self.stop()
        finally:
            if opened is not None and self._opened is opened:
                if self._is_abandoned:
                    _left_behind.append(opened)
                    self.statistics()
                    self._chain = None
                else:
                    self._close_chain()
                    opened.wake.close()
                self._opened = None


_left_behind: list[_Opened] = []
"""Microphones whose stream could not be stopped: kept alive, as their threads may still use them."""
