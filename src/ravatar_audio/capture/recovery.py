"""How a microphone gets its device back: opened again until that succeeds, or looked for while a stand-in runs."""

import logging
import math
from collections.abc import Callable

from ravatar_audio.capture.arrivals import Arrivals
from ravatar_audio.capture.attempts import Attempts, Relapses
from ravatar_audio.capture.opener import Feed, Opened, Opener
from ravatar_audio.capture.system import System
from ravatar_audio.errors import MediaAbortedError, MediaError, RecorderError

log = logging.getLogger(__name__)

END_TIMEOUT_S = 5.0
"""For an attempt that is under way when nothing is wanted any more."""
LOOK_BACK_S = 5.0
"""How long after its opening, or after a failed return, a stand-in is kept before the device is looked for again."""


class Recovery:
    """Of one microphone, for as long as that is open."""

    def __init__(self, opener: Opener, system: System, *, recover_s: float, stand_in_after_s: float) -> None:
        self._opener, self._system = opener, system
        self._recover_s, self._stand_in_after_s = recover_s, stand_in_after_s
        self._relapses = Relapses()
        self._reopening: Attempts[Opened] | None = None
        self._lookout: Attempts[bool] | None = None  # for the device, while the stand-in runs
        self._arrivals: Arrivals | None = None

    @property
    def is_reopening(self) -> bool:
        """No stream is open: step() is to be called until it gives one."""
        return self._reopening is not None

    def note_end(self, opened_s: float) -> float:
        """The stream that was opened then is over; how many seconds there are to open it again."""
        now_s = self._system.now_s()
        self._relapses.note_end(opened_s, now_s)
        return self._relapses.begun_s + self._recover_s - now_s

    async def begin(self, reason: MediaError, feed: Feed, *, within_s: float, is_from_stand_in: bool) -> None:
        """Open the microphone again, into `feed`. What fed that has been closed, because of `reason`."""
        # Coming from the stand-in, it is the first thing to go back to.
        stand_in_from_s = self._system.now_s() + (0.0 if is_from_stand_in else self._stand_in_after_s)

        def open_again() -> Opened:
            return self._opener.open(feed, or_stand_in=self._system.now_s() >= stand_in_from_s)

        await self._end_lookout()
        self._reopening = Attempts(
            open_again,
            Opened.close,
            reason,
            within_s=within_s,
            wake=feed.wake.set,
            arrivals=self._watch_arrivals(),
            system=self._system,
            first_wait_s=self._relapses.wait_s,
        )

    def step(self) -> Opened | None:
        """What has been opened, once; raises what ends the capture."""
        opened = self._reopening.step() if self._reopening else None
        if opened is not None:
            self._reopening = None
        return opened

    def look_out(self, wake: Callable[[], None]) -> None:
        """The stand-in runs: look for the device until it has_returned(). `wake` is called when there is news."""
        self._lookout = Attempts(
            self._opener.look,
            lambda _: None,
            MediaAbortedError("the microphone is not back"),
            within_s=math.inf,
            wake=wake,
            arrivals=self._watch_arrivals(),
            system=self._system,
            first_wait_s=LOOK_BACK_S,
        )

    def has_returned(self) -> bool:
        """The device that the stand-in runs for is there."""
        try:
            return self._lookout is not None and self._lookout.step() is not None
        except RecorderError as error:  # a sound library that hangs while it looks: stay with the stand-in
            log.error("the missing microphone is looked for no more: %s", error.message)  # noqa: TRY400
            self._lookout = None
            return False

    @property
    def patience(self) -> tuple[float, Arrivals | None]:
        """For how many seconds nothing is to be done here, and what cuts that short."""
        waiting = self._reopening or self._lookout
        return (waiting.patience_s, self._arrivals) if waiting else (math.inf, None)

    def _watch_arrivals(self) -> Arrivals:
        if self._arrivals is None:
            self._arrivals = self._system.arrivals()
        return self._arrivals

    async def end(self) -> tuple[bool, Opened | None]:
        """Open nothing more: whether the last attempt has ended in time, and what it opened, if anything."""
        reopening, self._reopening = self._reopening, None
        has_ended, opened = await reopening.end(END_TIMEOUT_S) if reopening else (True, None)
        await self._end_lookout()
        return has_ended, opened

    async def _end_lookout(self) -> None:
        if self._lookout is not None:
            lookout, self._lookout = self._lookout, None
            await lookout.end(END_TIMEOUT_S)

    def close(self) -> None:
        """After end(). May be called again."""
        if self._arrivals is not None:
            self._arrivals.close()
