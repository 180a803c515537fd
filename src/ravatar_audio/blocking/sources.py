"""Sources of frames for programs of threads."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from ravatar_audio import capture, processing
from ravatar_audio.blocking.waiting import LosslessIterator, call, enter, leave
from ravatar_audio.capture import CaptureEvent
from ravatar_audio.choices import Pace
from ravatar_audio.embedding.faces import MicrophoneFace, SourceFace, TeeFace, TurnSourceFace, takes_arguments_of
from ravatar_audio.embedding.resident import Resident
from ravatar_audio.frames import Frame
from ravatar_audio.session import recordings, turn_source
from ravatar_audio.settings import Settings
from ravatar_audio.turns import Gate, Outcome, Recording, TurnEvent

AnySource = TypeVar("AnySource", bound=capture.Source)


class Tee(TeeFace):
    """`ravatar_audio.Tee` for programs of threads: blocks for one thread at a time."""

    def __init__(self, inner: capture.Tee, resident: Resident[Any]) -> None:
        super().__init__(inner, resident)
        self._blocks = LosslessIterator(resident, inner.__anext__)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> capture.SoundBlock:
        """The next block. An interrupt loses none."""
        return self._blocks.__next__()


class Source(SourceFace[AnySource]):
    """Base of the sources: a context manager, and an iterator of frames for one thread at a time."""

    def __init__(self, inner: AnySource) -> None:
        super().__init__(inner)
        self._frames = LosslessIterator(self._resident, inner.__anext__)
        self._events: LosslessIterator[CaptureEvent] | None = None

    def __enter__(self) -> Self:
        enter(self._resident)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self._resident, is_failed=error is not None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        """The next frame. An interrupt loses none."""
        return next(self._frames)

    def events(self) -> Iterator[CaptureEvent]:
        """Yield what happened besides frames; ends when the source is closed. Each event has one reader."""
        if self._events is None:
            channel = self._inner.events()
            self._events = LosslessIterator(self._resident, channel.__anext__)
        return self._events

    def tee(self, block_s: float = 0.032, *, ring_s: float = 2.048) -> "Tee":
        """A second consumer's sound from now on, as blocks of `block_s` (0.010 to 0.256 s); see Source.tee."""
        return Tee(self._ask(lambda: self._inner.tee(block_s, ring_s=ring_s)), self._resident)

    def stop(self) -> None:
        """Capture no more: iteration ends after the frames there are, the last one flushed. May be called again."""
        call(self._resident, self._inner.stop)

    def close(self) -> None:
        """Stop and free everything; frames not taken yet are gone. May be called again."""
        call(self._resident, self._inner.aclose)


class Microphone(MicrophoneFace, Source[capture.Microphone]):
    """`ravatar_audio.Microphone` for programs of threads: the same arguments, events and errors."""

    @takes_arguments_of(capture.Microphone)
    def __init__(self, *args: Any, **options: Any) -> None:
        Source.__init__(self, capture.Microphone(*args, **options))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make it as the settings say."""
        made = cls.__new__(cls)
        Source.__init__(made, capture.Microphone.from_settings(settings))
        return made

    def change_device(self, device: str | int | None) -> None:
        """Take another device from now on, by its selector; see `ravatar_audio.Microphone.change_device`."""
        call(self._resident, self._inner.change_device, device)


class FileSource(Source[capture.FileSource]):
    """`ravatar_audio.FileSource` for programs of threads: the same arguments and errors."""

    @takes_arguments_of(capture.FileSource)
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(capture.FileSource(*args, **options))


class PipeSource(Source[capture.PipeSource]):
    """`ravatar_audio.PipeSource` for programs of threads: the same arguments, events and errors."""

    @takes_arguments_of(capture.PipeSource)
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(capture.PipeSource(*args, **options))


class PushSource(Source[capture.PushSource]):
    """`ravatar_audio.PushSource` for programs of threads: the same arguments and errors."""

    @takes_arguments_of(capture.PushSource)
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(capture.PushSource(*args, **options))

    def push_nowait(self, sound: Any, captured_s: float | None = None) -> None:
        """Take sound, at once; from any thread. Raises trio.WouldBlock where it would have to wait."""
        self._inner.push_nowait(sound, captured_s)

    def push(self, sound: Any, captured_s: float | None = None) -> None:
        """Take sound; with `when_full="wait"` it waits for room."""
        call(self._resident, self._inner.push, sound, captured_s)

    def note_loss(self, samples: int) -> None:
        """Say that `samples` (at the source's rate) were lost before what is pushed next."""
        self._inner.note_loss(samples)

    def finish(self) -> None:
        """Say that nothing more will be pushed: iteration ends after what there is. From any thread, also again."""
        self._inner.finish()


class SyntheticSource(Source[capture.SyntheticSource]):
    """`ravatar_audio.SyntheticSource` for programs of threads: the same arguments."""

    @takes_arguments_of(capture.SyntheticSource)
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(capture.SyntheticSource(*args, **options))


class VoiceSource(Source[processing.VoiceSource]):
    """`ravatar_audio.VoiceSource` for programs of threads: a microphone without the loudspeaker's echo."""

    def __init__(
        self,
        source: Source[Any],
        reference: Source[Any],
        canceller: processing.Canceller | None = None,
        *,
        memory: processing.EchoMemory | None = None,
    ) -> None:
        super().__init__(processing.VoiceSource(source._inner, reference._inner, canceller, memory=memory))

    @property
    def hears_over_avatar(self) -> bool:
        """Whether a visitor is heard while the avatar speaks; a session is half-duplex while not."""
        return self._inner.hears_over_avatar

    def note_avatar(self, speaks: bool, at_s: float) -> None:
        """Note that the avatar begins or ends to speak, at this time of time.monotonic(); sessions do it themselves."""
        self._ask(lambda: self._inner.note_avatar(speaks, at_s))

    def voice_statistics(self) -> processing.VoiceStatistics:
        """Return how well the echo is cancelled, as of now."""
        return self._ask(self._inner.voice_statistics)


def open_source(
    settings: Settings, spec: str = "mic", *, pace: Pace | None = None, duration_s: float | None = None
) -> Source[Any]:
    """Make the source that `spec` names; see `ravatar_audio.open_source`."""
    return Source(capture.open_source(settings, spec, pace=pace, duration_s=duration_s))


class TurnSource(TurnSourceFace):
    """`ravatar_audio.TurnSource` for programs of threads. `on_event` and `on_frame` are called in the
    library's thread, in their order, and must return at once."""

    def __init__(
        self,
        source: Source[Any],
        gate: Gate,
        *,
        follows_platform: bool = False,
        half_duplex: bool = False,
        trailing_silence_s: float = 0.0,
        gain: processing.GainControl | None = None,
        on_event: Callable[[TurnEvent], None] | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> None:
        self._set(
            turn_source.TurnSource(
                source._inner,
                gate,
                follows_platform=follows_platform,
                half_duplex=half_duplex,
                trailing_silence_s=trailing_silence_s,
                gain=gain,
                on_event=on_event,
                on_frame=on_frame,
            )
        )

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        source: Source[Any],
        *,
        on_event: Callable[[TurnEvent], None] | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> Self:
        """Make it as the settings say; with the mode "auto" it is push-to-talk until the platform has been asked."""
        made = cls.__new__(cls)
        made._set(turn_source.TurnSource.from_settings(settings, source._inner, on_event=on_event, on_frame=on_frame))
        return made

    @classmethod
    def _around(cls, inner: turn_source.TurnSource, resident: Resident[Any]) -> Self:
        """The face of one that another's manager opens."""
        made = cls.__new__(cls)
        made._set(inner, resident)
        return made

    def _set(self, inner: turn_source.TurnSource, resident: Resident[Any] | None = None) -> None:
        super().__init__(inner, resident)
        self._frames = LosslessIterator(self._resident, inner.__anext__)
        self._outcomes: LosslessIterator[Outcome | None] = LosslessIterator(self._resident, inner.next_outcome)

    def __enter__(self) -> Self:
        enter(self._resident)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self._resident, is_failed=error is not None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        """The next frame of a turn. An interrupt loses none."""
        return next(self._frames)

    def next_outcome(self) -> Outcome | None:
        """Take the next frame or event, in order; None at the end. An interrupt loses none."""
        return next(self._outcomes)


class Recordings:
    """`ravatar_audio.Recordings` for programs of threads: the turns of a TurnSource, each when it has ended."""

    def __init__(self, turns: TurnSource, *, limit_s: float = 120.0) -> None:
        inner = recordings.Recordings(turns._inner, limit_s=limit_s)
        self._recordings = LosslessIterator(turns._resident, inner.__anext__)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Recording:
        """The next turn that has ended. An interrupt loses none."""
        return next(self._recordings)
