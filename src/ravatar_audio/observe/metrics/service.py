"""Metrics as the settings say: a Prometheus page, pushes by OTLP, or both, while the block lasts."""

import math
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

import trio

from ravatar_audio.groups import background_nursery
from ravatar_audio.observe import board
from ravatar_audio.observe.log import line_logger
from ravatar_audio.observe.metrics.page import serve_page
from ravatar_audio.observe.metrics.provider import PUSH_LIMIT_S, Provider
from ravatar_audio.observe.metrics.readings import Key, Readings, Snapshot
from ravatar_audio.settings import Settings

log: Final = line_logger(__name__)

_LAST_PUSH_S: Final = 2.0
"""For the push at the end; a receiver that does not answer holds nothing up."""
_BOARD_S: Final = 10.0
"""The board is read again after so long: on some a read takes the firmware's time."""


class MetricsService(Readings):
    """An observer whose numbers can be scraped and are pushed; an async context manager.

    Nothing is computed between two scrapes or pushes but the counting itself. A snapshot is taken in the sessions'
    thread, and made into text or messages in another.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._snapshot: Snapshot = {}
        self._board: tuple[float, dict[Key, float]] = (-math.inf, {})
        self._is_pi = board.is_pi()
        self._provider = Provider(lambda: self._snapshot)
        self._stack = AsyncExitStack()
        self._turn = trio.Lock()
        self.port: int | None = None
        """Of the page, once it runs."""
        super().__init__(self._provider.record)

    async def __aenter__(self) -> Self:
        settings = self._settings
        async with AsyncExitStack() as stack:
            stack.callback(self._provider.close)
            nursery = await stack.enter_async_context(background_nursery())
            if settings.metrics_prometheus is not None:
                self.port = await nursery.start(serve_page, self.text, settings.metrics_prometheus)
                log.info("metrics are at http://127.0.0.1:%d/metrics", self.port)
            if settings.metrics_otlp is not None:
                nursery.start_soon(self._push_always, settings.metrics_otlp)
                stack.push_async_callback(self._push_last, settings.metrics_otlp)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def text(self) -> bytes:
        """Return the Prometheus page as of now."""
        async with self._turn:
            await self._read()
            return await trio.to_thread.run_sync(self._provider.prometheus_text)

    async def _read(self) -> None:
        read_s, values = self._board
        if trio.current_time() >= read_s + _BOARD_S:
            values = await trio.to_thread.run_sync(read_board, self._is_pi)
            self._board = trio.current_time(), values
        self._snapshot = {**self.snapshot(), **values}

    async def _push(self, endpoint: str) -> bool:
        async with self._turn:
            try:
                await self._read()
                return await trio.to_thread.run_sync(self._provider.push, endpoint, abandon_on_cancel=True)
            except Exception as error:  # a session goes on without its metrics
                log.warning("metrics cannot be made: %s: %s", type(error).__name__, error)
                return False

    async def _push_always(self, endpoint: str) -> None:
        was_taken = True
        interval_s = self._settings.metrics_interval_ms / 1000
        due_s = trio.current_time()
        while True:
            due_s = max(due_s + interval_s, trio.current_time())
            await trio.sleep_until(due_s)
            is_taken = await self._push(endpoint)
            if is_taken != was_taken:
                was_taken = is_taken
                if is_taken:
                    log.info("metrics are taken again")
                else:
                    log.warning("metrics_otlp: nothing is taken at %s; tried within %.0f s", endpoint, PUSH_LIMIT_S)

    async def _push_last(self, endpoint: str) -> None:
        with trio.move_on_after(_LAST_PUSH_S, shield=True):
            await self._push(endpoint)


def read_board(is_pi: bool) -> dict[Key, float]:
    """Return the machine's temperatures and, of a Raspberry Pi, what it says of its power now."""
    values: dict[Key, float] = {("hw.temperature", name): value for name, value in board.read_temperatures().items()}
    if is_pi and (power := board.read_power()) is not None:
        for word in board.THROTTLED_BITS.values():
            values["ravatar.machine.throttled", word] = float(word in power.now)
    return values
