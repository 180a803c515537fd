"""The microphone: a device stream that pushes into a chain, as an async iterator of frames."""

import contextlib
import logging
import math
import sys
import warnings
import weakref
from typing import Self, Unpack

import trio

from ravatar_audio.arguments import check_number
from ravatar_audio.capture.devices.device import Device, layout_text
from ravatar_audio.capture.host.memory_lock import lock_memory
from ravatar_audio.capture.host.wakeup import Wakes
from ravatar_audio.capture.microphone.delivery_ledger import DeliveryLedger
from ravatar_audio.capture.microphone.opener import Handover, MicrophoneOpener, OpenMicrophone
from ravatar_audio.capture.microphone.reopening import Supervised
from ravatar_audio.capture.microphone.retired_chains import RetiredChains
from ravatar_audio.capture.microphone.sound_monitor import CaptureEvent
from ravatar_audio.capture.microphone.source import Source
from ravatar_audio.capture.microphone.stall_detector import StallDetector
from ravatar_audio.capture.microphone.supervisor import Supervisor
from ravatar_audio.capture.microphone.system import System
from ravatar_audio.capture.streams.device_stream import DeviceRequest
from ravatar_audio.capture.streams.stream import StreamStatistics
from ravatar_audio.choices import BACKENDS, Backend, SampleFormat
from ravatar_audio.conversion import CaptureOptions, Conversion, options_of
from ravatar_audio.deprecation import renamed_argument
from ravatar_audio.errors import MediaError, RecorderError, SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.native import Chain, ChainStatistics
from ravatar_audio.observe.log import line_logger
from ravatar_audio.settings import Settings

log: logging.Logger = line_logger(__name__)

DEFAULT_BLOCK_S = 0.010
"""A block's length where none is asked for."""
LOOK_WITHIN_S = 0.1
"""A frame that was delivered is looked at when the next is asked for, and so late at most."""
CLOSE_TIMEOUT_S = 5.0
"""For stopping; streams of one process wait for each other here, as PortAudio takes one call at a time."""


class Microphone(Source):
    """A microphone as an async iterator of frames:

        async with Microphone() as microphone:
            async for frame in microphone:
                ...

    `device` is a selector (see choose_device): a name or part of one, "usb:VID:PID", "card:ID", ..., or None for the
    system's default. `rate_hz` (8,000 to 192,000), `channels` (1 to 32) and `format` ("int16", "int24", "int32",
    "float32", "uint8") are the device's own unless given. Where it does not have one of them its own are taken for all
    three, and the event "invalid_media_constraints" says so; with `strict` that is a ConstraintsError.
    `channels_heard` are the channels that are averaged: numbers from 0, or "all". By default these are a known array's
    processed one (capture/devices/arrays.toml), else both of two, and the first of more: an array's other channels may
    be raw, dead, or what the loudspeaker plays. `profile`, `phase`, `gain_db`, `dc_block`, `dither` and `ring_s`, what
    is kept for a busy program, are Conversion's.

    The device delivers a block every `block_s` seconds (0.001 to 0.1; None: 0.010), or as nearly so as it can: the
    statistics say. Where its latency, the sound that it gathers before it gives any, is more than twice or less than
    half of what was asked for, "invalid_media_constraints" says so; with `strict` that is a ConstraintsError. It is the
    device's period as ALSA opens it. PortAudio, which cuts blocks of any length, does not report it (its own "latency"
    is the buffer): there it is `block_s`, or the least period that ALSA knows of the device. The device's buffer of
    `buffer_s`, or four blocks if that is longer, is how late the audio thread may be without a loss.

    `backend` is "alsa" (our own thread, Linux hardware), "pulse" (our own thread, a sound server's sources: PulseAudio
    or PipeWire), "portaudio" (C on PortAudio's thread), "pyaudio" (its Python callback, which loses sound when the
    interpreter is busy, and takes a sound server's word for how much was lost) or "auto": "alsa" for hardware that ALSA
    serves, as PortAudio does not survive its unplugging, "pulse" for sound servers, "portaudio" for everything else.

    When no block has come for `stall_s`, or for three blocks if that is longer, the event "stalled" says so. When the
    device has ended the stream, or sent nothing for `reopen_s`, it is closed, looked for by the same selector and
    opened again, for at most `recover_s` seconds (0: not at all). On Linux that is tried at once when a device, a sound
    server or its source comes; besides, and elsewhere, ever more seldom: in the end every 5 s, and where it opens
    through PortAudio but gives nothing every minute, as that may take a core meanwhile. "pulse" gets its source back by
    itself as soon as that is there. Frame numbers go on, and the gap is counted as lost by the device. A call into the
    sound library that does not return is waited for, and the event "hanging" says so: for a minute where a sound server
    may be what hangs, else for 5 to 10 s. Then, or when `recover_s` are over, iterating raises RecorderError or
    MediaAbortedError.

    `fallback` names another microphone, which is taken when the device is not there at first, or not back within
    `fallback_after_s` seconds, or opens but has not lasted for so long; the device is taken again when it is back. Both
    may have any rate, channels and format. While a call hangs, a fallback that our own thread serves runs beside it,
    after 3 s or `fallback_after_s`, whichever is more, but before there is an error; what the device had captured since
    its last frame counts as lost then. One that needs PortAudio has to wait, as that takes one call at a time.
    `lock_memory` keeps the process in memory; where the limits forbid that, the event "memory_not_locked" says so.

    Opening raises PermissionDeniedError, DeviceNotFoundError, DeviceInUseError, ConstraintsError, RecorderError or
    SettingsError.
    """

    _wakes: Wakes | None = None
    _last_stream: StreamStatistics | None = None

    def __init__(
        self,
        device: str | int | None = None,
        *,
        rate_hz: int | None = None,
        channels: int | None = None,
        format: SampleFormat | None = None,
        strict: bool = False,
        block_s: float | None = None,
        buffer_s: float = 0.100,
        stall_s: float = 0.1,
        reopen_s: float = 1.0,
        recover_s: float = math.inf,
        backend: Backend = "auto",
        fallback: str | int | None = None,
        fallback_after_s: float = 3.0,
        lock_memory: bool = False,
        stand_in: str | int | None = None,
        stand_in_after_s: float | None = None,
        **conversion: Unpack[CaptureOptions],
    ) -> None:
        super().__init__()
        fallback = renamed_argument("stand_in", stand_in, "fallback", fallback, stacklevel=2)
        fallback_after_s = renamed_argument(
            "stand_in_after_s", stand_in_after_s, "fallback_after_s", fallback_after_s, stacklevel=2
        )
        latency_s, block_s = block_s, DEFAULT_BLOCK_S if block_s is None else block_s
        if backend not in BACKENDS:
            raise SettingsError(f"backend {backend!r} is unknown; it is one of {', '.join(BACKENDS)}")
        for name, value, low, high in (
            ("block_s", block_s, 0.001, 0.1),
            ("buffer_s", buffer_s, 0.01, 2.0),
            ("stall_s", stall_s, 0.05, 60.0),
            ("reopen_s", reopen_s, 0.05, 60.0),
            ("recover_s", recover_s, 0.0, math.inf),
            ("fallback_after_s", fallback_after_s, 0.0, math.inf),
        ):
            check_number(name, value, low, high)
        self._system = self._make_system()
        buffer_s = max(buffer_s, 4 * block_s)
        wanted = DeviceRequest(device, rate_hz, channels, format, block_s, buffer_s, backend, latency_s, strict)
        self._opener = MicrophoneOpener(self._system, wanted, fallback, Conversion.asked(conversion))
        # A Python callback is late whenever the interpreter is held; that is no stall of the device.
        stall_detector = StallDetector(max(stall_s, 0.5 if backend == "pyaudio" else 0.0), reopen_s)
        self._supervisor = Supervisor(
            self._opener,
            self._system,
            self._client(),
            stall_detector,
            recover_s=recover_s,
            fallback_after_s=fallback_after_s,
        )
        self._locks_memory = lock_memory
        self._is_used = self._is_stopped = self._is_at_end = False
        self._is_left_behind = self._is_opening_beside = False
        self._earlier = RetiredChains()
        self._stopping = trio.Lock()
        self._delivered = DeliveryLedger()
        self.name = "microphone"
        self.reopenings: int = 0

    def _make_system(self) -> System:
        return System()

    def _client(self) -> Supervised:
        microphone = weakref.proxy(self)  # whoever is supervised can be forgotten
        return Supervised(
            emit=lambda kind, message: microphone._emit(kind, message),
            take_over=lambda opened: microphone._take_over(opened),
            reopened=lambda opened: microphone._note_reopened(opened),
            hand_over=lambda ended: microphone._handover(ended),
            begin_beside=lambda: microphone._begin_beside(),
            end_beside=lambda: microphone._end_beside(),
            look_at_delivered=lambda: microphone._look_at_delivered(),
            wake=lambda: microphone._wake(),
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The microphone that the settings describe."""
        return cls(
            settings.device,
            rate_hz=settings.rate_hz,
            channels=settings.channels,
            format=settings.format,
            strict=settings.strict,
            block_s=None if settings.latency_ms is None else settings.latency_ms / 1000,
            backend=settings.backend,
            fallback=settings.fallback,
            fallback_after_s=settings.fallback_after_ms / 1000,
            lock_memory=settings.lock_memory,
            **options_of(settings),
        )

    @property
    def device(self) -> Device | None:
        """The device that is open now; None while there is none."""
        return self._opened.line.device if self._opened else None

    async def change_device(self, device: str | int | None) -> None:
        """Take another device from now on, by its selector; None: the system's default.

        It is looked for first: where it is missing or cannot be used its media error is raised, and nothing changes.
        Then the device in use is closed and the other one opened, as after an unplug: frame numbers go on, what was
        said in between is counted as lost by the device, and "reopened" says when sound is back. From then on the other
        one is what is looked for when it goes away. Raises RecorderError for a microphone that is not open.
        """
        if self._chain is None or self._is_stopped:
            raise RecorderError("this microphone is not open", advice="Open it first; one that is over stays so.")
        try:
            await self._opener.check(device)
        except trio.TooSlowError:
            raise RecorderError("the other microphone cannot be looked for: the sound library hangs") from None
        self._opener.choose(device)
        self._supervisor.look_soon()

    @property
    def _opened(self) -> OpenMicrophone | None:
        return self._supervisor.running

    def _emit(self, kind: str, message: str, at_s: float | None = None) -> None:
        super()._emit(kind, message, self._system.now_s() if at_s is None else at_s)

    def _put(self, event: CaptureEvent) -> None:
        self._events.put(f"microphone {self.name!r}", event)

    async def _open(self) -> None:
        if self._is_used:
            raise RecorderError("this microphone has been opened before", advice="Make a new Microphone.")
        self._is_used = True
        if self._locks_memory and (why := lock_memory()):
            self._emit("memory_not_locked", why)

        opened = await self._opener.open_first()
        self._supervisor.start(opened)
        try:
            self._take_over(opened)
        except BaseException:  # nobody else will
            await self.aclose()
            raise
        taken = layout_text(*opened.line.request.sample_layout)
        if opened.refusal is not None:
            self._emit(opened.refusal.code, f"{opened.refusal.message}; taken instead: {taken}")
        elif not self._opener.has_constraints:
            self._emit("no_constraints", f"none were given; the device's own are taken: {taken}")
        if (refusal := opened.line.refusal) is not None:
            self._emit(refusal.code, refusal.message)

    def _take_over(self, opened: OpenMicrophone) -> None:
        line, request = opened.line, opened.line.request
        if self._chain not in (None, opened.chain):
            assert self._chain is not None
            if opened.cut is None:
                self._earlier.add(self._chain)
            else:
                self._earlier.count(opened.cut)
        self._chain, self._wakes = opened.chain, opened.wakes
        self._is_opening_beside = False
        self.name: str = line.device.name
        self.backend: str = opened.stream.backend
        self.rate_hz: int = request.rate_hz
        self.channels: int = request.channels
        self.format: str = request.format
        log.info(
            "microphone %s: %d Hz, %d channels, %s, backend %s",
            line.device,
            self.rate_hz,
            self.channels,
            self.format,
            self.backend,
        )
        if opened.is_fallback:
            why = "is not there, or does not last" if opened.cut is None else "hangs"
            self._emit("stand_in", f"the microphone {why}: {line.device} stands in for it")

    def _note_reopened(self, opened: OpenMicrophone) -> None:
        self._take_over(opened)
        self.reopenings += 1
        self._emit("reopened", f"{opened.line.device} is open again")
        self._look_at_delivered()
        self._wake()

    def _wake(self) -> None:
        if self._wakes is not None:
            self._wakes.frames.set()

    async def _next(self) -> Frame | None:
        self._supervisor.need_not_look()
        while self._chain is not None and (wakes := self._wakes) is not None:
            self._look_at_delivered()
            if (frame := self._take()) is None:
                wakes.frames.clear()  # and only then look again, or a wake-up is lost
                frame = self._take()
            if frame is not None or self._is_at_end:
                self._delivered.add(frame)
                self._supervisor.look_within(LOOK_WITHIN_S)
                return frame
            if self._supervisor.failure is not None and not self._is_stopped:
                raise self._supervisor.failure
            with contextlib.suppress(trio.ClosedResourceError):
                await wakes.frames.wait()
        return None

    def _look_at_delivered(self) -> None:
        """Emit what the frames that were delivered say, each once somebody has it."""
        self._delivered.look()
        if self._delivered.has_news:
            if not self._supervisor.is_well:
                self._supervisor.look()
            if self._supervisor.is_well:  # that sound comes again is reported before what was lost until then
                self._emit_news()

    def _emit_news(self) -> None:
        for event in self._delivered.take_news():
            self._put(event)

    def _take(self) -> Frame | None:
        if self._is_opening_beside:
            return None
        frame = self._earlier.take()
        return self._chain.take() if frame is None and self._chain else frame

    def _handover(self, ended: OpenMicrophone) -> Handover:
        """After a stream that has been closed."""
        return Handover(ended.wakes, ended.chain, self._earlier.statistics(), ended.stream.statistics().captured_ns)

    def _begin_beside(self) -> Handover:
        """From the last frame that was delivered on, as nobody knows what else the stream gives that hangs."""
        self._is_opening_beside = True
        assert self._chain is not None
        assert self._wakes is not None
        self._delivered.look()
        after = self._delivered.cut(self._chain_statistics(self._chain))
        return Handover(self._wakes, after=after, resume_ns=self._delivered.captured_ns)

    def _end_beside(self) -> None:
        self._is_opening_beside = False
        self._wake()

    async def _close_line(self) -> None:
        """When it does not end its thread may push, and chain and wake-ups must live on, unused."""
        opened, self._supervisor.opened = self._supervisor.opened, None
        if opened is not None:
            try:
                await self._system.call(opened.close, timeout_s=CLOSE_TIMEOUT_S, undo=lambda _: None)
            except (trio.TooSlowError, MediaError) as error:
                self._is_left_behind = True
                log.error("the microphone %r did not stop and is left behind: %r", self.name, error)  # noqa: TRY400
            self._last_stream = opened.stream.statistics()

    def _take_waiting(self) -> Frame | None:
        frame = self._take()
        if frame is not None:
            self._look_at_delivered()
            self._delivered.add(frame)
        return frame

    def _now_s(self) -> float:
        return self._system.now_s()

    def _request_flush(self) -> None:
        super()._request_flush()
        self._hurry()

    def _flush_at(self, position_samples: int | None) -> None:
        super()._flush_at(position_samples)
        if position_samples is not None:
            self._hurry()

    def _hurry(self) -> None:
        if self._opened is not None:
            self._opened.stream.hurry()

    def _chain_statistics(self, chain: Chain) -> ChainStatistics:
        before = self._earlier.statistics()
        return before + chain.statistics() if before else chain.statistics()

    @property
    def _drift_ppm(self) -> float | None:
        return self._delivered.drift_ppm

    def _stream_statistics(self) -> StreamStatistics | None:
        return self._opened.stream.statistics() if self._opened else self._last_stream

    def block_durations_s(self) -> list[tuple[float, int]]:
        """How long the audio thread took for its blocks: (least duration of a bucket, blocks in it), ascending."""
        return self._opened.stream.block_durations_s() if self._opened else []

    async def stop(self) -> None:
        await self._end(wants_sound=True)

    async def _end(self, *, wants_sound: bool) -> None:
        with trio.CancelScope(shield=True):
            async with self._stopping:  # whoever comes second waits for the first
                if not self._is_stopped and self._chain is not None:
                    self._is_stopped = True
                    self._is_left_behind = not await self._supervisor.stop(wants_sound=wants_sound)
                    await self._close_line()
                    if not self._is_left_behind:
                        self._chain.finish()
                    self._is_at_end = True
                    self._wake()

    async def aclose(self) -> None:
        try:
            await self._end(wants_sound=False)
        finally:
            wakes, self._wakes = self._wakes, None
            if wakes is not None:
                self.statistics()
                chains, self._chain = [*self._earlier.release(), self._chain], None
                wakes.let_go()  # another task may wait for a frame
                # What a stream that was left behind uses lives on with its line, or with the call that opens it.
                if not self._is_left_behind:
                    for chain in chains:
                        if chain is not None:
                            chain.close()
                    if not self._supervisor.calls.has_left_behind:
                        wakes.close()
            self._delivered.look()
            self._emit_news()
            self._close_listeners()

    def __del__(self) -> None:
        if sys.is_finalizing() or not hasattr(self, "_supervisor") or not self._supervisor.is_active:
            return
        warnings.warn(f"the microphone {self.name!r} was not closed", ResourceWarning, stacklevel=2, source=self)
        self._supervisor.forget()
