"""Observers of all sessions of a kiosk: what cannot be had is logged, and ends nothing."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ravatar_audio.errors import SettingsError
from ravatar_audio.observe.log import line_logger
from ravatar_audio.observe.observer import Observer
from ravatar_audio.session import observing
from ravatar_audio.settings import Settings

if TYPE_CHECKING:
    from ravatar_audio.observe.metrics.service import MetricsService

log: Final = line_logger(__name__)


@dataclass(frozen=True, slots=True)
class Watching:
    """What watches a kiosk."""

    observers: tuple[Observer, ...] = ()
    metrics: "MetricsService | None" = None
    """None without the extra 'metrics'."""


@asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[Watching]:
    """Watch as the settings say at the start; metrics in any case, for the kiosk's own page, where the extra is
    installed.
    """
    async with AsyncExitStack() as stack:
        observers: list[Observer] = []
        metrics = None
        try:
            from ravatar_audio.observe.metrics import service

            try:
                metrics = await stack.enter_async_context(service.MetricsService(settings))
            except SettingsError as error:  # the port is taken
                log.warning("%s; %s", error.message, error.advice)
                without = replace(settings, metrics_prometheus=None)
                metrics = await stack.enter_async_context(service.MetricsService(without))
            observers.append(metrics)
        except SettingsError as error:  # the extra is not installed
            if settings.metrics_otlp is not None or settings.metrics_prometheus is not None:
                log.warning("no metrics: %s; %s", error.message, error.advice)
        try:
            alone = replace(settings, metrics_otlp=None, metrics_prometheus=None)
            observers += await stack.enter_async_context(observing(alone))
        except SettingsError as error:
            log.warning("no flight recording: %s; %s", error.message, error.advice)
        yield Watching(tuple(observers), metrics)
