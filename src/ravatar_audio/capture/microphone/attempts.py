"""Attempts to open a microphone again: with a growing wait between them, each in a thread; what such calls may take."""

import logging
import math
from collections.abc import Callable
from typing import Generic, TypeVar

from ravatar_audio.capture.host.blocking_call import ThreadCall
from ravatar_audio.capture.microphone.arrivals import Arrivals
from ravatar_audio.capture.microphone.system import System
from ravatar_audio.capture.streams.open_errors import is_bug
from ravatar_audio.capture.streams.stream import StreamStatistics
from ravatar_audio.errors import MediaError, RecorderError
from ravatar_audio.observe.log import line_logger

log = line_logger(__name__)

BACKOFF_S = (0.1, 5.0)
"""First and longest wait between two attempts."""
BACKOFF_FACTOR = 2.0
"""Each wait is so many times the one before."""
SILENT_BACKOFF_S = (2.5, 55.0)
"""The same after a stream that ran, but gave nothing: waiting for a first block may take a whole core.

Behind a sound server PortAudio's thread then never sleeps. It is given FIRST_BLOCK_TIMEOUT_S; eleven times as much rest
leaves it less than a tenth of a core. Our own thread over ALSA sleeps until something comes.
"""
HANGING_S = 3.0
"""A call that has not returned for so long hangs, which is reported. Few take a second, as of a device that is busy."""
WELL_S = 1.0
"""A stream that ended sooner after its opening was no cure; one that lasted longer is worth having back at once."""

T = TypeVar("T")


class Relapses:
    """Streams that can be opened but do not last: how long to wait before the next, and since when it goes on so."""

    def __init__(self) -> None:
        self.begun_s = self.wait_s = 0.0
        self._has_ended = False

    def note_end(self, stream: StreamStatistics, now_s: float, *, waits_asleep: bool) -> None:
        """This stream has ended, or nothing comes from it any more; `waits_asleep`: until something came, it slept."""
        is_relapse = self._has_ended and (stream.last_block_s or stream.opened_s) - stream.opened_s < WELL_S
        if not is_relapse or not self.wait_s:
            self.begun_s = now_s
        shortest_s, longest_s = SILENT_BACKOFF_S if stream.is_silent and not waits_asleep else BACKOFF_S
        self.wait_s = min(max(shortest_s, BACKOFF_FACTOR * self.wait_s), longest_s) if is_relapse else 0.0
        self._has_ended = True


class Patience:
    """With calls into the sound library that do not return: when that is reported, and when it is over."""

    def __init__(self, what: str, limit_s: float, report: Callable[[str], None]) -> None:
        """Of calls that do `what` to a microphone."""
        self._what, self._limit_s, self._report = what, limit_s, report
        self._has_reported = False

    def spend(self, hung_s: float, reason: MediaError) -> None:
        """A call has not returned for so long. Raises RecorderError when that is too long."""
        if hung_s > self._limit_s:
            raise RecorderError(
                f"the microphone did not {self._what} within {self._limit_s:g} s",
                advice="The sound library hangs; restart the program.",
            ) from reason
        if hung_s > HANGING_S and not self._has_reported:
            self._has_reported = True
            self._report(f"the sound library has not returned for {hung_s:.1f} s; it is waited for")

    def left_s(self, hung_s: float) -> float:
        """Until spend() has something to do."""
        return max(0.0, (self._limit_s if self._has_reported else min(HANGING_S, self._limit_s)) - hung_s) + 0.001


class Attempts(Generic[T]):
    """Something that is tried until it succeeds. It never blocks and is never cancelled: whoever waits may leave."""

    def __init__(
        self,
        attempt: Callable[[], T],
        undo: Callable[[T], None],
        reason: MediaError,
        *,
        within_s: float,
        wake: Callable[[], None],
        arrivals: Arrivals | None,
        system: System,
        patience: "Patience",
        first_wait_s: float = 0.0,
    ) -> None:
        """`wake` is called, in a thread, when an attempt has ended; step() says more then.

        What comes by `arrivals` brings the next attempt forward. `undo` gets what a late attempt opened.
        """
        self._patience = patience
        self._call, self._undo, self._reason, self._wake = attempt, undo, reason, wake
        self._system, self._arrivals = system, arrivals
        self._next_s = system.now_s() + first_wait_s
        self._wait_s = BACKOFF_S[0]
        self._until_s = self._next_s + within_s
        self._attempt: ThreadCall[T] | None = None
        self._begun_s = 0.0
        self._failure = ""

    def step(self) -> T | None:
        """What the attempt gave once it has succeeded, else None; begins the next one when its time has come.

        Whatever an attempt raises is an attempt that failed, unless it is a bug, which is raised here.
        Raises the reason of it all when the time is over, and RecorderError when an attempt hangs.
        """
        now_s = self._system.now_s()
        if self._arrivals and self._arrivals.have_come():  # it may take a moment until it can be opened
            self._next_s, self._wait_s = now_s, BACKOFF_S[0]
        if self._attempt is None:
            if now_s >= self._next_s:
                attempt = ThreadCall(self._call, self._undo, self._wake)
                try:
                    self._system.start(attempt)
                except RuntimeError as error:  # no thread can be started
                    self._note_failure(error, now_s)
                else:
                    self._attempt, self._begun_s = attempt, now_s
            return None
        if not self._attempt.has_ended:
            self._patience.spend(self.hung_s, self._reason)
            return None
        attempt, self._attempt = self._attempt, None
        try:
            return attempt.take()
        except Exception as error:
            self._note_failure(error, now_s)
            return None

    def _note_failure(self, error: Exception, now_s: float) -> None:
        """Try again later, or raise the reason of it all. Raises a bug as it is."""
        if is_bug(error):
            raise error
        said, before = repr(error), self._failure
        self._failure = said
        expected = isinstance(error, MediaError) or said == before
        log.log(logging.DEBUG if expected else logging.WARNING, "not yet: %s", said)
        if now_s + self._wait_s > self._until_s:
            raise self._reason from error
        self._next_s = now_s + self._wait_s
        self._wait_s = min(BACKOFF_FACTOR * self._wait_s, BACKOFF_S[1])

    @property
    def is_trying(self) -> bool:
        """An attempt is under way, or what it gave has not been seen by step() yet."""
        return self._attempt is not None

    @property
    def hung_s(self) -> float:
        """How long the attempt that is under way has not returned; 0: there is none."""
        return self._system.now_s() - self._begun_s if self.is_trying else 0.0

    @property
    def patience_s(self) -> float:
        """How long nothing is to be done, unless `wake` is called or a device comes."""
        if self.is_trying:
            return self._patience.left_s(self.hung_s)
        longest_s = self._arrivals.patience_s if self._arrivals else math.inf
        return max(0.0, min(self._next_s - self._system.now_s(), longest_s))

    def drop(self) -> ThreadCall[T] | None:
        """No more attempts, and nobody waits for the one that is under way, which goes on."""
        attempt, self._attempt, self._next_s = self._attempt, None, float("inf")
        if attempt is not None:
            attempt.abandon()
        return attempt

    async def end(self, timeout_s: float) -> tuple[bool, T | None]:
        """No more attempts: whether the last one has ended in time, and what it gave, if anything."""
        attempt, self._attempt, self._next_s = self._attempt, None, float("inf")
        if attempt is None:
            return True, None
        if not await self._system.wait_ended(attempt, timeout_s):
            attempt.abandon()
            return False, None
        try:
            return True, attempt.take()
        except Exception as error:
            if is_bug(error):
                raise
            return True, None
