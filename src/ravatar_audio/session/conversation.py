"""What both modes share beside the link: entering and leaving, what is sent by hand, events, and how it ends."""

import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import trio

from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import LinkLimits
from ravatar_audio.api.messages import Reply
from ravatar_audio.api.results import Avatar, Connection, Language
from ravatar_audio.api.token_source import FetchToken
from ravatar_audio.arguments import check_time_s
from ravatar_audio.capture import Microphone
from ravatar_audio.choices import RecordingFormat
from ravatar_audio.errors import SettingsError
from ravatar_audio.groups import background_nursery
from ravatar_audio.observe.log import hide_patterns
from ravatar_audio.session.avatar_speech import AvatarVoice
from ravatar_audio.session.event_queue import EventIterator
from ravatar_audio.session.events import AvatarSilent, AvatarSpeaks, LiveEvent
from ravatar_audio.session.linking import LinkKeeper
from ravatar_audio.session.machine import stable_user_id
from ravatar_audio.session.message_limits import check_text, check_voice
from ravatar_audio.session.outbox import MakeText
from ravatar_audio.session.reply_time import ReplyTime
from ravatar_audio.session.selection import choose_language
from ravatar_audio.session.state import SessionState
from ravatar_audio.session.turn_source import TurnSource
from ravatar_audio.settings import Settings
from ravatar_audio.turns import Recording, TurnEvent
from ravatar_audio.worlds import check_world

_OPENER_S = 1.0
"""How long after entering a source waits for the session to begin before it is taken from: sources hold 2 s, and lose
what comes then, while the outbox keeps the newest. It is not taken from before the platform has answered at all."""


class Conversation(LinkKeeper):
    """Base of LiveSession and ChatSession: an async context manager that keeps one link up. See there."""

    def __init__(
        self,
        settings: Settings,
        *,
        platform: Platform | None,
        fetch_token: FetchToken | None,
        reconnect_limit_s: float | None,
        limits: LinkLimits | None,
    ) -> None:
        super().__init__(settings, reconnect_limit_s, limits)
        check_time_s("reconnect_limit_s", reconnect_limit_s)
        if platform is not None and fetch_token is not None:
            raise SettingsError("fetch_token would have no effect beside a platform", advice="Give it to the Platform.")
        self._given_platform, self._fetch_token = platform, fetch_token
        self._stack = AsyncExitStack()
        self._is_all_said = False
        self._failure: Exception | None = None
        self._is_failure_raised = False
        self._avatar_voice = AvatarVoice()
        self._reply_time = ReplyTime()

    async def __aenter__(self) -> Self:
        check_world("trio", type(self).__name__)
        if self.state is not SessionState.NEW:
            raise RuntimeError(f"a {type(self).__name__} is entered once; make a new one")
        self.state = SessionState.STARTING
        self._observer.begun(self)
        try:
            await self._stack.enter_async_context(self._lifetime())
        except BaseException as error:
            self._move_to(SessionState.FAILED)
            if isinstance(error, Exception) and self._failure is None:
                self._observer.failed(error)
            self._observer.ended(self)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._stack.__aexit__(kind, error, trace)
        finally:
            self._observer.ended(self)

    @property
    def is_linked(self) -> bool:
        """A WebSocket is open now."""
        return self._link is not None

    def observed(self) -> Mapping[str, object]:
        """For observers: this mode's statistics, by where they come from."""
        return {}

    def redact(self, text: str) -> str:
        """For observers: the text with tokens and the like hidden."""
        return self.platform.log.redact(text) if hasattr(self, "platform") else hide_patterns(text)

    def events(self) -> AsyncIterator[LiveEvent]:
        """The server's messages and what happens to the link, until the session is over, or by `linger_s`.

        At most 1,000 wait for whoever iterates, and 32 MiB; then the oldest are dropped and counted.
        """
        return EventIterator(self._next_event)

    async def _next_event(self) -> LiveEvent:
        await trio.lowlevel.checkpoint()
        self._check_entered()
        while not self._events:
            if self.state.is_over or self._is_all_said:
                self._raise_failure()
                raise StopAsyncIteration
            await self._changed.park()
        return self._events.take()

    async def send_text(self, text: str) -> None:
        """Say something in writing; returns when the socket has it, and waits for a link where there is none.

        Cancelled before, it is not sent.

        Raises SettingsError for what the platform would refuse: no text, an empty one, one of more than 65,536
        characters, and half a character (a lone surrogate). Raises trio.ClosedResourceError after the session's end.
        """
        check_text(text)
        began_s = time.monotonic()
        await self._put(lambda envelope: envelope.text_message(text))
        self._reply_time.note_end(began_s)

    async def send_voice(
        self, recording: Recording | bytes, *, push_to_talk: bool | None = None, format: RecordingFormat = "wav"
    ) -> None:
        """Send a whole utterance: a Recording, as "wav" or (extra "webm") "webm", or a file's bytes, 16 kHz mono.

        `push_to_talk`: whether the user held a button for it; default: what the recording says. Returns when the socket
        has it, and waits for a link where there is none. Cancelled before, it is not sent, also when a part of it has
        been written: the connection is made again then. The recording stays as it is: when this raises, it can be sent
        again. Raises SettingsError for more than 8 MiB, for a recording without sound, and for bytes that are neither
        WAV nor WebM; trio.ClosedResourceError after the session's end.
        """
        began_s = time.monotonic()
        await self._send_recording(recording, push_to_talk, format)
        self._reply_time.note_end(began_s)

    async def _send_recording(
        self, recording: Recording | bytes, push_to_talk: bool | None, format: RecordingFormat
    ) -> None:
        self._check_entered()
        if isinstance(recording, Recording):
            if not recording.samples:
                raise SettingsError("the recording is empty", advice="Record something before it is sent.")
            push_to_talk = recording.is_push_to_talk if push_to_talk is None else push_to_talk
            data = await trio.to_thread.run_sync(recording.encoded, format)
        else:
            data = recording
        check_voice(data)
        await self._put(lambda envelope: envelope.voice_message(data, push_to_talk=bool(push_to_talk)))

    @property
    @abstractmethod
    def turns(self) -> TurnSource:
        """The gate in front of the source, with its controls. Raises SettingsError for a source without one."""

    def mute(self, at_s: float | None = None) -> None:
        """Hear nothing from now on, or from `at_s`, a time.monotonic(); an open turn ends. It lasts until unmute().

        Any thread may call. Raises SettingsError for a source without a gate.
        """
        self.turns.mute(at_s)

    def unmute(self, at_s: float | None = None) -> None:
        """Hear again. Raises SettingsError for a source without a gate."""
        self.turns.unmute(at_s)

    @property
    def is_muted(self) -> bool:
        """Nothing is heard, by mute(). Raises SettingsError for a source without a gate."""
        return self.turns.is_muted

    async def change_microphone(self, device: str | int | None) -> None:
        """Take another microphone from now on, without a break in the session: see Microphone.change_device.

        Raises SettingsError where the source is none.
        """
        source = self.turns.source
        if not isinstance(source, Microphone):
            raise SettingsError(f"the source, a {type(source).__name__}, is no microphone that could be changed")
        await source.change_device(device)

    # What a mode adds.

    @abstractmethod
    def _choose_avatar(self) -> Avatar:
        """From what the platform offers; raises SettingsError."""

    async def _run_beside(self) -> None:
        """In a task of its own, from the first link on, or sooner where that takes its time."""

    async def _clean_up(self) -> None:
        """In a task of its own, from the beginning on: what earlier programs have left behind."""

    async def _on_exit(self) -> None:
        """When everything else has ended, cancelled or not."""

    # The life of a conversation, from the outside in.

    @asynccontextmanager
    async def _lifetime(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(self._note_over)
            if self._given_platform is not None:
                self.platform = self._given_platform
            else:
                self.platform: Platform = Platform(
                    self.settings, stable_user_id(self.settings), fetch_token=self._fetch_token
                )
                await stack.enter_async_context(self.platform)
            opened_s = trio.current_time() + _OPENER_S
            self.connection: Connection = await self.platform.connection()
            self.avatar: Avatar = self._choose_avatar()
            self.language: Language = choose_language(self.connection, self.settings.language)
            stack.push_async_callback(self._on_exit)
            async with background_nursery() as nursery:
                nursery.start_soon(self._clean_up)
                nursery.start_soon(self._supervise)
                nursery.start_soon(self._note_silence)
                with trio.move_on_at(opened_s):
                    await self._wait_begun()
                self._raise_failure()
                nursery.start_soon(self._run_beside)
                nursery.start_soon(self._renew_token)
                await self._wait_begun()
                self._raise_failure()
                yield
            self._note_over()
            if not self._is_failure_raised:
                self._raise_failure()

    async def _wait_begun(self) -> None:
        while not (self._is_begun or self.state.is_over):
            await self._changed.park()

    async def _supervise(self) -> None:
        try:
            await self._keep_linked()
        except Exception as error:
            self._fail(error)

    def _emit(self, event: LiveEvent, characters: int = 0) -> None:
        super()._emit(event, characters)
        before = self._avatar_voice.is_speaking
        speaks = self._avatar_voice.note(event, trio.current_time())
        if speaks is not None and speaks != before:
            is_estimated = not self._avatar_voice.has_events
            super()._emit(AvatarSpeaks(is_estimated) if speaks else AvatarSilent(is_estimated))
        if isinstance(event, Reply) and (answered := self._reply_time.note_reply(time.monotonic())) is not None:
            super()._emit(answered)

    async def _note_silence(self) -> None:
        """Where no message says that the avatar has ended."""
        while True:
            with trio.move_on_at(self._avatar_voice.ends_s):
                await self._changed.park()
            if trio.current_time() >= self._avatar_voice.ends_s:
                self._avatar_voice.set(False)
                super()._emit(AvatarSilent(is_estimated=True))

    def _note_turn_end(self, event: TurnEvent, end_s: float) -> None:
        self._reply_time.note_end(end_s, event.turn)

    # Bookkeeping.

    async def _put(self, make: MakeText) -> None:
        self._check_usable()
        await self._guard(self._outbox.put_text(make))

    async def _guard(self, waiting: Any) -> None:
        try:
            await waiting
        except Exception as error:
            self._is_failure_raised = self._is_failure_raised or error is self._failure
            raise

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            self._observer.failed(error)
        self._note_over()

    def _note_over(self) -> None:
        """Nothing more comes or goes: whoever waits hears of it."""
        self._move_to(SessionState.ENDED if self._failure is None else SessionState.FAILED)
        self._outbox.fail(self._failure or trio.ClosedResourceError("the session is over"))
        self._changed.unpark_all()

    def _check_entered(self) -> None:
        if self.state is SessionState.NEW:
            raise RuntimeError(f"the {type(self).__name__} has not begun; enter it with 'async with'")

    def _check_usable(self) -> None:
        self._check_entered()
        self._raise_failure()
        if self.state.is_over:
            raise trio.ClosedResourceError("the session is over")

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._is_failure_raised = True
            raise self._failure
