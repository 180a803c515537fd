"""How a microphone gets its device back: opened again until that succeeds, or looked for while a fallback runs."""

import math
from collections.abc import Callable
from typing import Any

from ravatar_audio.capture.host.blocking_call import ThreadCall
from ravatar_audio.capture.microphone.arrivals import Arrivals
from ravatar_audio.capture.microphone.attempts import HANGING_S, Attempts, Patience, Relapses
from ravatar_audio.capture.microphone.opener import Handover, MicrophoneOpener, OpenMicrophone
from ravatar_audio.capture.microphone.stall_detector import FIRST_BLOCK_TIMEOUT_S
from ravatar_audio.capture.microphone.system import System
from ravatar_audio.capture.streams.stream import Stream
from ravatar_audio.errors import MediaAbortedError, MediaError, RecorderError
from ravatar_audio.observe.log import line_logger

log = line_logger(__name__)

CLOSE_LIMIT_S, OPEN_LIMIT_S = 5.0, 10.0
"""A call into a sound library that takes longer never returns: PortAudio's do not, on hardware that was unplugged."""
SERVER_LIMIT_S = 60.0
"""The same where a sound server may be what hangs: it goes on, or ends, and then the call returns."""
LAST_CHANCE_S = 1.0
"""So long before there is no patience left with a call that hangs, a fallback is opened, if it was not before."""
END_TIMEOUT_S = 5.0
"""For a call that is under way when nothing is wanted any more."""
LOOK_BACK_S = (5.0, 60.0)
"""How long after its opening, or after a failed return, a fallback is kept before the device is looked for again.

Twice as long each time that the device is there but does not last.
"""


class Waiting:
    """For a stream that gets its device back by itself: until sound comes, or somebody else is to take over."""

    def __init__(
        self,
        opened: OpenMicrophone,
        reason: MediaError,
        system: System,
        *,
        until_s: float,
        give_up_s: float,
        give_up: Callable[[], None],
    ) -> None:
        """Raises `reason` after `until_s`; from `give_up_s` on it is not waited for any more."""
        self.opened, self._reason, self._system = opened, reason, system
        self._until_s, self._give_up_s, self._give_up = until_s, give_up_s, give_up
        stream = opened.stream.statistics()
        self._blocks = stream.blocks
        self._restart_s, self._wait_s = math.inf if stream.missing else 0.0, FIRST_BLOCK_TIMEOUT_S

    def step(self) -> OpenMicrophone | None:
        """The stream, when it gives sound again."""
        now_s, stream = self._system.now_s(), self.opened.stream.statistics()
        if stream.blocks > self._blocks:
            return self.opened
        if now_s >= self._until_s:
            self._give_up()
            raise self._reason
        if now_s >= self._give_up_s:
            self._give_up()
        elif stream.missing:
            self._restart_s = now_s + self._wait_s  # of what is there, but gives nothing
        elif now_s >= self._restart_s:
            self.opened.stream.restart()
            self._restart_s = now_s + self._wait_s
            self._wait_s = min(2 * self._wait_s, LOOK_BACK_S[1])
        return None

    @property
    def patience_s(self) -> float:
        """Until step() has something to do, unless the wake-up is set."""
        return max(0.0, min(self._until_s, self._give_up_s, self._restart_s) - self._system.now_s())


class Recovery:
    """Of one microphone, for as long as that is open."""

    def __init__(
        self,
        opener: MicrophoneOpener,
        system: System,
        emit: Callable[[str, str], None],
        *,
        recover_s: float,
        fallback_after_s: float,
    ) -> None:
        self._opener, self._system = opener, system
        self._recover_s, self._fallback_after_s = recover_s, fallback_after_s
        self._emit = lambda message: emit("hanging", message)
        self._relapses = {False: Relapses(), True: Relapses()}  # of the device, of the fallback
        self._look_back_s = LOOK_BACK_S[0]
        self._closing: Attempts[bool] | None = None  # of what has ended, and then:
        self._reopen: Callable[[], Attempts[OpenMicrophone]] | None = None
        self._reopening: Attempts[OpenMicrophone] | None = None
        self._open_beside: Callable[[], Attempts[OpenMicrophone]] | None = None  # when one of these hangs:
        self._beside: Attempts[OpenMicrophone] | None = None
        self._left_behind: list[ThreadCall[Any]] = []  # calls that hung, and nobody waits for
        self.has_left_behind = False
        """There was a call that hung: it may still use what the microphone gave it."""
        self._waiting: Waiting | None = None  # for a stream that gets its device back by itself
        self._lookout: Attempts[bool] | None = None  # for the device, while the fallback runs
        self._failure: MediaError | None = None
        self._arrivals: Arrivals | None = None

    @property
    def is_reopening(self) -> bool:
        """No stream is open: step() is to be called until it gives one."""
        return any((self._waiting, self._closing, self._reopening, self._failure))

    def note_end(self, stream: Stream, *, is_fallback: bool) -> float:
        """This stream is over; how many seconds there are to open another."""
        relapses, now_s = self._relapses[is_fallback], self._system.now_s()
        relapses.note_end(stream.statistics(), now_s, waits_asleep=stream.backend == "alsa")
        if not is_fallback and not relapses.wait_s:
            self._look_back_s = LOOK_BACK_S[0]
        return relapses.begun_s + self._recover_s - now_s

    def begin(
        self,
        reason: MediaError,
        opened: OpenMicrophone,
        feed: Callable[[], Handover],
        feed_beside: Callable[[], Handover],
        *,
        within_s: float,
    ) -> None:
        """Close what was opened, whose stream is over because of `reason`, then open the microphone again.

        `feed` says into what, once it is closed, and `feed_beside` while it is not; the wake-up is set when step() has
        something to do.
        """
        self._end_lookout()
        now_s, is_served = self._system.now_s(), self._system.is_served(opened.line.device)
        until_s, close_limit_s = now_s + within_s, SERVER_LIMIT_S if is_served else CLOSE_LIMIT_S
        wake, is_fallback = opened.wake.set, opened.is_fallback
        arrivals = self._watch_arrivals()
        relapses = self._relapses[is_fallback]
        # A device that is there but does not last is worse than another.
        does_not_last = not is_fallback and relapses.wait_s > 0 and self._opener.has_fallback
        if fallback_first := does_not_last and now_s >= relapses.begun_s + self._fallback_after_s:
            relapses = self._relapses[True]
        # Coming from the fallback, it is the first thing to go back to.
        fallback_from_s = now_s + (0.0 if is_fallback else self._fallback_after_s)

        def close_it() -> bool:
            opened.close()
            return True

        def reopen() -> Attempts[OpenMicrophone]:
            into = feed()

            def open_again() -> OpenMicrophone:
                or_fallback = self._system.now_s() >= fallback_from_s
                # What gets its device back by itself has been waited for until now.
                other_first = fallback_first or (opened.stream.gets_back and not is_fallback)
                return self._opener.open(into, or_fallback=or_fallback, fallback_first=other_first)

            return Attempts(
                open_again,
                OpenMicrophone.close,
                reason,
                within_s=until_s - self._system.now_s(),
                wake=wake,
                arrivals=arrivals,
                system=self._system,
                patience=Patience("open again", SERVER_LIMIT_S if is_served else OPEN_LIMIT_S, self._emit),
                first_wait_s=relapses.wait_s,
            )

        def open_beside() -> Attempts[OpenMicrophone]:
            # However long the device was to be waited for: not until there is no patience left.
            wait_s = min(fallback_from_s - now_s, close_limit_s - LAST_CHANCE_S) - HANGING_S
            return Attempts(
                lambda: self._opener.open_beside(feed_beside()),
                OpenMicrophone.close,
                reason,
                within_s=math.inf,
                wake=wake,
                arrivals=arrivals,
                system=self._system,
                patience=Patience("open", math.inf, lambda _: None),
                first_wait_s=max(0.0, wait_s),
            )

        self._reopen, self._open_beside = reopen, open_beside

        def close() -> None:
            self._closing = Attempts(
                close_it,
                lambda _: None,
                reason,
                within_s=0,
                wake=wake,
                patience=Patience("close", close_limit_s, self._emit),
                arrivals=None,  # they do not make it sooner, but may what follows
                system=self._system,
            )
            self._closing.step()  # begins it: whoever waits for frames may not come back

        if opened.stream.gets_back and not fallback_first:
            give_up_s = fallback_from_s if self._opener.has_fallback else math.inf
            self._waiting = Waiting(opened, reason, self._system, until_s=until_s, give_up_s=give_up_s, give_up=close)
        else:
            close()

    def step(self) -> OpenMicrophone | None:
        """What has been opened, once; raises what ends the capture."""
        if self._failure is not None:
            raise self._failure
        try:
            return self._step()
        except MediaError as error:
            self._failure = error
            raise

    def _step(self) -> OpenMicrophone | None:
        if self._waiting is not None:
            waiting = self._waiting
            opened = waiting.step()
            if opened is not None or self._closing is not None:
                self._waiting = None
            return opened
        opened = self._step_beside()
        if opened is None and self._closing is not None and self._closing.step() is not None:
            self._closing = None
            assert self._reopen is not None
            self._reopening = self._reopen()
        if opened is None and self._reopening is not None:
            opened = self._reopening.step()
        if opened is not None:
            self._leave_the_rest()
            if not opened.is_fallback:
                self._end_watch()
        return opened

    def _step_beside(self) -> OpenMicrophone | None:
        """The fallback, if it could be opened beside a call that hangs."""
        hanging = self._closing or self._reopening
        if hanging is None or hanging.hung_s <= HANGING_S:
            self._leave(self._beside)
            self._beside = None
        elif self._beside is None and self._opener.can_open_beside and self._open_beside is not None:
            self._beside = self._open_beside()
        return self._beside.step() if self._beside is not None else None

    def _leave_the_rest(self) -> None:
        """What has been opened is what counts: whatever is under way besides goes on by itself."""
        for attempts in (self._closing, self._reopening, self._beside):
            self._leave(attempts)
        self._closing = self._reopening = self._beside = None
        self._reopen = self._open_beside = None  # they hold what was fed before

    def _leave(self, attempts: Attempts[Any] | None) -> None:
        if attempts is not None and (thread_call := attempts.drop()) is not None:
            self._left_behind = [earlier for earlier in self._left_behind if not earlier.has_ended] + [thread_call]
            self.has_left_behind = True

    @property
    def is_opening_beside(self) -> bool:
        """The fallback is being opened, to go on from the last sample that was delivered: no more may be for now."""
        return self._beside is not None and self._beside.is_trying

    def look_out(self, wake: Callable[[], None]) -> None:
        """The fallback runs: look for the device until it has_returned(). `wake` is called when there is news."""
        first_wait_s, self._look_back_s = self._look_back_s, min(2 * self._look_back_s, LOOK_BACK_S[1])

        def look() -> bool:
            if not all(thread_call.has_ended for thread_call in self._left_behind):
                raise RecorderError("the sound library still hangs")
            return self._opener.look()

        self._lookout = Attempts(
            look,
            lambda _: None,
            MediaAbortedError("the microphone is not back"),
            within_s=math.inf,
            wake=wake,
            arrivals=self._watch_arrivals(),
            system=self._system,
            # A look that hangs is waited for as long as the fallback runs.
            patience=Patience("show up", math.inf, lambda _: None),
            first_wait_s=first_wait_s,
        )

    def has_returned(self) -> bool:
        """The device that the fallback runs for is there."""
        return self._lookout is not None and self._lookout.step() is not None

    def _end_lookout(self) -> None:
        lookout, self._lookout = self._lookout, None
        if lookout is not None:
            lookout.drop()

    @property
    def patience(self) -> tuple[float, Arrivals | None]:
        """For how many seconds nothing is to be done here, and what cuts that short."""
        waiting = [attempts for attempts in (self._closing, self._reopening, self._beside, self._lookout) if attempts]
        heeds_arrivals = any(attempts is not self._closing for attempts in waiting)
        patience_s = min((attempts.patience_s for attempts in waiting), default=math.inf)
        if self._waiting is not None:
            patience_s = min(patience_s, self._waiting.patience_s)
        return patience_s, self._arrivals if heeds_arrivals else None

    def _watch_arrivals(self) -> Arrivals:
        if self._arrivals is None:
            self._arrivals = self._system.arrivals(of_servers=self._opener.may_be_served)
        return self._arrivals

    def _end_watch(self) -> None:
        """Nothing is missed any more."""
        arrivals, self._arrivals = self._arrivals, None
        if arrivals is not None:
            arrivals.close()

    async def end(self) -> tuple[bool, OpenMicrophone | None]:
        """Open nothing more: whether all streams but the last have ended in time, and that, if one has been opened."""
        timeout_s = 0 if self._failure is not None else END_TIMEOUT_S
        closing, self._closing = self._closing, None
        reopening, self._reopening = self._reopening, None
        self._leave(self._beside)
        self._beside = None
        has_closed, opened = True, None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            opened = waiting.opened
        elif closing is not None:
            has_closed = (await closing.end(timeout_s))[1] is not None
        elif reopening is not None:
            has_closed, opened = await reopening.end(timeout_s)
        if self._lookout is not None:
            lookout, self._lookout = self._lookout, None
            await lookout.end(END_TIMEOUT_S)
        return has_closed, opened

    def close(self) -> None:
        """After end(). May be called again. What hangs keeps alone what it has."""
        self._reopen = self._open_beside = self._failure = None
        self._left_behind = []
        self._end_watch()
