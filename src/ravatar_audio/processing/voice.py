"""A microphone without the loudspeaker's echo: a source around two others."""

import math
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import trio

from ravatar_audio.capture.microphone.capture_statistics import CaptureStatistics
from ravatar_audio.capture.microphone.sound_monitor import CaptureEvent
from ravatar_audio.capture.microphone.source import Source
from ravatar_audio.errors import RavatarError
from ravatar_audio.frames import FRAME_BYTES, HOP_SAMPLES, RATE_HZ, Frame
from ravatar_audio.processing.canceller import Canceller, LinearCanceller
from ravatar_audio.processing.echo_watch import EchoWatch
from ravatar_audio.processing.memory import EchoMemory
from ravatar_audio.processing.placing import LEAD_SAMPLES, PlacedReference

WAIT_S: Final = 0.050
"""The longest that a microphone's frame waits for its reference."""
LOST_S: Final = 2.0
"""A reference of which nothing was there in time for so long is lost."""

_OFF_S: Final = 0.1
"""By how much times and count of a reference may differ before it is moved to where the times say."""
_FLUSH_S: Final = 0.020
"""Before the end of the wait the reference's open frame is asked for as it is: two blocks of a device."""
_MISPLACED_S: Final = 1.0
"""Of a reference that flows nothing was there in time for so long: it is placed wrongly, whatever is known of it."""
_HOP: Final = struct.Struct("=QIIII")


@dataclass(frozen=True, slots=True)
class VoiceStatistics:
    """What has become of the echo."""

    erle_db: float
    """Echo return loss enhancement in the last 10 s of echo; 0.0: none yet."""
    is_settled: bool
    """The echo's path is learnt, and the reference is there: a visitor can be heard while the avatar speaks."""
    delay_s: float | None
    """By how much the echo is behind the reference as it is placed; None: not known yet."""
    reference_ppm: float
    """By how much the reference's clock is fast against the microphone's."""
    moves: int
    restarts: int
    path_changes: int
    reference_lost_samples: int
    """Of the reference, that had not come when the microphone's frame had waited for it."""
    is_reference_lost: bool = False
    is_reference_silent: bool = False
    """The avatar was said to speak, and the reference had nothing of it."""


class VoiceSource(Source):
    """The source's frames, with the reference's echo taken out of them:

        source = VoiceSource(Microphone("USB"), Microphone("monitor"))
        async with source, LiveSession(settings, source) as live:
            ...

    `source` is the microphone and `reference` what the loudspeaker plays: another microphone that hears a sound
    server's monitor or a loopback, or a PushSource that is given what a program plays itself, with `captured_s` as
    the time when it is heard; pushed silence between two answers lets the last quarter of a second of the first one
    come in time. Both are opened and closed with it. Frames have the source's length, number, position and times;
    hops and peak are those of the clean sound, but clipping and runs of zeros, which are the microphone's. Events and
    statistics are the source's; besides them there are `voice_statistics()`, and the events "echo_settled",
    "echo_path_changed", "echo_remains" (less than 10 dB of it went in 30 s), "reference_lost", "reference_silent" (8 s
    of an avatar that is said to speak, and nothing in the reference: another loudspeaker's) and "reference_back".

    `memory` is what an earlier one has found of the same devices: the reference is begun with it, and it is kept when
    the source is closed. Without a reference (None) only what else the canceller does is done: noise suppression.

    A frame waits for its reference for 50 ms at most. Without one the microphone's sound passes as it is: a TurnSource
    then falls back to half-duplex, by `hears_over_avatar`.
    """

    def __init__(
        self,
        source: Source,
        reference: Source | None,
        canceller: Canceller | None = None,
        *,
        memory: EchoMemory | None = None,
    ) -> None:
        super().__init__()
        self.source: Source = source
        self.reference: Source | None = reference
        self.canceller: Canceller | LinearCanceller = canceller or LinearCanceller()
        self._placed = PlacedReference(self.canceller, ppm=memory.ppm if memory else 0.0)
        self._is_placed = self._is_lost = self._was_settled = False
        self._frame: Frame | None = None
        self._expected: int | None = None
        self._path_changes = 0
        self._reference_end: tuple[float, int] | None = None  # when its last sample was captured, and which it is
        self._shift = 0
        self._unused_s = self._missing_s = self._wait_until_s = self._captured_s = 0.0
        self._watch = EchoWatch(self._emit)
        self._pushed_s = -math.inf  # when something of it came
        self._ahead_samples = LEAD_SAMPLES
        self._events = source._events
        self.on_echo: Callable[[CaptureEvent], None] = lambda event: None
        """Is called with each event of the echo and its reference, too; it must return at once."""
        self._memory = memory

    def _copy_what_is_heard(self) -> None:
        source = self.source
        self.name: str = source.name
        self.backend: str = source.backend
        self.is_real_time: bool = source.is_real_time
        self.rate_hz: int = source.rate_hz
        self.channels: int = source.channels
        self.format: str = source.format

    async def _open(self) -> None:
        await self.source.__aenter__()
        try:
            if self.reference is not None:
                await self.reference.__aenter__()
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.source.aclose()
            raise
        self._copy_what_is_heard()

    async def _next(self) -> Frame | None:
        if self._frame is None:
            try:
                self._frame = await anext(self.source)
            except StopAsyncIteration:
                return None
            self._wait_until_s = trio.current_time() + (WAIT_S if self._is_flowing or not self._is_lost else 0.0)
        if self.reference is not None:
            await self._hear_reference(self._frame, self.reference)
        frame, self._frame = self._frame, None
        return self._clean(frame)

    def _take_waiting(self) -> Frame | None:
        frame, self._frame = self._frame, None
        if frame is None:
            frame = next(self.source._waiting_frames(), None)
        if frame is None:
            return None
        for heard in self.reference._waiting_frames() if self.reference is not None else ():
            self._push(heard)
        return self._clean(frame)

    async def _hear_reference(self, frame: Frame, reference: Source) -> None:
        """Take what has come of the reference, and wait for what is needed; in the end for what there is."""
        for heard in reference._waiting_frames():
            self._push(heard)
        for until_s in (self._wait_until_s - _FLUSH_S, self._wait_until_s):
            # what ends the reference is reported when nothing has come for some time
            with suppress(StopAsyncIteration, RavatarError), trio.move_on_at(until_s):
                while not self._is_there(frame):
                    self._ask_reference(frame, reference, at_once=until_s == self._wait_until_s)
                    self._push(await anext(reference))

    def _ask_reference(self, frame: Frame, reference: Source, *, at_once: bool) -> None:
        """Let the reference's open frame end where it is needed, as it may be filled for a quarter of a second."""
        if self._is_placed and not at_once:
            reference.flush_at(self._placed.needs_samples(frame.length_samples) - self._shift)
        else:
            reference.request_flush()

    @property
    def _reference_name(self) -> str:
        return "" if self.reference is None else self.reference.name

    @property
    def _is_flowing(self) -> bool:
        """Something of the reference comes, wherever it may belong."""
        return self._now_s() - self._pushed_s < LOST_S / 4

    def _note_missing(self, frame: Frame) -> None:
        """Draw the consequences when what is needed has not come in time.

        Times may have placed the reference too far ahead: its samples would then always come too late.
        """
        missing = frame.length_samples
        if self._is_placed:
            missing = self._placed.needs_samples(frame.length_samples) - self._placed.end_samples
        is_misplaced = self._placed.statistics().delay_s is None or self._unused_s >= _MISPLACED_S
        is_unused = self._is_flowing and missing >= frame.length_samples
        self._unused_s = self._unused_s + frame.length_samples / RATE_HZ if is_unused else 0.0
        if missing > 0 and self._is_placed and self._is_flowing and is_misplaced:
            back = missing + round(WAIT_S * RATE_HZ) - LEAD_SAMPLES
            self._placed.place(self._placed.needs_samples(0) - back)
            self._ahead_samples -= back
            missing = 0
        if missing < frame.length_samples:
            self._missing_s = 0.0
            if self._is_lost:
                self._is_lost = False
                self._emit("reference_back", f"the reference {self._reference_name!r} is there again")
            return
        self._missing_s += frame.length_samples / RATE_HZ
        if self._missing_s > LOST_S and not self._is_lost:
            self._is_lost = True
            message = f"of the reference {self._reference_name!r} nothing has come in time for {LOST_S:g} s"
            self._emit("reference_lost", message)

    def _is_there(self, frame: Frame) -> bool:
        self._place(frame)
        return self._is_placed and self._placed.end_samples >= self._placed.needs_samples(frame.length_samples)

    def _push(self, heard: Frame) -> None:
        """A frame of the reference, where it belongs by its count, or by its times where those are far off."""
        self._watch.hear(heard)
        position = heard.position_samples + self._shift
        end = position + heard.length_samples
        if self._reference_end is not None:
            late = round((heard.captured_s - self._reference_end[0]) * RATE_HZ) - (end - self._reference_end[1])
            if abs(late) > _OFF_S * RATE_HZ:
                self._shift += late
                position, end = position + late, end + late
        self._reference_end = heard.captured_s, end
        self._pushed_s = self._now_s()
        self._placed.push(heard.pcm[: 2 * heard.length_samples], position)

    def _place(self, frame: Frame) -> None:
        """By the times, once: from then on the sounds tell."""
        if self._is_placed or self._reference_end is None:
            return
        captured_s, end = self._reference_end
        begin_s = frame.captured_s - frame.length_samples / RATE_HZ
        # A little ahead: times may be off by as much, and an echo before its reference cannot be cancelled.
        if self._memory is not None and self._memory.ahead_samples is not None:
            self._ahead_samples = self._memory.ahead_samples
        self._placed.place(end - round((captured_s - begin_s) * RATE_HZ) + self._ahead_samples)
        self._is_placed = True

    def _clean(self, frame: Frame) -> Frame:
        if self._expected is not None and frame.position_samples != self._expected:
            self._placed.skip(frame.position_samples - self._expected)
        self._expected = frame.position_samples + frame.length_samples
        self._captured_s = frame.captured_s
        if self.reference is not None:
            self._note_missing(frame)
        out = self._placed.process(frame.pcm[: 2 * frame.length_samples])
        self._tell_changes()
        sound = np.frombuffer(out, "<i2").astype(np.int64)
        hops, peak = [], 0
        for number, raw in enumerate(_HOP.iter_unpack(frame.hop_data)):
            part = np.abs(sound[number * HOP_SAMPLES : (number + 1) * HOP_SAMPLES])
            loudest = int(part.max(initial=0))
            hops.append(_HOP.pack(int((part * part).sum()), len(part), loudest, raw[3], raw[4]))
            peak = max(peak, loudest)
        pcm = out + bytes(FRAME_BYTES - len(out))
        return frame._replace(pcm=pcm, peak=peak, hop_data=b"".join(hops))

    def _tell_changes(self) -> None:
        placing = self._placed.statistics()
        if placing.path_changes != self._path_changes:
            self._path_changes = placing.path_changes
            self._emit("echo_path_changed", "the echo comes by another path; it is learnt anew")
        echo = self.canceller.statistics()
        is_settled = echo.is_settled
        if is_settled and not self._was_settled:
            self._emit("echo_settled", "the echo's path is learnt: a visitor is heard while the avatar speaks")
        self._was_settled = is_settled
        self._watch.look(self._captured_s, echo, self._reference_name)

    def note_avatar(self, speaks: bool, at_s: float) -> None:
        """Note that the avatar begins to speak, or has ended (seconds of time.monotonic())."""
        self._watch.note_avatar(speaks, at_s)

    @property
    def hears_over_avatar(self) -> bool:
        """The echo is taken out, so that a visitor can be heard while the avatar speaks; else: half-duplex."""
        is_there = self.reference is not None and not (self._is_lost or self._watch.may_be_silent)
        return is_there and self.canceller.statistics().is_settled

    async def stop(self) -> None:
        """Capture no more: iteration ends after the frames there are."""
        await self.source.stop()

    async def aclose(self) -> None:
        """Close both, and keep what was found of them."""
        self._remember()
        try:
            await self.source.aclose()
        finally:
            self._end_tees()
            if self.reference is not None:
                await self.reference.aclose()

    @property
    def group_delay_s(self) -> float:
        """Resampler's and canceller's."""
        return self.source.group_delay_s + self.canceller.lag_samples / RATE_HZ

    def _remember(self) -> None:
        placing = self._placed.statistics()
        if self._memory is not None and placing.delay_s is not None and self.hears_over_avatar:
            self._memory.keep(placing.reference_ppm, self._ahead_samples + placing.moved_samples)

    def _put(self, event: CaptureEvent) -> None:
        super()._put(event)
        self.on_echo(event)

    def request_flush(self) -> None:
        """Do as Source says, at the end of a hop."""
        counts = self.source.statistics()
        since = round((self._now_s() - self._captured_s) * RATE_HZ) if self._captured_s else 0
        soon = round(counts.block_s * RATE_HZ) + HOP_SAMPLES  # where the microphone is not yet, when it learns of it
        self.flush_at(self._position_samples + max(counts.pending_samples, since) + soon)

    def flush_at(self, position_samples: int | None) -> None:
        """Do as Source says, rounded up to a whole hop behind the last frame: cancellation goes by hops."""
        if position_samples is not None:
            ahead = max(0, position_samples - self._position_samples)
            position_samples = self._position_samples + -(-ahead // HOP_SAMPLES) * HOP_SAMPLES
        self.source.flush_at(position_samples)

    def _end_frame_here(self) -> int | None:
        self.request_flush()
        return None

    def tap(self, seconds: float) -> None:
        """Do as Source says: of the microphone itself."""
        self.source.tap(seconds)

    def tapped(self) -> tuple[bytes, tuple[int, ...]]:
        """Do as Source says: of the microphone itself."""
        return self.source.tapped()

    def _now_s(self) -> float:
        return self.source._now_s()

    def statistics(self) -> CaptureStatistics:
        """Return the microphone's counters; what was discarded here it has delivered."""
        counts, discarded = self.source.statistics(), self._discarded_samples
        return replace(
            counts,
            delivered_samples=counts.delivered_samples - discarded,
            discarded_samples=counts.discarded_samples + discarded,
        )

    def voice_statistics(self) -> VoiceStatistics:
        """Return what has become of the echo, as of now."""
        echo, placing = self.canceller.statistics(), self._placed.statistics()
        return VoiceStatistics(
            erle_db=echo.erle_db,
            is_settled=echo.is_settled and not self._is_lost,
            is_reference_lost=self._is_lost,
            is_reference_silent=self._watch.is_silent,
            delay_s=placing.delay_s,
            reference_ppm=placing.reference_ppm,
            moves=placing.moves,
            restarts=echo.restarts,
            path_changes=placing.path_changes,
            reference_lost_samples=placing.lost_samples if self._is_placed else 0,
        )
