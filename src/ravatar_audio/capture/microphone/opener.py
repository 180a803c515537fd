"""Opening a microphone, for the first time or again: its own device, or the fallback."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import trio

from ravatar_audio.capture.devices.arrays import known_layout
from ravatar_audio.capture.host.wakeup import Wakes
from ravatar_audio.capture.microphone.system import System
from ravatar_audio.capture.streams import alsa
from ravatar_audio.capture.streams.device_stream import DeviceRequest, DeviceStreamPort
from ravatar_audio.capture.streams.open_errors import is_bug
from ravatar_audio.capture.streams.stream import Stream, StreamRequest
from ravatar_audio.conversion import Conversion
from ravatar_audio.errors import ConstraintsError, MediaError, RavatarError, RecorderError
from ravatar_audio.native import Chain, ChainStatistics, ChannelsHeard, channels_averaged, layout_refusal
from ravatar_audio.observe.log import line_logger

log: logging.Logger = line_logger(__name__)

FIRST_TIMEOUT_S = 10.0
"""For finding, opening and starting a device; a busy ALSA device takes PortAudio a second."""
SERVER_RETURN_S = 30.0
"""For a sound server to come back before its microphone is looked for elsewhere; systemd starts one in seconds."""


class OpenMicrophone(NamedTuple):
    """A running stream, its device, and what it feeds."""

    line: DeviceStreamPort
    stream: Stream
    chain: Chain
    wakes: Wakes
    is_fallback: bool
    cut: ChainStatistics | None = None
    """All that was captured by then, where it was opened beside a stream that hangs, and that chain is left to it."""
    refusal: ConstraintsError | None = None
    """Why the device's own rate, channels and format were taken in place of those that were asked for."""
    choice: int = 0
    """The opener's, by which it was opened."""

    def close(self) -> None:
        """Stop it; may block. The chain and the wake-ups stay."""
        self.line.close()


class Handover(NamedTuple):
    """Where a stream's sound is to go, and what it goes on from."""

    wakes: Wakes
    chain: Chain | None = None
    """What was fed before: a device of the same rate, channels and format goes on with it, any other gets its own."""
    after: ChainStatistics | None = None
    """What the chains before that one gave: a new one is numbered on."""
    resume_ns: int = 0
    """When the last sound before this was at the microphone; 0: never."""


class MicrophoneOpener:
    """How one microphone is opened. What is not async may block, and runs in a worker thread."""

    def __init__(
        self,
        system: System,
        wanted: DeviceRequest,
        fallback: str | int | None,
        conversion: Conversion,
    ) -> None:
        self._system, self._wanted, self._fallback = system, wanted, fallback
        self._conversion = conversion
        self.choice: int = 0
        """Times that another device was chosen."""
        self._is_served = False
        self._served_until_s: float | None = None

    def choose(self, selector: str | int | None) -> None:
        """From now on another device is the wanted one."""
        self._wanted = replace(self._wanted, selector=selector)
        self.choice += 1
        self._is_served, self._served_until_s = False, None

    async def check(self, selector: str | int | None) -> None:
        """Look for another device. Raises its media error, and trio.TooSlowError where that does not return."""
        other = MicrophoneOpener(
            self._system, replace(self._wanted, selector=selector), self._fallback, self._conversion
        )
        await self._system.call(other.look, timeout_s=FIRST_TIMEOUT_S, undo=lambda _: None)

    def _wanted_device(self) -> DeviceRequest:
        """As asked for; but what a sound server has served stays the server's for a while after it is gone.

        A server that is started again wants its hardware back, and another way to it, by ALSA or by one of its plugins,
        would have it first.
        """
        if not self._is_served:
            return self._wanted
        now_s = self._system.now_s()
        if self._served_until_s is None:
            self._served_until_s = now_s + SERVER_RETURN_S
        return replace(self._wanted, backend="pulse") if now_s < self._served_until_s else self._wanted

    @property
    def has_constraints(self) -> bool:
        """A rate, channels, a format or a latency has been asked for."""
        return self._wanted.has_constraints

    @property
    def has_fallback(self) -> bool:
        """Another microphone has been named."""
        return self._fallback is not None

    @property
    def may_be_served(self) -> bool:
        """A sound server may have the device: neither the selector nor the backend names hardware."""
        kind = str(self._wanted.selector or "").partition(":")[0].casefold()
        return self._wanted.backend != "alsa" and kind not in ("usb", "card", "alsa", "hw")

    @property
    def can_open_beside(self) -> bool:
        """A fallback has been named, and our own thread may serve it."""
        return self.has_fallback and self._wanted.backend in ("auto", "alsa")

    async def open_first(self) -> OpenMicrophone:
        """The device or the fallback, with wake-ups of its own. Raises the device's media error."""
        try:
            return await self._call(lambda feed: self.open(feed, or_fallback=True))
        except trio.TooSlowError:
            hangs = RecorderError(f"the microphone did not open within {FIRST_TIMEOUT_S:g} s")
        if self.can_open_beside:
            with contextlib.suppress(trio.TooSlowError, MediaError):
                return await self._call(self.open_beside)
        raise hangs

    async def _call(self, open_into: Callable[[Handover], OpenMicrophone]) -> OpenMicrophone:
        def call() -> OpenMicrophone:
            wakes = Wakes()
            try:
                return open_into(Handover(wakes))
            except BaseException:
                wakes.close()
                raise

        def undo(opened: OpenMicrophone) -> None:
            opened.close()
            opened.chain.close()
            opened.wakes.close()

        return await self._system.call(call, timeout_s=FIRST_TIMEOUT_S, undo=undo)

    def open(self, feed: Handover, *, or_fallback: bool, fallback_first: bool = False) -> OpenMicrophone:
        """The device, or when that fails and `or_fallback` is set, the fallback. Raises the device's media error.

        With `fallback_first` it is the other way round.
        """
        choice = self.choice  # of now: another may come meanwhile
        return self._open_either(feed, or_fallback, fallback_first)._replace(choice=choice)

    def _open_either(self, feed: Handover, or_fallback: bool, fallback_first: bool) -> OpenMicrophone:
        if fallback_first and (fallback := self._open_fallback(feed)):
            return fallback
        try:
            return self._open(self._wanted_device(), feed, is_fallback=False)
        except MediaError:
            if or_fallback and not fallback_first and (fallback := self._open_fallback(feed)):
                return fallback
            raise

    def _open_fallback(self, feed: Handover) -> OpenMicrophone | None:
        if self._fallback is None:
            return None
        try:
            return self._open(self._wanted_fallback, feed, is_fallback=True)
        except MediaError as error:
            log.debug("neither the fallback: %s", error.message)
            return None

    @property
    def _wanted_fallback(self) -> DeviceRequest:
        # What was asked of the device need not fit another one.
        return replace(self._wanted.freed(), selector=self._fallback, latency_s=None)

    def open_beside(self, feed: Handover) -> OpenMicrophone:
        """The fallback, while a call into a sound library hangs: by our own thread, as PortAudio takes one at a time.

        Raises the media error, also when that cannot serve it.
        """
        wanted, choice = replace(self._wanted_fallback, backend="alsa"), self.choice
        return self._open(wanted, feed, is_fallback=True)._replace(cut=feed.after, choice=choice)

    def look(self) -> bool:
        """Whether the device is there, and fit for use, to whoever uses the fallback. Raises the media error if not."""
        line = self._system.find(self._wanted_device())
        try:
            _check_layout(line.request, self._conversion.channels_heard)
            if line.device.pcm and line.device.index is not None:  # listed, which says nothing about being there
                alsa.probe(line.device.pcm)
        finally:
            line.close()
        return True

    def _open(self, wanted: DeviceRequest, feed: Handover, *, is_fallback: bool) -> OpenMicrophone:
        try:
            return self._open_as(wanted, feed, is_fallback)
        except ConstraintsError as error:
            if wanted.is_strict or not wanted.has_layout:
                raise
            return self._open_as(wanted.freed(), feed, is_fallback)._replace(refusal=error)

    def _open_as(self, wanted: DeviceRequest, feed: Handover, is_fallback: bool) -> OpenMicrophone:
        try:
            return self._opened(wanted, feed, is_fallback)
        except RavatarError:
            raise
        except Exception as error:
            if is_bug(error):
                raise
            raise RecorderError(f"the microphone cannot be opened: {error!r}") from error

    def _opened(self, wanted: DeviceRequest, feed: Handover, is_fallback: bool) -> OpenMicrophone:
        line = self._system.find(wanted)
        try:
            chain = self._chain_for(line.request, feed, is_fallback)
        except BaseException:
            line.close()
            raise
        stream = line.open(chain, feed.wakes, feed.resume_ns)
        if not is_fallback:
            self._is_served = wanted.backend in ("auto", "pulse") and bool(line.device.source)
            self._served_until_s = None
        return OpenMicrophone(line, stream, chain, feed.wakes, is_fallback)

    def _chain_for(self, request: StreamRequest, feed: Handover, is_fallback: bool) -> Chain:
        chain, after = feed.chain, feed.after
        heard = self._conversion.channels_heard
        if is_fallback and layout_refusal(request.rate_hz, request.channels, heard):
            heard = None  # channels that only the other device has
        if heard is None and (known := known_layout(request.device.usb_id, request.channels)):
            heard = known.heard
        _check_layout(request, heard)
        if chain is not None:
            asked = channels_averaged(heard, request.channels)
            if (chain.rate_hz, chain.channels, chain.format) == request.sample_layout and chain.channels_heard == asked:
                return chain
            chain.finish()  # its thread has ended, so it is ours to push to
            after = chain.statistics() + after if after else chain.statistics()
        conversion, wake_fd = replace(self._conversion, channels_heard=heard), feed.wakes.frames.write_fd
        return conversion.chain(*request.sample_layout, wake_fd=wake_fd, after=after)


def _check_layout(request: StreamRequest, heard: ChannelsHeard) -> None:
    """Raise ConstraintsError for a device that the core refuses: no fault of the settings, as it may be another one."""
    if refusal := layout_refusal(request.rate_hz, request.channels, heard):
        advice = (
            "Leave channels_heard out, or choose among those that 'ravatar-audio devices' shows; or use another device."
        )
        raise ConstraintsError(f"the device {request.device.name!r} cannot be used: {refusal}", advice=advice)
