"""Conversations with the platform, and a platform of one's own, for programs of threads."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ravatar_audio import emulator
from ravatar_audio.api.results import ChatItem
from ravatar_audio.blocking.sources import Source, TurnSource
from ravatar_audio.blocking.waiting import LosslessIterator, awaited_in_thread, call, enter, leave
from ravatar_audio.choices import RecordingFormat
from ravatar_audio.embedding.faces import ChatSessionFace, EmulatorFace, LiveSessionFace, SessionFace
from ravatar_audio.embedding.resident import Resident
from ravatar_audio.emulator import EmulatorSettings
from ravatar_audio.emulator.faults import Fault
from ravatar_audio.frames import Frame
from ravatar_audio.session import chat, live
from ravatar_audio.session.events import LiveEvent
from ravatar_audio.settings import Settings
from ravatar_audio.turns import Recording, TurnEvent

Session = TypeVar("Session", bound=live.LiveSession | chat.ChatSession)


class _Conversation(SessionFace[Session], Generic[Session]):
    """What both modes share."""

    def __init__(self, inner: Session, resident: Resident[Any] | None = None) -> None:
        super().__init__(inner, resident)
        self._events = LosslessIterator(self._resident, inner.events().__anext__)

    @classmethod
    @contextmanager
    def _opened(cls, manager: AbstractAsyncContextManager[Session], source: object) -> Iterator[Self]:
        """The face of a session that its own `open` makes, with all that it opens."""
        resident = Resident(manager)
        if isinstance(source, Source):
            source._resident = resident
        made = cls.__new__(cls)
        _Conversation.__init__(made, enter(resident), resident)
        try:
            yield made
        except BaseException:
            leave(resident, is_failed=True)
            raise
        leave(resident, is_failed=False)

    def __enter__(self) -> Self:
        enter(self._resident)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self._resident, is_failed=error is not None)

    def events(self) -> Iterator[LiveEvent]:
        """The server's messages and what happens to the link, until the session is over. An interrupt loses none."""
        return self._events

    def change_microphone(self, device: str | int | None) -> None:
        """Take another microphone from now on, without a break in the session."""
        call(self._resident, self._inner.change_microphone, device)

    def send_text(self, text: str) -> None:
        """Say something in writing; returns when the socket has it, and waits for a link where there is none."""
        call(self._resident, self._inner.send_text, text)

    def send_voice(
        self, recording: Recording | bytes, *, push_to_talk: bool | None = None, format: RecordingFormat = "wav"
    ) -> None:
        """Send a whole utterance: a Recording, or a file's bytes; returns when the socket has it."""
        call(self._resident, lambda: self._inner.send_voice(recording, push_to_talk=push_to_talk, format=format))


class LiveSession(LiveSessionFace, _Conversation[live.LiveSession]):
    """`ravatar_audio.LiveSession` for programs of threads:

        with Microphone() as microphone, LiveSession(settings, microphone) as live:
            for event in live.events():
                ...

    The same arguments, events and errors; `on_sent` is called in the library's thread, and must return at once. Sound
    goes on being captured and sent whatever the program's threads do.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source[Any] | TurnSource,
        *,
        fetch_token: Callable[[], str] | None = None,
        slot_wait_s: float | None = None,
        renew: bool | None = None,
        reconnect_limit_s: float | None = 120.0,
        lossless: bool | None = None,
        declare_gaps: bool = True,
        linger_s: float | None = None,
        on_sent: Callable[[Frame], None] | None = None,
    ) -> None:
        _Conversation.__init__(
            self,
            live.LiveSession(
                settings,
                source._inner,
                fetch_token=awaited_in_thread(fetch_token),
                slot_wait_s=slot_wait_s,
                renew=renew,
                reconnect_limit_s=reconnect_limit_s,
                lossless=lossless,
                declare_gaps=declare_gaps,
                linger_s=linger_s,
                on_sent=on_sent,
            ),
        )

    @classmethod
    def open(
        cls,
        settings: Settings,
        source: Source[Any] | str = "mic",
        *,
        on_turn: Callable[[TurnEvent], None] | None = None,
        on_frame: Callable[[Frame], None] | None = None,
        on_sent: Callable[[Frame], None] | None = None,
        fetch_token: Callable[[], str] | None = None,
    ) -> AbstractContextManager[Self]:
        """Everything as the settings say, in one block; see `ravatar_audio.LiveSession.open`."""
        manager = live.LiveSession.open(
            settings,
            source._inner if isinstance(source, Source) else source,
            on_turn=on_turn,
            on_frame=on_frame,
            on_sent=on_sent,
            fetch_token=awaited_in_thread(fetch_token),
        )
        return cls._opened(manager, source)

    @property
    def turns(self) -> TurnSource:
        """The gate in front of the source, with its controls. Raises SettingsError for a source without one."""
        return TurnSource._around(self._ask(lambda: self._inner.turns), self._resident)

    def wait_finished(self) -> None:
        """Wait until the source has ended and everything was sent and acknowledged. Raises the session's error."""
        call(self._resident, self._inner.wait_finished)


class ChatSession(ChatSessionFace, _Conversation[chat.ChatSession]):
    """`ravatar_audio.ChatSession` for programs of threads: the same arguments, events and errors."""

    def __init__(
        self,
        settings: Settings,
        *,
        fetch_token: Callable[[], str] | None = None,
        reconnect_limit_s: float | None = 120.0,
    ) -> None:
        _Conversation.__init__(
            self,
            chat.ChatSession(settings, fetch_token=awaited_in_thread(fetch_token), reconnect_limit_s=reconnect_limit_s),
        )

    @classmethod
    def open(
        cls,
        settings: Settings,
        source: Source[Any] | str | None = None,
        *,
        on_turn: Callable[[TurnEvent], None] | None = None,
        on_frame: Callable[[Frame], None] | None = None,
        fetch_token: Callable[[], str] | None = None,
    ) -> AbstractContextManager[Self]:
        """Everything as the settings say, in one block; see `ravatar_audio.ChatSession.open`."""
        manager = chat.ChatSession.open(
            settings,
            source._inner if isinstance(source, Source) else source,
            on_turn=on_turn,
            on_frame=on_frame,
            fetch_token=awaited_in_thread(fetch_token),
        )
        return cls._opened(manager, source)

    @property
    def turns(self) -> TurnSource:
        """The gate in front of the source, with its controls. Raises SettingsError for a source without one."""
        return TurnSource._around(self._ask(lambda: self._inner.turns), self._resident)

    def wait_finished(self) -> None:
        """Wait until the source that `open` was given has ended and its last turn was sent. Raises its error."""
        call(self._resident, self._inner.wait_finished)

    def history(self, *, per_page: int = 20) -> Iterator[ChatItem]:
        """What was said before, page after page, in the platform's order; only while the session lasts."""
        items = self._ask(lambda: self._inner.history(per_page=per_page))
        return LosslessIterator(self._resident, items.__anext__)


class Emulator(EmulatorFace):
    """`ravatar_audio.Emulator` for programs of threads: a platform on this machine, for a product's own tests."""

    def __init__(self, settings: EmulatorSettings | None = None) -> None:
        super().__init__(emulator.Emulator(settings))

    def __enter__(self) -> Self:
        enter(self._resident)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self._resident, is_failed=error is not None)

    def strike(self, fault: Fault) -> None:
        """Let something go wrong now."""
        call(self._resident, self._inner.strike, fault)
