"""Whether the peer of a connection still lives: pings, and what is judged by their answers and by what is acknowledged.

Three detectors, as each sees what the others do not:
- a ping without an answer: a peer whose system acknowledges, but whose program hangs; and an idle line that is cut;
- a message that cannot be written on: a peer that reads no more;
- nothing acknowledged for `user_timeout_s`: a line that is cut while something is under way. The system's own
  TCP_USER_TIMEOUT says the same, but not of a peer that keeps its window shut, and on Linux only.

Some servers answer no pings. That is learnt (PongHabit), and of those the other two detectors judge alone.
"""

import math
import os
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import outcome
import trio

from ravatar_audio.api.link_end import Cause, LinkDown
from ravatar_audio.api.wire import WireStream

if TYPE_CHECKING:
    from ravatar_audio.api.link import LinkLimits

SLOWEST_BYTES_PER_S = 4 * 1024
"""A message that goes on, but slower than this on the whole, is given up: a peer may take a byte every second."""

VOICE_BYTES_PER_S = 25 * 1024
"""The slowest line that voice is promised on, 200 kbit/s: how long a ping may wait behind a message."""

MISSES_OF_A_STRANGER = 2
MISSES_OF_AN_ACQUAINTANCE = 5
"""Connections in a row without a pong until a server is taken for one that answers none; the latter had answered."""


class PongHabit:
    """Whether a server answers pings; shared by the connections to it that follow one another.

    The first connections without a pong count as dead, as they may be. After `MISSES_OF_A_STRANGER` in a row it was the
    server, not the line. A pong, whenever it comes, shows that it answers.
    """

    def __init__(self) -> None:
        self._misses = 0
        self._has_answered = False

    @property
    def is_silent(self) -> bool:
        """This server answers no pings."""
        return self._misses >= (MISSES_OF_AN_ACQUAINTANCE if self._has_answered else MISSES_OF_A_STRANGER)

    def note_pong(self) -> None:
        """Note that it has answered."""
        self._misses, self._has_answered = 0, True

    def note_miss(self) -> None:
        """Note that it has not, although its system has the ping."""
        self._misses += 1


class Heartbeat:
    """Pings and judges one connection: `run` ends by raising LinkDown."""

    def __init__(
        self, wire: WireStream, limits: "LinkLimits", habit: PongHabit, is_closing: Callable[[], bool]
    ) -> None:
        self._wire = wire
        self._limits = limits
        self._habit = habit
        self._is_closing = is_closing
        self._ping_sent_s: float | None = None
        self._ping_end_bytes = 0
        self._is_ping_behind = False
        """Something was under way when the ping was sent: what is acknowledged then may be that."""
        self._last_ping_s = -math.inf
        self._hurry = _draw_hurry()

    async def run(self) -> None:
        """Ping, and judge, until the peer is found dead.

        It looks again when there may be something to see, not at a fixed pace: with thousands of links that counts.
        """
        while True:
            due_s = self.look()
            await trio.sleep_until(due_s)

    def look(self) -> float:
        """Ping where that is due, and judge.

        Return when to look again, by trio's clock; raises LinkDown for a dead peer.
        """
        now_s = trio.current_time()
        self._wire.look()
        self._note_answers()
        ping_due_s = self._next_ping(self._hurry)
        if self._ping_sent_s is None and now_s >= ping_due_s:
            self._ping()
            self._hurry = _draw_hurry()
        verdict_due_s, why = self._next_verdict()
        if now_s >= verdict_due_s:
            raise LinkDown(Cause.SILENT, why)
        due_s = verdict_due_s
        if self._ping_sent_s is None:  # one that is due and found no room is tried again a little later
            due_s = min(due_s, ping_due_s if ping_due_s > now_s else now_s + self._limits.ping_interval_s / 4)
        # A send may begin at any time.
        return now_s + min(due_s - now_s, self._limits.stuck_send_s, self._limits.user_timeout_s)

    def _note_answers(self) -> None:
        if self._wire.last_pong_s is not None:
            self._habit.note_pong()
            self._wire.last_pong_s = None
        if self._ping_sent_s is None:
            return
        if self._wire.last_received_s >= self._ping_sent_s:
            self._ping_sent_s = None  # a pong, or anything else that shows life
        elif trio.current_time() >= self._ping_due_s()[0] and self._has_peer_the_ping:
            self._habit.note_miss()
            if self._habit.is_silent:
                self._ping_sent_s = None

    @property
    def _has_peer_the_ping(self) -> bool:
        acknowledged_bytes = self._wire.acknowledged_bytes
        return acknowledged_bytes is None or acknowledged_bytes >= self._ping_end_bytes

    def _next_ping(self, hurry: float) -> float:
        received_s = max(self._wire.last_received_s, self._last_ping_s)
        moved_s = max(received_s, self._wire.last_sent_s)
        quiet_due_s = moved_s + hurry * self._limits.ping_interval_s
        if self._wire.send_started_s is not None:
            return quiet_due_s  # behind a long message a ping is answered late; its bytes, as they go, show life enough
        return min(quiet_due_s, received_s + hurry * self._limits.deaf_ping_s)

    def _ping(self) -> None:
        """Send a ping past the library: it would keep a task waiting for the pong, here any sign of life will do.

        One that the socket does not take is not waited for: it was never sent.
        """
        is_behind_others = self._wire.is_waiting
        if not self._is_closing() and self._wire.send_nowait(b"\x89\x80" + os.urandom(4)):  # FIN and ping, masked
            self._ping_sent_s = self._last_ping_s = trio.current_time()
            self._ping_end_bytes = self._wire.sent_bytes
            self._is_ping_behind = is_behind_others

    def _ping_due_s(self) -> tuple[float, float]:
        """When the ping that is out counts as unanswered, and since when it has been waited for."""
        assert self._ping_sent_s is not None
        wire, limits = self._wire, self._limits
        heard_s = max(self._ping_sent_s, wire.last_received_s)
        moved_s = max(heard_s, wire.last_sent_s, wire.last_progress_s if self._is_ping_behind else 0.0)
        # A long message may still be on its way behind a system that has acknowledged it; the ping is behind it.
        is_behind_message = wire.send_ended_s > wire.last_received_s
        patience_s = wire.send_bytes / VOICE_BYTES_PER_S if is_behind_message else 0.0
        return min(moved_s + limits.silence_s, heard_s + limits.deaf_s) + patience_s, heard_s

    def _next_verdict(self) -> tuple[float, str]:
        """When the peer counts as dead if nothing happens until then, and why."""
        limits, wire = self._limits, self._wire
        verdicts = []
        if wire.send_started_s is not None:
            longest_s = limits.stuck_send_s + wire.send_bytes / SLOWEST_BYTES_PER_S
            moved_s = max(wire.send_started_s, wire.last_sent_s, wire.last_progress_s)
            due_s = min(wire.send_started_s + longest_s, moved_s + limits.stuck_send_s)
            verdicts.append((due_s, f"a message could not be written in {due_s - wire.send_started_s:.1f} s"))
        if wire.is_waiting:
            due_s = wire.last_acknowledged_s + limits.user_timeout_s
            verdicts.append((due_s, f"nothing was acknowledged in {limits.user_timeout_s:.1f} s"))
        if self._ping_sent_s is not None:
            due_s, heard_s = self._ping_due_s()
            verdicts.append((due_s, f"no answer to a ping in {due_s - heard_s:.1f} s"))
        return min(verdicts, default=(math.inf, ""))


class Watchdog:
    """One task that looks at the links of a whole process, each when it is due, to within `WALK_S`.

    A task and a timer for each link cost more than the looking itself, with thousands of them.
    """

    WALK_S = 0.25
    """A limit may be passed by so much; the shortest of a link's own is 2.5 s."""

    def __init__(self) -> None:
        self._watched: dict[Heartbeat, tuple[float, trio.lowlevel.Task]] = {}
        self.is_running: bool = False

    @property
    def links(self) -> int:
        """How many links are watched now."""
        return len(self._watched)

    async def run(self) -> None:
        """Look, for ever. Cancelled, it leaves those that are watched to themselves."""
        self.is_running = True
        try:
            while True:
                await trio.sleep(self.WALK_S)
                self._walk(trio.current_time())
        finally:
            self.is_running = False
            for _, task in self._watched.values():
                trio.lowlevel.reschedule(task)
            self._watched.clear()

    def _walk(self, now_s: float) -> None:
        for heartbeat, (due_s, task) in list(self._watched.items()):
            if due_s > now_s:
                continue
            try:
                self._watched[heartbeat] = heartbeat.look(), task
            except Exception as error:  # of this link, for the task that uses it
                del self._watched[heartbeat]
                trio.lowlevel.reschedule(task, outcome.Error(error))

    async def watch(self, heartbeat: Heartbeat) -> None:
        """Do as heartbeat.run(), by the common task where that runs."""
        if self.is_running:
            self._watched[heartbeat] = heartbeat.look(), trio.lowlevel.current_task()

            def leave(_: object) -> trio.lowlevel.Abort:
                self._watched.pop(heartbeat, None)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(leave)
        await heartbeat.run()


def _draw_hurry() -> float:
    """Pings come somewhat early, each by another share, so that those of many links do not fall together."""
    return random.uniform(0.7, 1.0)  # noqa: S311 - no secret
