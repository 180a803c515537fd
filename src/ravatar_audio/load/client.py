"""One simulated client: a whole one, from its token to its session's end, through the real session classes."""

import random
import sys
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import trio

from ravatar_audio.api.http import HttpCall, Platform
from ravatar_audio.api.link import LinkLimits
from ravatar_audio.api.messages import Reply
from ravatar_audio.api.shared import Shared
from ravatar_audio.capture.sources.prepared import PreparedSource, SharedClock, Spoken, Utterance
from ravatar_audio.choices import TurnModeName
from ravatar_audio.errors import RavatarError
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.groups import leaves
from ravatar_audio.load.draws import Draw
from ravatar_audio.load.schedule import Visit
from ravatar_audio.load.tally import Tally
from ravatar_audio.load.workload import Workload
from ravatar_audio.session import ChatSession, LinkLost, LinkUp, LiveSession, TurnSource
from ravatar_audio.session.statistics import LiveStatistics
from ravatar_audio.settings import Settings

_HTTP_PHASES = {"/jwt": "token", "/connection": "connection", "/startLiveSession": "start", "/endLiveSession": "end"}
_REMEMBERED_FRAMES = 64
FRAMES_PER_S = RATE_HZ / FRAME_SAMPLES
"""Of a client that is always heard."""


@dataclass(slots=True, kw_only=True)
class World:
    """What the clients of one process share."""

    workload: Workload
    settings: Settings
    shared: Shared
    clock: SharedClock
    utterances: list[Utterance]
    folder: Path
    """Of the LicenseIds that are not ended; a folder for each client."""
    user_prefix: str
    zero_s: float = 0.0
    """The run's beginning, by trio's clock."""
    tally: Tally = field(default_factory=Tally)
    clients_up: int = 0
    visits_ended: int = 0

    def record(self, phase: str, value_s: float) -> None:
        """A duration that has ended now."""
        self.tally.at(trio.current_time() - self.zero_s).record(phase, value_s)

    def count(self, name: str, by: int = 1) -> None:
        """Something that happened now."""
        if by:
            self.tally.at(trio.current_time() - self.zero_s).counts[name] += by


class _Turns(TurnSource):
    """Notes when each frame's sound was let through, as that is later than when it was captured."""

    newest_s = 0.0
    """When the newest sound of the source was due."""

    def note_released(self, frame: Frame) -> None:
        released = self.__dict__.setdefault("_released", {})
        released[frame.seq] = self.newest_s
        if len(released) > _REMEMBERED_FRAMES:  # those that were never sent
            del released[next(iter(released))]

    def released_s(self, frame: Frame) -> float:
        """When it could be sent at the earliest, by time.monotonic()."""
        return float(self.__dict__.get("_released", {}).pop(frame.seq, frame.captured_s))

    async def _next_frame(self, holder: str | None) -> Frame:
        frame = await super()._next_frame(holder)
        self.note_released(frame)
        return frame


class Client:
    """Carries out one visit. Whatever happens is counted; nothing is raised but a cancellation."""

    def __init__(self, visit: Visit, world: World) -> None:
        self._visit, self._world = visit, world
        self._chance = random.Random(visit.seed)  # noqa: S311 - no secret
        self._awaited_s: float | None = None
        """When what has no reply yet was said, by trio's clock."""
        self._lost_s: float | None = None
        self._turns: _Turns | None = None
        self._to_trio_s = 0.0

    async def run(self) -> None:
        """From its due time to the end of its session."""
        world, visit = self._world, self._visit
        self._to_trio_s = trio.current_time() - time.monotonic()  # trio's clock begins anywhere
        world.record("own_lateness", trio.current_time() - self._due_s)
        world.count("started")
        try:
            settings = self._settings()
            platform = Platform(settings, settings.user_id or "", shared=world.shared, on_call=self._note_call)
            async with platform:
                await (self._chat if visit.mode == "chat" else self._talk)(settings, platform)
        except Exception as error:
            world.count("failed")
            self._count_error(error)
        else:
            world.count("ended")
        finally:
            world.visits_ended += 1

    @property
    def _due_s(self) -> float:
        return self._world.zero_s + self._visit.due_s

    def _settings(self) -> Settings:
        user_id = f"{self._world.user_prefix}{self._visit.number:06d}"
        mode = "open" if self._visit.mode == "chat" else cast(TurnModeName, self._visit.mode)
        state_dir = str(self._world.folder / user_id)
        return replace(self._world.settings, user_id=user_id, mode=mode, state_dir=state_dir)

    @asynccontextmanager
    async def _up(self, session: LiveSession | ChatSession) -> AsyncIterator[trio.Nursery]:
        """The session, while its events are heard; `ready` and `clients up` are counted."""
        world = self._world
        async with session:
            world.record("ready", trio.current_time() - self._due_s)
            world.clients_up += 1
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._hear, session)
                    yield nursery
                    nursery.cancel_scope.cancel()
            finally:
                world.clients_up -= 1

    async def _talk(self, settings: Settings, platform: Platform) -> None:
        world, visit = self._world, self._visit
        source = PreparedSource(
            world.utterances,
            clock=world.clock,
            pauses_s=self._drawn(world.workload.pause_s),
            lead_s=world.workload.lead_s.draw(self._chance),
            first=self._chance.randrange(len(world.utterances)),
            duration_s=visit.hold_s,
            waits=True,
            on_frame=self._note_spoken,
        )
        taken: PreparedSource | _Turns = source
        if visit.mode != "open":
            taken = self._turns = _Turns.from_settings(settings, source)
        session = LiveSession(
            settings,
            taken,
            platform=platform,
            reconnect_limit_s=world.workload.reconnect_limit_s,
            limits=LinkLimits.from_settings(settings),
            on_sent=self._note_sent,
        )
        try:
            async with taken, self._up(session):
                source.begin()
                await session.wait_finished()
                await trio.sleep(world.workload.linger_s)
        finally:
            self._count_frames(session.statistics())
            planned_frames = round(visit.hold_s * FRAMES_PER_S)
            world.count("never_spoken_frames", max(0, planned_frames - source.statistics().delivered_frames))

    async def _chat(self, settings: Settings, platform: Platform) -> None:
        world, visit = self._world, self._visit
        session = ChatSession(
            settings,
            platform=platform,
            reconnect_limit_s=world.workload.reconnect_limit_s,
            limits=LinkLimits.from_settings(settings),
        )
        async with self._up(session):
            begin_s = trio.current_time()
            due_s = begin_s + world.workload.lead_s.draw(self._chance)
            while due_s < begin_s + visit.hold_s:
                await trio.sleep_until(due_s)
                world.record("own_lateness", trio.current_time() - due_s)
                self._note_said(due_s)
                await session.send_text(world.workload.text)
                world.count("messages")
                world.record("message_lateness", trio.current_time() - due_s)
                due_s += world.workload.pause_s.draw(self._chance)
            await trio.sleep_until(begin_s + visit.hold_s + world.workload.linger_s)

    def _drawn(self, draw: Draw) -> Iterator[float]:
        while True:
            yield draw.draw(self._chance)

    async def _hear(self, session: LiveSession | ChatSession) -> None:
        world = self._world
        async for event in session.events():
            if isinstance(event, Reply):
                world.count("replies")
                if self._awaited_s is not None:
                    world.record("first_reply", trio.current_time() - self._awaited_s)
                    self._awaited_s = None
            elif isinstance(event, LinkUp):
                world.record("link", event.handshake_s)
                if self._lost_s is not None:
                    world.count("reconnects")
                    world.record("reconnect", trio.current_time() - self._lost_s)
                    self._lost_s = None
            elif isinstance(event, LinkLost):
                self._lost_s = trio.current_time()
                code = f"close {event.close_code}" if event.close_code else None
                code = f"handshake {event.status}" if event.status else code
                world.count(f"link lost: {code or 'no code'}")

    # What the session and its source say, at once.

    def _note_spoken(self, spoken: Spoken) -> None:
        self._world.record("own_lateness", time.monotonic() - spoken.ends_s)
        if (turns := self._turns) is not None:
            turns.newest_s = spoken.ends_s
            if self._visit.mode == "ptt" and spoken.is_first:
                turns.press(spoken.begins_s)
            if self._visit.mode == "ptt" and spoken.is_last:
                turns.release(spoken.ends_s)
        if spoken.is_last:
            self._note_said(spoken.ends_s + self._to_trio_s)

    def _note_said(self, at_s: float) -> None:
        self._world.count("utterances")
        self._world.count("unanswered", self._awaited_s is not None)
        self._awaited_s = at_s

    def _note_sent(self, frame: Frame) -> None:
        world = self._world
        due_s = frame.captured_s if self._turns is None else self._turns.released_s(frame)
        second = world.tally.at(trio.current_time() - world.zero_s)
        second.counts["messages"] += 1
        second.record("message_lateness", time.monotonic() - due_s)

    def _note_call(self, call: HttpCall) -> None:
        phase = _HTTP_PHASES.get(call.path, call.path)
        if call.error_code is None and call.status is not None:
            self._world.record(phase, call.elapsed_s)
        elif call.error_code is not None:
            self._world.count(f"http {phase}: {call.status or call.error_code}")

    def _count_frames(self, counts: LiveStatistics) -> None:
        world = self._world
        world.count("taken_samples", counts.taken_samples)
        world.count("acknowledged_samples", counts.acknowledged_samples)
        world.count("unsent_samples", counts.pending_samples)
        world.count("in_flight_samples", counts.in_flight_samples)
        world.count("sessions_unended", counts.sessions_unended)
        world.count("dropped_samples", sum(counts.dropped_samples.values()) + counts.source_lost_samples)
        for cause, samples in (dict(counts.dropped_samples) | {"own_ring": counts.source_lost_samples}).items():
            world.count(f"dropped: {cause}", samples)

    def _count_error(self, error: Exception) -> None:
        self._world.count("errors")
        causes = [leaf for leaf in leaves(error) if isinstance(leaf, RavatarError)]
        if causes:
            status = causes[0].details.get("status")
            self._world.count(f"error: {causes[0].code}" + (f" {status}" if status else ""))
            return
        self._world.count(f"error: unexpected {type(error).__name__}")
        traceback.print_exception(error, file=sys.stderr)
