"""What the faces of an object are in every other world: its attributes, and its calls that return at once.

A call is made in the thread where the object lives, and waited for: some tenth of a millisecond.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from ravatar_audio.api.results import Avatar, Connection, Language
from ravatar_audio.capture import CaptureStatistics, Device, Microphone, Source, Tee, TeeStatistics
from ravatar_audio.choices import TurnModeName
from ravatar_audio.embedding.resident import Resident
from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.emulator.faults import FaultScript
from ravatar_audio.emulator.statistics import EmulatorStatistics
from ravatar_audio.playback import Player, PlayerStatistics
from ravatar_audio.session import ChatSession, ChatStatistics, LiveSession, LiveStatistics, SessionState, TurnSource
from ravatar_audio.turns import Gate, TurnMode

P = ParamSpec("P")
T = TypeVar("T")
Inner = TypeVar("Inner", bound=AbstractAsyncContextManager[Any])
AnySource = TypeVar("AnySource", bound=Source)


def takes_arguments_of(
    kind: Callable[P, object],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """For a constructor that passes its arguments on to another class's: type checkers and help() show that one's."""

    def decorate(init: Callable[..., None]) -> Callable[Concatenate[Any, P], None]:
        init.__wrapped__ = cast(Any, kind).__init__  # type: ignore[attr-defined]  # where inspect.signature looks
        return cast("Callable[Concatenate[Any, P], None]", init)

    return decorate


def ask(resident: Resident[Any], function: Callable[[], T]) -> T:
    """Call where the object lives, or here before and after that."""
    thread = resident.thread
    return function() if thread is None else thread.ask(function)


class Face(Generic[Inner]):
    """An object of another world that stands for one of this package's in the thread."""

    def __init__(self, inner: Inner, resident: Resident[Any] | None = None) -> None:
        """`resident`: where it lives, if another one's manager opens it."""
        self._inner = inner
        self._resident = Resident(inner) if resident is None else resident

    def _ask(self, function: Callable[[], T]) -> T:
        return ask(self._resident, function)


class TeeFace:
    """Of a second consumer of a source's sound."""

    def __init__(self, inner: Tee, resident: Resident[Any]) -> None:
        self._inner, self._resident = inner, resident

    def close(self) -> None:
        """Hear no more: iteration ends after the blocks that there are. May be called again."""
        ask(self._resident, self._inner.close)

    def statistics(self) -> TeeStatistics:
        """Counters as of now."""
        return ask(self._resident, self._inner.statistics)


class SourceFace(Face[AnySource]):
    """Of a source of frames."""

    @property
    def name(self) -> str:
        """What is heard: the device's name, a path, ..."""
        return self._inner.name

    @property
    def backend(self) -> str:
        """What captures: "alsa", "file", ..."""
        return self._inner.backend

    @property
    def rate_hz(self) -> int:
        """Of the device, as `channels` and `format`."""
        return self._inner.rate_hz

    @property
    def channels(self) -> int:
        """Of the device."""
        return self._inner.channels

    @property
    def format(self) -> str:
        """Of the device's samples."""
        return self._inner.format

    @property
    def is_real_time(self) -> bool:
        """Sound comes whether it is taken or not, as a microphone's; any other source waits until it is taken."""
        return self._inner.is_real_time

    @property
    def group_delay_s(self) -> float:
        """What the resampler delays live sound by; 0 when closed."""
        return self._ask(lambda: self._inner.group_delay_s)

    def request_flush(self) -> None:
        """Let the frame that is being filled end with the next block. Does nothing when closed."""
        self._ask(self._inner.request_flush)

    def flush_at(self, position_samples: int | None) -> None:
        """Let the open frame end at a position (16 kHz), to the sample; None takes the request back."""
        self._ask(lambda: self._inner.flush_at(position_samples))

    def discard(self) -> None:
        """Forget what was captured until now, to within 10 ms, and was not taken yet."""
        self._ask(self._inner.discard)

    def statistics(self) -> CaptureStatistics:
        """Counters as of now; once closed, as of then."""
        return self._ask(self._inner.statistics)


class MicrophoneFace(SourceFace[Microphone]):
    """Of a microphone."""

    @property
    def device(self) -> Device | None:
        """The device that is used now."""
        return self._ask(lambda: self._inner.device)


class TurnSourceFace(Face[TurnSource]):
    """Of a source with a gate in front of it. Times are seconds of time.monotonic(); None: now."""

    @property
    def gate(self) -> Gate:
        """The gate, to be looked at."""
        return self._inner.gate

    @property
    def is_real_time(self) -> bool:
        """Sound comes whether it is taken or not, as the source says."""
        return self._inner.is_real_time

    def discard(self) -> None:
        """Forget the sound from before now that no turn has taken; a turn that begins from now on has its pre-roll."""
        self._ask(self._inner.discard)

    def press(self, at_s: float | None = None) -> None:
        """Push-to-talk's button went down."""
        self._ask(lambda: self._inner.press(at_s))

    def release(self, at_s: float | None = None) -> None:
        """Push-to-talk's button went up."""
        self._ask(lambda: self._inner.release(at_s))

    def mute(self, at_s: float | None = None) -> None:
        """Hear nothing; an open turn ends."""
        self._ask(lambda: self._inner.mute(at_s))

    def unmute(self, at_s: float | None = None) -> None:
        """Hear again."""
        self._ask(lambda: self._inner.unmute(at_s))

    @property
    def is_muted(self) -> bool:
        """Nothing is heard, by mute()."""
        return self._ask(lambda: self._inner.is_muted)

    def set_mode(self, mode: TurnMode | TurnModeName, at_s: float | None = None) -> None:
        """Change how turns are taken; an open turn ends."""
        self._ask(lambda: self._inner.set_mode(mode, at_s))

    def cancel(self, at_s: float | None = None) -> None:
        """Cancel the open turn or the press; the next one begins with a new press, or a new word."""
        self._ask(lambda: self._inner.cancel(at_s))

    def avatar_speaks(self, at_s: float | None = None) -> None:
        """Half-duplex: be deaf to what is not a barge-in, until it ends."""
        self._ask(lambda: self._inner.avatar_speaks(at_s))

    def avatar_ends(self, at_s: float | None = None) -> None:
        """Half-duplex: hear again when the echo has died away."""
        self._ask(lambda: self._inner.avatar_ends(at_s))


Session = TypeVar("Session", bound=LiveSession | ChatSession)


class SessionFace(Face[Session]):
    """Of a conversation."""

    @property
    def connection(self) -> Connection:
        """What the platform offers, from entering on."""
        return self._ask(lambda: self._inner.connection)

    @property
    def avatar(self) -> Avatar:
        """The avatar that was chosen, from entering on."""
        return self._ask(lambda: self._inner.avatar)

    @property
    def language(self) -> Language:
        """The language that was chosen, from entering on."""
        return self._ask(lambda: self._inner.language)

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        return self._inner.state

    def mute(self, at_s: float | None = None) -> None:
        """Hear nothing from now on, or from `at_s`, a time.monotonic(); an open turn ends."""
        self._ask(lambda: self._inner.mute(at_s))

    def unmute(self, at_s: float | None = None) -> None:
        """Hear again."""
        self._ask(lambda: self._inner.unmute(at_s))

    @property
    def is_muted(self) -> bool:
        """Nothing is heard, by mute()."""
        return self._ask(lambda: self._inner.is_muted)


class LiveSessionFace(SessionFace[LiveSession]):
    """Of a live session."""

    @property
    def streaming_url(self) -> str:
        """Where the avatar can be seen, ready for an iframe. It holds a secret."""
        return self._ask(lambda: self._inner.streaming_url)

    def statistics(self) -> LiveStatistics:
        """Counters as of now; may be asked at any time, also afterwards."""
        return self._ask(self._inner.statistics)


class ChatSessionFace(SessionFace[ChatSession]):
    """Of a conversation by messages."""

    def statistics(self) -> ChatStatistics:
        """Counters as of now; may be asked at any time, also afterwards."""
        return self._ask(self._inner.statistics)


class EmulatorFace(Face[Emulator]):
    """Of a platform on this machine."""

    @property
    def settings(self) -> EmulatorSettings:
        """As it was made with."""
        return self._inner.settings

    @property
    def faults(self) -> FaultScript:
        """What shall go wrong; `add` more at any time."""
        return self._inner.faults

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._inner.port

    @property
    def api_url(self) -> str:
        """Address of the HTTP endpoints."""
        return self._inner.api_url

    @property
    def ws_url(self) -> str:
        """Address of the WebSocket, without a token."""
        return self._inner.ws_url

    @property
    def folder(self) -> Path:
        """Where the WAV files are."""
        return self._inner.folder

    def statistics(self) -> EmulatorStatistics:
        """Everything counted so far; also after the end."""
        return self._ask(self._inner.statistics)

    def send(self, message: Mapping[str, Any] | str | bytes) -> None:
        """Say something on every open WebSocket: an object as JSON, text and bytes as they are."""
        self._ask(lambda: self._inner.send(message))

    def expire_tokens(self) -> None:
        """Let every token that was issued be refused from now on."""
        self._ask(self._inner.expire_tokens)

    def forget(self, *memories: str) -> None:
        """Know nothing any more of what was given out: "token", "conversation", "slot"; or all."""
        self._ask(lambda: self._inner.forget(*memories))

    def expire_sessions(self) -> None:
        """End all live sessions, as the server does."""
        self._ask(self._inner.expire_sessions)


class PlayerFace(Face[Player]):
    """Of a loudspeaker for answers."""

    @property
    def volume(self) -> float:
        """Factor that samples are multiplied with, from 0 to 1; takes effect with the next sound."""
        return self._inner.volume

    @volume.setter
    def volume(self, volume: float) -> None:
        self._inner.volume = volume

    @property
    def is_playing(self) -> bool:
        """Whether something is being played now, or waits for its turn."""
        return self._inner.is_playing

    def interrupt(self) -> None:
        """End what is played within 5 ms, and what waits for its turn. May be called from any thread; for barge-in."""
        self._inner.interrupt()

    def statistics(self) -> PlayerStatistics:
        """A snapshot."""
        return self._inner.statistics()
