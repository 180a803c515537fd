"""A source with a gate in front of it: only turns come through."""

import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import trio

from ravatar_audio.api.results import Connection
from ravatar_audio.arguments import check_number
from ravatar_audio.capture import Source
from ravatar_audio.capture.host.one_taker import OneTaker, OwnThread
from ravatar_audio.capture.microphone.source import HeldFrames, frame_since
from ravatar_audio.choices import TurnModeName
from ravatar_audio.deprecation import warn_renamed
from ravatar_audio.energy import EnergyDetector
from ravatar_audio.errors import MediaError, SettingsError
from ravatar_audio.frames import FRAME_BYTES, FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.observe.observer import Observer
from ravatar_audio.session.avatar_gate import AvatarGate
from ravatar_audio.session.avatar_speech import AvatarVoice
from ravatar_audio.session.selection import choose_mode
from ravatar_audio.settings import Settings
from ravatar_audio.turns import Gate, Outcome, Reason, TurnEvent, TurnEventKind, TurnMode, TurnRules
from ravatar_audio.turns.neural import NeuralDetector
from ravatar_audio.turns.queue import checked_time_s

if TYPE_CHECKING:
    from ravatar_audio.processing.gain import GainControl


class TurnSource:
    """The frames of a gate's turns, as an async context manager and iterator over a source that it opens and closes:

        turns = TurnSource.from_settings(settings, Microphone.from_settings(settings))
        async with turns, LiveSession(settings, turns) as live:
            turns.press()

    Controls take effect now, or at `at_s` (seconds of time.monotonic()), and return at once. They raise SettingsError
    for what is no time or no mode.
    Any thread may call them. A mute lasts until it is taken back, whatever is sent, lost or connected again in the
    meantime. One task at a time takes the frames; a second one, and whoever takes from the source itself, gets
    trio.BusyResourceError.

    `on_event` is called with each event in its place between the frames, when these are taken, `on_frame` with each
    frame that is heard, before the gate; they must return at once. `follows_platform`: a LiveSession sets the mode by
    what the platform says (vadEnabled). `half_duplex`: it also reports when the avatar speaks (docs/howto/turns.md);
    the application can do so itself, with or without it. `trailing_silence_s`: behind a turn of push-to-talk, which
    ends in the midst of sound, frames of silence follow, so that a detector on the server hears its end. They have no
    samples of the capture in them (`length_samples` is 0), and next_outcome() does not give them. `gain` brings voices
    to one level, behind the gate. Of a VoiceSource half-duplex is the fallback: see AvatarGate.
    """

    def __init__(
        self,
        source: Source,
        gate: Gate,
        *,
        follows_platform: bool = False,
        half_duplex: bool = False,
        trailing_silence_s: float = 0.0,
        gain: "GainControl | None" = None,
        on_event: Callable[[TurnEvent], None] | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> None:
        check_number("trailing_silence_s", trailing_silence_s, 0.0, 60.0)
        self.source: Source = source
        self.gate: Gate = gate
        self._trailing_samples = round(trailing_silence_s * RATE_HZ)
        self._silence: deque[Frame] = deque()
        self._last_frame: Frame | None = None
        self._follows_platform = follows_platform
        self._on_event, self._on_frame = on_event, on_frame
        self._observer = Observer()
        self._ready: deque[Outcome] = deque()
        self._is_over = False
        self._failure: MediaError | None = None
        self._avatar = AvatarVoice()
        self._avatar_gate = AvatarGate(source, gate, half_duplex=half_duplex)
        self._gain = gain
        self._on_turn_end: Callable[[TurnEvent, float], None] | None = None
        """A session's: called with the end of each turn, and when its last sample was at the microphone."""
        self._heard: Frame | None = None
        self._thread, self._one_taker = OwnThread(), OneTaker()
        self._stack = ExitStack()
        self._frames: AsyncIterator[Frame] = source
        self._discard_s = -math.inf
        self._discard_to: int | None = None
        self.discarded_samples: int = 0
        """Given out by the gate and forgotten: see `discard`."""

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        source: Source,
        *,
        on_event: Callable[[TurnEvent], None] | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> Self:
        """As the settings say; with the mode "auto" it is push-to-talk until the platform has been asked."""
        detector = EnergyDetector(settings.speech_dbfs) if settings.detector == "energy" else NeuralDetector()
        level_dbfs = settings.barge_in_dbfs
        gate = Gate(
            TurnMode.PTT if settings.mode == "auto" else settings.mode,
            TurnRules.from_settings(settings),
            detector=detector,
            barge_in=None if level_dbfs is None else EnergyDetector(level_dbfs, margin_db=0.0),
        )
        return cls(
            source,
            gate,
            follows_platform=settings.mode == "auto",
            half_duplex=settings.half_duplex,
            trailing_silence_s=settings.trailing_silence_ms / 1_000,
            gain=_gain_control() if settings.gain_control else None,
            on_event=on_event,
            on_frame=on_frame,
        )

    @property
    def is_real_time(self) -> bool:
        """Sound comes whether it is taken or not, as the source says."""
        return self.source.is_real_time

    async def __aenter__(self) -> Self:
        self._thread.enter()
        await self.source.__aenter__()
        try:
            self._frames = self._stack.enter_context(self.source._held_by("a TurnSource"))
            self.source._are_frames_cut_anew = True  # as the gate does
        except BaseException:
            await self.source.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        await self.source.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        """The next frame of a turn. Never loses one to a cancellation."""
        return await self._next_frame(None)

    @contextmanager
    def _held_by(self, holder: str) -> Iterator[AsyncIterator[Frame]]:
        """Have all frames for oneself, as a source's."""
        with self._one_taker.hold("this TurnSource", holder):
            yield HeldFrames(lambda: self._next_frame(holder))

    async def _next_frame(self, holder: str | None) -> Frame:
        while not self._silence:
            if (outcome := await self._next_outcome(holder)) is None:
                raise StopAsyncIteration
            if isinstance(outcome, Frame):
                self._last_frame = outcome
                return outcome
            if outcome.kind is TurnEventKind.ENDED and outcome.reason is Reason.RELEASED:
                self._silence += self._silent_frames(outcome.position_samples)
        return self._silence.popleft()

    def _silent_frames(self, position_samples: int) -> Iterator[Frame]:
        """The silence behind a turn; its last frame may have begun it, by its padding."""
        last = self._last_frame
        if last is not None:
            padding_samples = FRAME_SAMPLES - last.length_samples
            for _ in range(math.ceil((self._trailing_samples - padding_samples) / FRAME_SAMPLES)):
                yield last._replace(
                    pcm=bytes(FRAME_BYTES), position_samples=position_samples, length_samples=0, ring_lost_samples=0,
                    device_lost_samples=0, discontinuity=False, flushed=True, clipped=0, peak=0, hop_data=b"",
                )  # fmt: skip

    async def next_outcome(self) -> Outcome | None:
        """The next frame or event, each in its place, for those who want both; None at the end.

        When the source raises a MediaError the open turn ends, and the error comes behind it.
        """
        return await self._next_outcome(None)

    async def _next_outcome(self, holder: str | None) -> Outcome | None:
        with self._one_taker.take("this TurnSource", holder):
            await trio.lowlevel.checkpoint()
            while True:
                while not self._ready:
                    if self._is_over:
                        failure, self._failure = self._failure, None
                        if failure is not None:
                            raise failure
                        return None
                    try:
                        frame = await anext(self._frames)
                    except (StopAsyncIteration, MediaError) as error:
                        self._failure = error if isinstance(error, MediaError) else None
                        self._is_over = True
                        self._ready += self.gate.finish()
                    else:
                        self._hear(frame)
                outcome = self._undiscarded(self._ready.popleft())
                if isinstance(outcome, TurnEvent):
                    self._observer.happened(outcome)
                    self._note_turn_end(outcome)
                    if self._on_event is not None:
                        self._on_event(outcome)
                if isinstance(outcome, Frame) and self._gain is not None:
                    return self._gain.applied_to(outcome)
                if outcome is not None:
                    return outcome

    def _hear(self, frame: Frame) -> None:
        self._observer.captured(frame)
        if self._on_frame is not None:
            self._on_frame(frame)
        self._heard = frame
        if frame.captured_s >= self._avatar.ends_s:
            self._ready += self._avatar_gate.note(False, self._avatar.ends_s)
            self._avatar.set(False)
        self._ready += self.gate.feed(frame)
        self._ready += self._avatar_gate.follow(frame.captured_s)
        self.source.flush_at(self.gate.flush_at)

    def _note_turn_end(self, event: TurnEvent) -> None:
        if self._on_turn_end is None or event.kind not in (TurnEventKind.ENDED, TurnEventKind.CAPPED):
            return
        end_s = time.monotonic()
        if (frame := self._heard) is not None:
            since_samples = frame.position_samples + frame.length_samples - event.position_samples
            end_s = min(end_s, frame.captured_s - since_samples / RATE_HZ)
        self._on_turn_end(event, end_s)

    def discard(self) -> None:
        """Forget the sound from before now that nobody has taken, to within 10 ms; what is forgotten is counted.

        A turn that is open goes on with what is captured from now on; one that a button or a voice begins from now on
        has its pre-roll. Events are kept. A LiveSession does so when it begins, unless the source can wait.
        """
        self._thread.run(self._discard)

    def _discard(self) -> None:
        self._discard_s = self.source._now_s()
        for frame in self.source._waiting_frames():
            self._hear(frame)
        self._discard_to = self.gate.cut(self._discard_s)
        kept = [outcome for outcome in self._ready if isinstance(outcome, TurnEvent)]
        self.discarded_samples += sum(item.length_samples for item in self._ready if isinstance(item, Frame))
        self._ready = deque(kept)
        self.source.flush_at(self.gate.flush_at)

    def _undiscarded(self, outcome: Outcome) -> Outcome | None:
        if self._discard_s == -math.inf:
            return outcome
        if isinstance(outcome, TurnEvent):
            if outcome.kind is TurnEventKind.STARTED and self.gate.mode is not TurnMode.OPEN:
                self._discard_s = (
                    -math.inf
                )  # begun since, by a button or a voice: the rules say how far it reaches back
            return outcome
        left = frame_since(outcome, self._discard_s, self._discard_to)
        self.discarded_samples += outcome.length_samples - (left.length_samples if left else 0)
        if left is not None:
            self._discard_s = -math.inf
        return left

    # What a session reports.

    def _observe(self, observer: Observer) -> None:
        """Let it hear of frames and events, the source's too."""
        self._observer = observer
        self.source._observe(observer)

    def follow(self, connection: Connection) -> None:
        """Take the mode from what the platform says, unless somebody has chosen one."""
        if self._follows_platform:
            self.set_mode(choose_mode(connection, "auto"))

    def note(self, event: object, at_s: float | None = None) -> None:
        """A message of the platform: with half-duplex it may report that the avatar speaks, or has ended."""
        if not self._avatar_gate.listens:
            return
        now_s = _now_s(at_s)
        self._thread.run(lambda: self._note(event, now_s))

    def _note(self, event: object, now_s: float) -> None:
        if (speaks := self._avatar.note(event, now_s)) is not None:
            self._emit(self._avatar_gate.note(speaks, now_s))

    # What the program asks for.

    def press(self, at_s: float | None = None) -> None:
        """Push-to-talk's button went down."""
        self._control(self.gate.press, at_s)

    def release(self, at_s: float | None = None) -> None:
        """Push-to-talk's button went up."""
        self._control(self.gate.release, at_s)

    def mute(self, at_s: float | None = None) -> None:
        """Hear nothing; an open turn ends."""
        self._control(self.gate.mute, at_s)

    def unmute(self, at_s: float | None = None) -> None:
        """Hear again."""
        self._control(self.gate.unmute, at_s)

    @property
    def is_muted(self) -> bool:
        """Nothing is heard, by mute(); a change that is still to come counts."""
        return self.gate.is_muted

    def set_mode(self, mode: TurnMode | TurnModeName, at_s: float | None = None) -> None:
        """Change how turns are taken; an open turn ends. What the platform says no longer counts."""
        checked = self.gate.checked_mode(mode)  # here, where it can be raised
        self._follows_platform = False
        self._control(lambda now_s: self.gate.set_mode(checked, now_s), at_s)

    def cancel(self, at_s: float | None = None) -> None:
        """Cancel the open turn or the press; the next one begins with a new press, or a new word."""
        self._control(self.gate.cancel, at_s)

    def call_off(self, at_s: float | None = None) -> None:
        """The old name of cancel()."""
        warn_renamed("method", "call_off", "cancel", stacklevel=2)
        self.cancel(at_s)

    def avatar_speaks(self, at_s: float | None = None) -> None:
        """Half-duplex: be deaf to what is not a barge-in, until it ends."""
        self._control(lambda now_s: self._avatar_gate.note(True, now_s), at_s, speaks=True)

    def avatar_ends(self, at_s: float | None = None) -> None:
        """Half-duplex: hear again when the echo has died away."""
        self._control(lambda now_s: self._avatar_gate.note(False, now_s), at_s, speaks=False)

    def _control(
        self, control: Callable[[float], Sequence[Outcome]], at_s: float | None, *, speaks: bool | None = None
    ) -> None:
        """Take effect at the time of the call, whenever the source's own thread comes to it."""
        now_s = _now_s(at_s)

        def change() -> None:
            if speaks is not None:
                self._avatar.set(speaks)
            self._emit(control(now_s))

        self._thread.run(change)

    def _emit(self, outcomes: Sequence[Outcome]) -> None:
        self._ready += outcomes
        if outcomes:
            self.source.request_flush()  # whoever waits for the source gets what is ready with the next block
        else:
            self.source.flush_at(self.gate.flush_at)


def _now_s(at_s: float | None) -> float:
    return time.monotonic() if at_s is None else checked_time_s(at_s)


def check_gated(settings: Settings, source: object) -> None:
    """Raise SettingsError for settings that need a gate where there is none."""
    if isinstance(source, TurnSource):
        return
    asked = [f"mode = {settings.mode!r}"] if settings.mode in (TurnMode.PTT, TurnMode.VAD) else []
    asked += ["half_duplex"] if settings.half_duplex else []
    if asked:
        raise SettingsError(
            f"{' and '.join(asked)} would have no effect: the source, a {type(source).__name__}, has no gate",
            advice="Use LiveSession.open(settings), or TurnSource.from_settings(settings, source) as the source.",
        )


def _gain_control() -> "GainControl":
    from ravatar_audio.processing.gain import GainControl  # it needs numpy, which most sessions do without

    return GainControl()
