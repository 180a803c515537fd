"""The microphone: a device stream that pushes into a chain, as an async iterator of frames."""

import contextlib
import errno
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Self

import trio

from ravatar_audio.capture.devices import Device
from ravatar_audio.capture.line import BACKENDS, Line, Wanted
from ravatar_audio.capture.recovery import Recovery
from ravatar_audio.capture.source import Source, ring_capacity
from ravatar_audio.capture.stream import Stream, StreamStatistics
from ravatar_audio.capture.wake import Wake
from ravatar_audio.capture.watchdog import CaptureEvent, Watchdog
from ravatar_audio.capture.worker import call_in_thread
from ravatar_audio.errors import ConstraintsError, MediaAbortedError, MediaError, RecorderError, SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.native import Chain
from ravatar_audio.settings import Settings

log = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 10.0
"""For finding, opening and starting a device; a busy ALSA device takes PortAudio a second."""
CLOSE_TIMEOUT_S = 5.0
"""For stopping; streams of one process wait for each other here, as PortAudio takes one call at a time."""
FIRST_BLOCK_TIMEOUT_S = 5.0
"""A device may take longer to deliver its first block than any other."""
EVENTS_MAX = 256
"""Events that are kept for whoever asks; the oldest go first."""


class Microphone(Source):
    """A microphone as an async iterator of frames:

        async with Microphone() as microphone:
            async for frame in microphone:
                ...

    `device` is a selector (see choose_device): a name or part of one, "usb:VID:PID", "card:ID", ..., or None for the
    system's default. `rate_hz` (8,000 to 192,000), `channels` (1 to 32) and `format` ("int16", "int24", "int32",
    "float32", "uint8") are the device's own unless given. Where it does not have one of them its own are taken for all
    three, and the event "invalid_media_constraints" says so; with `strict` that is a ConstraintsError. `heard` are the
    channels to average (None: all), counted from 0. `profile` and `gain_db` are the core's (see Chain). The ring holds
    `ring_s` seconds for a busy program. Every `block_s` seconds the device delivers a block, or as nearly so as it can;
    its buffer of `buffer_s`, or four blocks if that is longer, is how late the audio thread may be without a loss.

    `backend` is "alsa" (our own thread, Linux hardware), "portaudio" (C on PortAudio's thread), "pyaudio" (its Python
    callback, which loses sound when the interpreter is busy) or "auto": "alsa" for hardware that ALSA serves, as
    PortAudio does not survive its unplugging, and "portaudio" for everything else.

    When no block has come for `stall_s`, or for three blocks if that is longer, the event "stalled" says so. When the
    device has ended the stream, or sent nothing for `reopen_s`, it is closed, looked for by the same selector and
    opened again, for at most `recover_s` seconds (0: not at all); frame numbers go on, and the gap is counted as lost
    by the device. Then, or when the sound library hangs, iterating raises MediaAbortedError or RecorderError.

    Opening raises PermissionDeniedError, DeviceNotFoundError, DeviceInUseError, ConstraintsError, RecorderError or
    SettingsError.
    """

    def __init__(
        self,
        device: str | int | None = None,
        *,
        rate_hz: int | None = None,
        channels: int | None = None,
        format: str | None = None,
        strict: bool = False,
        heard: Iterable[int] | None = None,
        profile: str = "balanced",
        gain_db: float = 0.0,
        ring_s: float = 2.048,
        block_s: float = 0.010,
        buffer_s: float = 0.100,
        stall_s: float = 0.1,
        reopen_s: float = 1.0,
        recover_s: float = math.inf,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if backend not in BACKENDS:
            raise SettingsError(f"backend {backend!r} is unknown; it is one of {', '.join(BACKENDS)}")
        for name, value, low, high in (
            ("block_s", block_s, 0.001, 0.1),
            ("buffer_s", buffer_s, 0.01, 2.0),
            ("stall_s", stall_s, 0.05, 60.0),
            ("reopen_s", reopen_s, 0.05, 60.0),
            ("recover_s", recover_s, 0.0, math.inf),
        ):
            if not low <= value <= high:
                raise SettingsError(f"{name} is {value}; it must be {low} to {high}")
        self._wanted = Wanted(device, rate_hz, channels, format, block_s, max(buffer_s, 4 * block_s), backend)
        self._is_strict = strict
        self._refusal: ConstraintsError | None = None
        # A Python callback is late whenever the interpreter is held; that is no stall of the device.
        self._stall_s = max(stall_s, 3 * block_s, 0.5 if backend == "pyaudio" else 0.0)
        self._reopen_s, self._recover_s = max(reopen_s, self._stall_s), recover_s
        self._chain_options: dict[str, Any] = {
            "heard": None if heard is None else tuple(heard),
            "profile": profile,
            "gain_db": gain_db,
            "capacity_frames": ring_capacity(ring_s),
        }
        self._line: Line | None = None
        self._wake: Wake | None = None
        self._is_used = self._is_stopped = self._is_at_end = False
        self._is_stalled = self._is_left_behind = False
        self._recovery: Recovery | None = None
        self._line_lock = trio.Lock()
        self._last_frame: Frame | None = None  # given out, and not looked at yet
        self._watchdog = Watchdog()
        self._event_sender, self._event_receiver = trio.open_memory_channel[CaptureEvent](EVENTS_MAX)
        self.name = "microphone"
        self.reopenings = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The microphone that the settings describe."""
        return cls(
            settings.device,
            rate_hz=settings.rate_hz,
            channels=settings.channels,
            format=settings.format,
            strict=settings.strict,
            heard=settings.heard_channels,
            profile=settings.profile,
            gain_db=settings.gain_db,
            ring_s=settings.ring_ms / 1000,
            block_s=settings.latency_ms / 1000,
            backend=settings.backend,
        )

    @property
    def device(self) -> Device | None:
        """The device that is open now; None while there is none."""
        return self._line.device if self._line else None

    def events(self) -> trio.MemoryReceiveChannel[CaptureEvent]:
        """What happened besides frames, for `async for`; ends when the microphone is closed.

        Events come about while frames are taken, by whichever task does that.
        """
        return self._event_receiver.clone()

    def _tell(self, kind: str, message: str, at_s: float | None = None) -> None:
        self._put(CaptureEvent(kind, time.monotonic() if at_s is None else at_s, message))

    def _put(self, event: CaptureEvent) -> None:
        level = logging.INFO if event.kind == "no_constraints" else logging.WARNING
        log.log(level, "microphone %r: %s: %s", self.name, event.kind, event.message)
        try:
            self._event_sender.send_nowait(event)
        except trio.WouldBlock:
            self._event_receiver.receive_nowait()
            self._event_sender.send_nowait(event)

    async def _open(self) -> None:
        if self._is_used:
            raise RecorderError("this microphone has been opened before", advice="Make a new Microphone.")
        self._is_used = True
        try:
            line, chain, wake = await call_in_thread(
                self._open_first, timeout_s=OPEN_TIMEOUT_S, undo=lambda opened: _close_all(*opened)
            )
        except trio.TooSlowError:
            raise RecorderError(f"the microphone did not open within {OPEN_TIMEOUT_S:g} s") from None
        self._chain, self._wake = chain, wake
        self._take_over(line)
        self._tell_of_constraints()

    def _tell_of_constraints(self) -> None:
        taken = f"{self.rate_hz} Hz, {self.channels} channels, {self.format}"
        if self._refusal is not None:
            self._tell(self._refusal.code, f"{self._refusal.message}; taken instead: {taken}")
        elif not self._wanted.has_constraints:
            self._tell("no_constraints", f"none were given; the device's own are taken: {taken}")

    def _take_over(self, line: Line) -> None:
        self._line, request = line, line.request
        self.name, self.backend = line.device.name, _stream_of(line).backend
        self.rate_hz, self.channels, self.format = request.rate_hz, request.channels, request.format
        log.info(
            "microphone %s: %d Hz, %d channels, %s, backend %s",
            line.device,
            self.rate_hz,
            self.channels,
            self.format,
            self.backend,
        )

    def _open_first(self) -> tuple[Line, Chain, Wake]:
        wanted = self._wanted
        try:
            return self._open_with(wanted)
        except ConstraintsError as error:
            if self._is_strict or not wanted.has_constraints:
                raise
            self._refusal = error
            return self._open_with(replace(wanted, rate_hz=None, channels=None, format=None))

    def _open_with(self, wanted: Wanted) -> tuple[Line, Chain, Wake]:
        line, wake = Line(wanted), Wake()
        request = line.request
        try:
            chain = Chain(
                rate_hz=request.rate_hz,
                channels=request.channels,
                format=request.format,
                wake_fd=wake.write_fd,
                **self._chain_options,
            )
        except BaseException:
            line.close()
            wake.close()
            raise
        try:
            line.open(chain, wake)
        except BaseException:
            chain.close()
            wake.close()
            raise
        return line, chain, wake

    async def _next(self) -> Frame | None:
        while (chain := self._chain) is not None and (wake := self._wake) is not None:
            self._look_at_last_frame()
            if (frame := chain.take()) is None:
                wake.clear()  # and only then look again, or a wake-up is lost
                frame = chain.take()
            if frame is not None or self._is_at_end:
                self._last_frame = frame
                return frame
            if not self._is_stopped:  # while it is being stopped, the last frame is still to come
                await self._look_after_line(chain, wake)
            patience_s = min(self._stall_s / 2, self._recovery.patience_s if self._recovery else self._stall_s)
            with trio.move_on_after(patience_s), contextlib.suppress(trio.ClosedResourceError):
                await wake.wait()
        return None

    def _look_at_last_frame(self) -> None:
        """Not before it was given out: it is on its way to the platform then, and nobody waits for this."""
        frame, self._last_frame = self._last_frame, None
        if frame is not None:
            for event in self._watchdog.look_at(frame):
                self._put(event)

    async def _look_after_line(self, chain: Chain, wake: Wake) -> None:
        """See whether the stream is well, or get on with opening it again; raises when that is not to be."""
        if self._recovery is not None:
            if (line := self._recovery.step()) is not None:
                self._recovery, self._is_stalled = None, False
                self._take_over(line)
                self.reopenings += 1
                self._tell("reopened", f"{line.device} is open again")
        elif self._line is not None and (reason := self._reason_to_reopen(_stream_of(self._line).statistics())):
            if self._recover_s <= 0:
                raise reason
            await self._begin_recovery(reason, chain, wake)

    async def _begin_recovery(self, reason: MediaError, chain: Chain, wake: Wake) -> None:
        async with self._line_lock:
            line = self._line
            if line is None or self._is_stopped:
                return
            resume_ns = _stream_of(line).statistics().captured_ns
            if not await self._close_line():
                raise reason
            request = line.request
            wanted = replace(self._wanted, rate_hz=request.rate_hz, channels=request.channels, format=request.format)

            def open_again() -> Line:
                again = Line(wanted)
                again.open(chain, wake, resume_ns)
                return again

            self._recovery = Recovery(open_again, reason, within_s=self._recover_s, wake=wake.set)
        self._tell("reopening", reason.message)

    def _reason_to_reopen(self, stream: StreamStatistics) -> MediaError | None:
        """Why the stream cannot go on as it is, or None; tells stalls and their end."""
        now_s = time.monotonic()
        since_s = now_s - (stream.last_block_s or stream.opened_s)
        if stream.has_finished:
            return MediaAbortedError(
                f"the microphone {self.name!r} ended the stream after {stream.blocks} blocks",
                errno=errno.errorcode.get(-stream.finish_code),
            )
        if stream.last_block_s is None:
            if since_s < FIRST_BLOCK_TIMEOUT_S:
                return None
            return RecorderError(f"the microphone {self.name!r} sent nothing for {FIRST_BLOCK_TIMEOUT_S:g} s")
        if since_s > self._stall_s and not self._is_stalled:
            self._is_stalled = True
            self._tell("stalled", f"nothing has come for {since_s:.2f} s")
        elif since_s <= self._stall_s and self._is_stalled:
            self._is_stalled = False
            self._tell("recovered", "sound comes again")
        if since_s > self._reopen_s:
            return MediaAbortedError(f"the microphone {self.name!r} has sent nothing for {since_s:.2f} s")
        return None

    async def _close_line(self) -> bool:
        """Whether the stream has ended: if not, its thread may push, and chain and wake-up must live on, unused."""
        line = self._line
        if line is None:
            return not self._is_left_behind
        self.statistics()
        try:
            with trio.CancelScope(shield=True):
                await call_in_thread(line.close, timeout_s=CLOSE_TIMEOUT_S, undo=lambda _: None)
        except (trio.TooSlowError, MediaError) as error:
            self._is_left_behind = True
            log.error("the microphone %r did not stop and is left behind: %r", self.name, error)  # noqa: TRY400
        self._line = None
        return not self._is_left_behind

    def _stream_statistics(self) -> StreamStatistics | None:
        return _stream_of(self._line).statistics() if self._line else None

    def block_durations_s(self) -> list[tuple[float, int]]:
        """How long the audio thread took for its blocks: (least duration of a bucket, blocks in it), ascending."""
        return _stream_of(self._line).block_durations_s() if self._line else []

    async def stop(self) -> None:
        if self._chain is None or self._wake is None or self._is_stopped:
            return
        self._is_stopped = True
        with trio.CancelScope(shield=True):
            async with self._line_lock:
                if self._recovery is not None:
                    has_ended, self._line = await self._recovery.end(CLOSE_TIMEOUT_S)
                    self._is_left_behind = not has_ended
                if await self._close_line():
                    self._chain.finish()
        self._is_at_end = True
        self._wake.set()

    async def aclose(self) -> None:
        try:
            await self.stop()
        finally:
            chain, wake = self._chain, self._wake
            if chain is not None and wake is not None:
                if self._is_left_behind:
                    _left_behind.append((chain, wake))
                    self.statistics()
                    self._chain = None
                else:
                    self._close_chain()
                    wake.let_go()  # another task may wait for a frame
                    wake.close()
                self._wake = None
            self._event_sender.close()


def _stream_of(line: Line) -> Stream:
    assert line.stream is not None, "the line has been opened"
    return line.stream


def _close_all(line: Line, chain: Chain, wake: Wake) -> None:
    line.close()
    chain.close()
    wake.close()


_left_behind: list[tuple[Chain, Wake]] = []
"""Of microphones whose stream could not be stopped: kept alive, as their threads may still use them."""
