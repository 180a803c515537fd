"""Opening a microphone again after it went away: attempts with a growing wait between them, each in a thread."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import trio

from ravatar_audio.capture.line import Line
from ravatar_audio.capture.worker import Errand
from ravatar_audio.errors import MediaError, RecorderError

log = logging.getLogger(__name__)

BACKOFF_S = (0.1, 5.0)
"""First and longest wait between two attempts; each is twice the one before."""
ATTEMPT_TIMEOUT_S = 10.0
"""An attempt that takes longer hangs in the sound library."""


class Recovery:
    """A line that is being opened again. It never blocks and is never cancelled: whoever waits may leave and return."""

    def __init__(
        self,
        open_line: Callable[[], Line],
        reason: MediaError,
        *,
        within_s: float,
        wake: Callable[[], None],
        device_folder: Path = Path("/dev/snd"),
    ) -> None:
        """`wake` is called, in a thread, when an attempt has ended; step() says more then.

        A change in `device_folder`, where the kernel's devices come and go, brings the next attempt forward.
        """
        self._open_line, self._reason, self._wake = open_line, reason, wake
        self._next_s = time.monotonic()
        self._wait_s = BACKOFF_S[0]
        self._until_s = self._next_s + within_s
        self._attempt: Errand[Line] | None = None
        self._begun_s = 0.0
        self._device_folder = device_folder
        self._folder_seen = self._folder_changed()

    def step(self) -> Line | None:
        """The line when it is open again, else None; begins the next attempt when its time has come.

        Raises the reason of it all when the time is over, and RecorderError when an attempt hangs.
        """
        now_s = time.monotonic()
        if (changed := self._folder_changed()) != self._folder_seen:
            # Something was plugged in or out; it may take a moment until it can be opened.
            self._folder_seen, self._next_s, self._wait_s = changed, now_s, BACKOFF_S[0]
        if self._attempt is None:
            if now_s >= self._next_s:
                self._attempt, self._begun_s = Errand(self._open_line, _close, self._wake), now_s
                self._attempt.start()
            return None
        if not self._attempt.has_ended:
            if now_s - self._begun_s > ATTEMPT_TIMEOUT_S:
                raise RecorderError(
                    f"the microphone did not open again within {ATTEMPT_TIMEOUT_S:g} s",
                    advice="The sound library hangs; restart the program.",
                ) from self._reason
            return None
        attempt, self._attempt = self._attempt, None
        try:
            return attempt.take()
        except MediaError as error:
            log.debug("not yet: %s", error.message)
            if now_s + self._wait_s > self._until_s:
                raise self._reason from error
            self._next_s = now_s + self._wait_s
            self._wait_s = min(2 * self._wait_s, BACKOFF_S[1])
            return None

    def _folder_changed(self) -> int:
        try:
            return self._device_folder.stat().st_mtime_ns
        except OSError:
            return 0

    @property
    def patience_s(self) -> float:
        """How long nothing is to be done, unless `wake` is called."""
        return max(0.0, self._next_s - time.monotonic()) if self._attempt is None else ATTEMPT_TIMEOUT_S

    async def end(self, timeout_s: float) -> tuple[bool, Line | None]:
        """No more attempts: whether the last one has ended in time, and the line that it opened, if any."""
        attempt, self._attempt, self._next_s = self._attempt, None, float("inf")
        if attempt is None:
            return True, None
        if not await trio.to_thread.run_sync(attempt.wait, timeout_s):
            attempt.abandon()
            return False, None
        try:
            return True, attempt.take()
        except MediaError:
            return True, None


def _close(line: Line) -> None:
    line.close()
