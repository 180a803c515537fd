"""A stream that is over is closed, and the microphone opened again: where the library hangs, the fallback beside it."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from ravatar_audio.capture.host.blocking_call import AwaitedCall, ThreadCall
from ravatar_audio.capture.microphone.library_calls import LibraryCalls
from ravatar_audio.capture.microphone.opener import Handover, MicrophoneOpener, OpenMicrophone
from ravatar_audio.capture.microphone.retry import Retry
from ravatar_audio.capture.microphone.system import Hotplug, System
from ravatar_audio.capture.streams.open_errors import is_bug
from ravatar_audio.errors import MediaError, RecorderError
from ravatar_audio.groups import first_of

HANGING_S = 3.0
"""A call that has not returned for so long hangs, which is an event. Few take a second, as of a device that is busy."""
CLOSE_LIMIT_S, OPEN_LIMIT_S = 5.0, 10.0
"""A call into a sound library that takes longer never returns: PortAudio's do not, on hardware that was unplugged."""
SERVER_LIMIT_S = 60.0
"""The same where a sound server may be what hangs: it goes on, or ends, and then the call returns."""
LAST_CHANCE_S = 1.0
"""So long before a call that hangs is given up, a fallback is opened, if it was not before."""


@dataclass(frozen=True, slots=True)
class Supervised:
    """The microphone, as its supervisor sees it. It may be forgotten by its program meanwhile: ReferenceError then."""

    emit: Callable[[str, str], None]
    """An event: its kind and its message."""
    take_over: Callable[[OpenMicrophone], None]
    """This stream is the microphone's from now on."""
    reopened: Callable[[OpenMicrophone], None]
    """And so it is after another."""
    hand_over: Callable[[OpenMicrophone], Handover]
    """What goes on from this stream, which has been closed."""
    begin_beside: Callable[[], Handover]
    """What goes on from the last frame that was delivered, as nobody knows what else may come; no more is delivered."""
    end_beside: Callable[[], None]
    """It did not go on: more may be delivered."""
    look_at_delivered: Callable[[], None]
    """Look at the last frame that was delivered, if nobody has."""
    wake: Callable[[], None]
    """Let whoever waits for a frame look again."""


@dataclass(frozen=True, slots=True)
class StreamLoss:
    """Of a stream: which, why, since when, and what is to be done about it by when."""

    ended: OpenMicrophone
    reason: MediaError
    is_served: bool
    begun_s: float
    until_s: float
    fallback_from_s: float
    fallback_first: bool
    hanging: set[str] = field(default_factory=set)
    """What the calls do that have hung: each is an event once."""

    def limit_s(self, usual_s: float) -> float:
        """How long a call may take."""
        return SERVER_LIMIT_S if self.is_served else usual_s


class Reopening:
    """After one loss. Its methods raise what ends the capture: the loss's reason, or that a call hangs for too long."""

    def __init__(
        self,
        opener: MicrophoneOpener,
        system: System,
        client: Supervised,
        calls: LibraryCalls,
        loss: StreamLoss,
        hotplug: Hotplug,
    ) -> None:
        self._opener, self._system, self._client, self._calls = opener, system, client, calls
        self._loss, self._hotplug = loss, hotplug

    async def close(self) -> OpenMicrophone | None:
        """Close what has ended. The fallback that runs beside it instead, where that hangs."""
        loss = self._loss
        has_time = self._system.now_s() < loss.until_s
        closing = AwaitedCall(loss.ended.close, lambda _: None)
        if (failure := self._calls.start(closing)) is None:
            if fallback := await self._outlasted(closing, "close", loss.limit_s(CLOSE_LIMIT_S)):
                return fallback
            failure = closing.error
        if failure is not None:
            raise failure if is_bug(failure) else loss.reason from failure
        if not has_time:
            raise loss.reason
        return None

    async def open(self, first_wait_s: float) -> OpenMicrophone:
        """Open the microphone, or the fallback, again and again until that succeeds."""
        loss = self._loss
        into = self._client.hand_over(loss.ended)

        def open_again() -> OpenMicrophone:
            or_fallback = self._system.now_s() >= loss.fallback_from_s
            # What gets its device back by itself has been waited for until now.
            other_first = loss.fallback_first or (loss.ended.stream.gets_back and not loss.ended.is_fallback)
            return self._opener.open(into, or_fallback=or_fallback, fallback_first=other_first)

        retry = Retry(loss.reason, self._system, self._hotplug, until_s=loss.until_s, first_wait_s=first_wait_s)
        while True:
            await retry.pause()
            opening = AwaitedCall(open_again, OpenMicrophone.close)
            if (failure := self._calls.start(opening)) is None:
                if fallback := await self._outlasted(opening, "open again", loss.limit_s(OPEN_LIMIT_S)):
                    return fallback
                if (failure := opening.error) is None:
                    return opening.take()
            retry.note_failure(failure)

    async def _outlasted(self, call: AwaitedCall[Any], what: str, limit_s: float) -> OpenMicrophone | None:
        """None when the call has ended. One that hangs may be outlasted by the fallback, opened beside it: that."""
        loss, self._calls.under_way = self._loss, call
        with trio.move_on_after(min(HANGING_S, limit_s) + 0.001):
            await call.wait_ended()
        opened: list[OpenMicrophone] = []
        if not call.has_ended:
            if what not in loss.hanging:
                loss.hanging.add(what)
                text = f"the sound library has not returned for {HANGING_S:g} s; it is waited for"
                self._client.emit("hanging", text)

            async def open_beside() -> None:
                opened.append(await self._opened_beside())

            try:
                with trio.move_on_after(limit_s - HANGING_S):
                    await first_of(call.wait_ended, open_beside)
            except BaseException:  # the microphone is being stopped
                for late in opened:
                    self._system.start(ThreadCall(late.close, lambda _: None))
                raise
        if not call.has_ended and not opened:
            raise RecorderError(
                f"the microphone did not {what} within {limit_s:g} s",
                advice="The sound library hangs; restart the program.",
            ) from loss.reason
        self._calls.under_way = None
        if not opened:
            return None
        self._calls.leave(call)
        return opened[0]

    async def _opened_beside(self) -> OpenMicrophone:
        """The fallback, opened while a call hangs."""
        loss = self._loss
        if not self._opener.can_open_beside:
            await trio.sleep_forever()
        # However long the device was to be waited for: not until the call is given up.
        last_s = loss.limit_s(CLOSE_LIMIT_S) - LAST_CHANCE_S
        wait_s = max(0.0, min(loss.fallback_from_s - loss.begun_s, last_s) - HANGING_S)
        retry = Retry(loss.reason, self._system, self._hotplug, until_s=math.inf, first_wait_s=wait_s)
        while True:
            await retry.pause()
            into = self._client.begin_beside()
            try:
                return await self._calls.result(functools.partial(self._opener.open_beside, into), OpenMicrophone.close)
            except Exception as error:
                self._client.end_beside()
                retry.note_failure(error)
            except BaseException:
                self._client.end_beside()
                self._calls.has_left_behind = True
                raise
