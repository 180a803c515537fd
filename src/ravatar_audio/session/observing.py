"""Observers of a session: how they are attached, and those that the settings ask for."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from ravatar_audio.capture import Source
from ravatar_audio.observe.observer import Observer, Observers, Settling
from ravatar_audio.session.outbox import Outbox
from ravatar_audio.session.refusals import Refusals
from ravatar_audio.session.statistics import LiveStatistics
from ravatar_audio.session.turn_source import TurnSource
from ravatar_audio.settings import Settings

if TYPE_CHECKING:
    from ravatar_audio.observe.recorder.recorder import FlightRecorder


@asynccontextmanager
async def observing(settings: Settings) -> AsyncIterator[tuple[Observer, ...]]:
    """The observers that the settings ask for, for any number of sessions while the block lasts:

        async with observing(settings) as observers, LiveSession(settings, source, observers=observers) as live:
            ...

    LiveSession.open() and the commands do so themselves. Raises SettingsError where an extra is not installed, the port
    of `metrics_prometheus` is taken, or the folder `record` cannot be written to.
    """
    async with AsyncExitStack() as stack:
        observers: list[Observer] = []
        if settings.metrics_otlp is not None or settings.metrics_prometheus is not None:
            from ravatar_audio.observe.metrics.service import MetricsService  # OpenTelemetry takes its time to load

            observers.append(await stack.enter_async_context(MetricsService(settings)))
        if settings.record is not None:
            from ravatar_audio.observe.recorder.recorder import FlightRecorder

            recorder = FlightRecorder(settings)
            stack.push_async_callback(_close, recorder)
            observers.append(recorder.__enter__())
        yield tuple(observers)


async def _close(recorder: "FlightRecorder") -> None:
    with trio.CancelScope(shield=True):  # others of this loop go on while the disk takes its time
        await trio.to_thread.run_sync(recorder.close)


def attach(observers: Sequence[Observer], outbox: Outbox, source: object) -> Observer:
    """Let them hear what happens to a session's outbox and source."""
    if not observers:
        return Observer()
    together = Observers([observer.for_session() for observer in observers])
    outbox.observe(together)
    if isinstance(source, (Source, TurnSource)):
        source._observe(Settling(together, outbox.in_flight.settle))
    return together


def observed(live: LiveStatistics, source: object) -> Mapping[str, object]:
    """The session's, the gate's and the source's statistics, by where they come from."""
    found: dict[str, object] = {"live": live}
    if isinstance(source, TurnSource):
        found["gate"] = source.gate.statistics()
        source = source.source
    if isinstance(source, Source):
        found["capture"] = source.statistics()
    if (ask := getattr(source, "voice_statistics", None)) is not None:  # to ask for its class would load all of it
        found["voice"] = ask()
    return found


def counted(outbox: Outbox, refused: Refusals) -> dict[str, Any]:
    """What LiveStatistics has of a session's outbox, and of what the platform had and did not accept."""
    in_flight = outbox.in_flight
    in_flight.settle()
    return {
        "taken_frames": outbox.taken_frames,
        "taken_samples": outbox.taken_samples,
        "sent_frames": outbox.sent_frames - refused.frames,
        "sent_samples": outbox.sent_samples - refused.samples,
        "acknowledged_frames": in_flight.acknowledged_frames - refused.frames,
        "acknowledged_samples": in_flight.acknowledged_samples - refused.samples,
        "in_flight_frames": in_flight.frames,
        "in_flight_samples": in_flight.samples,
        "acknowledgements_known": in_flight.is_told,
        "repeated_frames": outbox.repeated_frames,
        "repeated_samples": outbox.repeated_samples,
        "dropped_frames": outbox.dropped_frames + refused.frames,
        "dropped_samples": outbox.dropped_samples | {"refused": refused.samples},
        "pending_frames": outbox.pending_frames,
        "pending_samples": outbox.pending_samples,
    }
