"""Whether a stream is alive, from its counters: stalls, their end, and when it must be opened again. Pure."""

import errno
import math
import os
from collections.abc import Iterator

from ravatar_audio.capture.streams.stream import Stream, StreamStatistics
from ravatar_audio.errors import MediaAbortedError, MediaError, RecorderError

FIRST_BLOCK_TIMEOUT_S = 5.0
"""A device may take longer to deliver its first block than any other."""


class StallDetector:
    """Of one microphone, whichever stream it has."""

    def __init__(self, stall_s: float, reopen_s: float) -> None:
        self._shortest_s = stall_s, reopen_s
        self._stall_s, self._reopen_s = stall_s, max(reopen_s, stall_s)
        self.is_stalled: bool = False
        self._is_watched = False
        self.look_again_in_s: float = stall_s / 2
        self._looked_s = self._awake_since_s = -math.inf

    def begin(self, stream: Stream) -> None:
        """The microphone has this stream from now on, three of whose blocks may be missing before that is a stall."""
        self._stall_s = max(self._shortest_s[0], 3 * stream.latency_s)
        self._reopen_s = max(self._shortest_s[1], self._stall_s)
        self._is_watched = stream.watch(self._stall_s)
        self.is_stalled = False

    def look(self, stream: StreamStatistics, now_s: float) -> Iterator[tuple[str, str]]:
        """Kind and message of what begins or ends now."""
        if stream.last_block_s is None or stream.has_finished:
            self.look_again_in_s = self._stall_s / 2
            return
        since_s = now_s - stream.last_block_s
        # No sooner than a stall could begin: with nothing to see, each look would cost more than a frame's way out.
        self.look_again_in_s = max(self._stall_s - since_s, 0.0) + self._stall_s / 50
        if self._is_watched and since_s < self._stall_s / 2:
            self.look_again_in_s = math.inf
        if since_s > self._stall_s and not self.is_stalled:
            self.is_stalled = True
            yield "stalled", f"nothing has come for {since_s:.2f} s"
        elif since_s <= self._stall_s and self.is_stalled:
            self.is_stalled = False
            yield "recovered", "sound comes again"
        if self.is_stalled:
            self.look_again_in_s = self._stall_s / 2

    def reason_to_reopen(self, stream: StreamStatistics, now_s: float, name: str) -> MediaError | None:
        """Why the stream of the microphone `name` cannot go on as it is, or None."""
        # When it is this process that has done nothing for long, what waits for it has a chance to be taken.
        if now_s - self._looked_s > self._reopen_s / 2:
            self._awake_since_s = now_s
        self._looked_s = now_s
        since_s = now_s - max(stream.last_block_s or stream.opened_s, self._awake_since_s)
        if stream.missing:
            return MediaAbortedError(f"the microphone {name!r} is not there: {stream.missing}")
        if stream.has_finished:
            why = f": {os.strerror(-stream.finish_code)}" if stream.finish_code < 0 else ""
            return MediaAbortedError(
                f"the microphone {name!r} ended the stream after {stream.blocks} blocks{why}",
                errno=errno.errorcode.get(-stream.finish_code),
            )
        if stream.last_block_s is None:
            late = f"the microphone {name!r} sent nothing for {FIRST_BLOCK_TIMEOUT_S:g} s"
            return RecorderError(late) if since_s >= FIRST_BLOCK_TIMEOUT_S else None
        if since_s > self._reopen_s:
            return MediaAbortedError(f"the microphone {name!r} has sent nothing for {since_s:.2f} s")
        return None
