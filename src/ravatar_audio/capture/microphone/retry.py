"""Opening a microphone again: the wait between two attempts, which grows, and ends when something has come."""

import logging

import trio

from ravatar_audio.capture.microphone.system import Hotplug, System
from ravatar_audio.capture.streams.open_errors import is_bug
from ravatar_audio.capture.streams.stream import StreamStatistics
from ravatar_audio.errors import MediaError
from ravatar_audio.observe.log import line_logger

log: logging.Logger = line_logger(__name__)

BACKOFF_S = (0.1, 5.0)
"""First and longest wait between two attempts."""
BACKOFF_FACTOR = 2.0
"""Each wait is so many times the one before."""
SILENT_BACKOFF_S = (2.5, 55.0)
"""The same after a stream that ran, but gave nothing: waiting for a first block may take a whole core.

Behind a sound server PortAudio's thread then never sleeps. It is given FIRST_BLOCK_TIMEOUT_S; eleven times as much rest
leaves it less than a tenth of a core. Our own thread over ALSA sleeps until something comes.
"""
WELL_S = 1.0
"""A stream that ended sooner after its opening was no cure; one that lasted longer is worth having back at once."""


class FailureHistory:
    """Streams that can be opened but do not last: how long to wait before the next, and since when it goes on so."""

    def __init__(self) -> None:
        self.begun_s: float = 0.0
        self.wait_s: float = 0.0
        self._has_ended = False

    def note_end(self, stream: StreamStatistics, now_s: float, *, waits_asleep: bool) -> None:
        """This stream has ended, or nothing comes from it any more; `waits_asleep`: until something came, it slept."""
        is_relapse = self._has_ended and (stream.last_block_s or stream.opened_s) - stream.opened_s < WELL_S
        if not is_relapse or not self.wait_s:
            self.begun_s = now_s
        shortest_s, longest_s = SILENT_BACKOFF_S if stream.is_silent and not waits_asleep else BACKOFF_S
        self.wait_s = min(max(shortest_s, BACKOFF_FACTOR * self.wait_s), longest_s) if is_relapse else 0.0
        self._has_ended = True


class Retry:
    """When something is to be tried that may fail, and when no more: pause(), try, note_failure(), and again."""

    def __init__(
        self, reason: MediaError, system: System, hotplug: Hotplug, *, until_s: float, first_wait_s: float = 0.0
    ) -> None:
        """`reason` is what it is for, and is raised when there is no time for another attempt before `until_s`."""
        self._reason, self._system, self._hotplug = reason, system, hotplug
        self._next_s = system.now_s() + first_wait_s
        self._wait_s, self._until_s = BACKOFF_S[0], until_s + first_wait_s
        self._failure = ""

    async def pause(self) -> None:
        """Until the next attempt is due, or something has come: it may take a moment until that can be opened."""
        with trio.move_on_after(max(0.0, self._next_s - self._system.now_s())) as pause:
            await self._hotplug.wait_come()
        if not pause.cancelled_caught:
            self._wait_s = BACKOFF_S[0]
            await trio.lowlevel.checkpoint()

    def note_failure(self, error: Exception) -> None:
        """Whatever an attempt raised: it has failed. Raises a bug as it is, or the reason of it all."""
        if is_bug(error):
            raise error
        said, before = repr(error), self._failure
        self._failure = said
        expected = isinstance(error, MediaError) or said == before
        log.log(logging.DEBUG if expected else logging.WARNING, "not yet: %s", said)
        now_s = self._system.now_s()
        if now_s + self._wait_s > self._until_s:
            raise self._reason from error
        self._next_s = now_s + self._wait_s
        self._wait_s = min(BACKOFF_FACTOR * self._wait_s, BACKOFF_S[1])
