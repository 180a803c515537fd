"""A sound server's sources that come, or wake, while a microphone is missed. Where pactl is missing nothing is told."""

import contextlib
import threading
from collections.abc import Callable

import trio

from ravatar_audio.capture.pactl import (
    Listed,
    Program,
    can_be_asked,
    list_outputs,
    list_sources,
    record,
    subscribe,
)
from ravatar_audio.capture.worker import Errand
from ravatar_audio.observe.log import line_logger

log = line_logger(__name__)


class Newcomers:
    """Sources that were not there before, and suspended ones that were resumed; what may block runs in threads.

    The server tells of every change to a source, those that come of our own attempts too, so its sources are listed
    then: an attempt makes none. It does not tell when a suspended source is resumed that idles besides: a recording
    of that waits for the first sound. Unlike PortAudio's thread it sleeps meanwhile.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called, in a thread, when have_come() has something to look at."""
        self._wake = wake
        self._beginning: Errand[Program | None] | None = None
        self._subscription: Program | None = None
        self._looking: Errand[dict[str, Listed]] | None = None
        self._must_look = self._is_closed = False
        self._seen: set[tuple[str, str]] | None = None
        self._recordings: dict[str, Program] = {}
        self._closing = threading.Lock()

    @property
    def fds(self) -> list[int]:
        """One of them is readable when have_come() has something to look at."""
        programs = [*self._recordings.values(), *([self._subscription] if self._subscription else [])]
        return [program.fd for program in programs]

    def listen(self) -> None:
        """Begin, or begin again after the server was gone. Never blocks."""
        if self._subscription is None and self._beginning is None:
            self._beginning = Errand(_subscribe, _close, self._wake)
            self._beginning.start()

    def note_silence(self) -> None:
        """A stream of ours is open and gives nothing: if its source is suspended, its resumption is news. Blocks."""
        with contextlib.suppress(OSError):
            if can_be_asked():
                sources, ours = list_sources(), set(list_outputs().values())
                for number in ours & sources.keys() - self._recordings.keys():
                    if sources[number].is_suspended:
                        log.debug("the source %r is suspended, and waited for", sources[number].name)
                        self._keep(number, record(sources[number].name))

    def _keep(self, number: str, recording: Program) -> None:
        with self._closing:
            if not self._is_closed:
                self._recordings[number] = recording
                return
        recording.close()

    def have_come(self) -> bool:
        """Whether a source has come or woken since this was asked last. Never blocks."""
        self._take_news()
        has_come = self._has_woken()
        if self._looking is not None and self._looking.has_ended:
            looking, self._looking = self._looking, None
            has_come |= self._has_more(looking.take())
        if self._must_look and self._looking is None and self._subscription is not None:
            self._must_look = False
            self._looking = Errand(list_sources, lambda _: None, self._wake)
            self._looking.start()
        return has_come

    def _take_news(self) -> None:
        if self._beginning is not None and self._beginning.has_ended:
            beginning, self._beginning = self._beginning, None
            with contextlib.suppress(OSError):  # no process could be started: then nothing is told
                self._subscription = beginning.take()
                self._must_look = True
        if self._subscription is not None:
            try:
                self._must_look |= b" on source #" in self._subscription.read()
            except EOFError:  # the server is gone, and its sources with it
                subscription, self._subscription = self._subscription, None
                _end(subscription)
                self._seen = set()

    def _has_more(self, sources: dict[str, Listed]) -> bool:
        if self._seen is None:
            log.debug("the sound server's sources are watched; it has %d", len(sources))
        before, self._seen = self._seen, {(number, source.name) for number, source in sources.items()}
        return before is not None and not self._seen <= before

    def _has_woken(self) -> bool:
        has_woken = False
        for number, recording in list(self._recordings.items()):
            try:
                if not recording.read():
                    continue
                has_woken = True
            except EOFError:  # the source is gone, or its server
                pass
            _end(self._recordings.pop(number))
        return has_woken

    def close(self) -> None:
        """May be called again. In trio only: who waits for the descriptors goes on."""
        with self._closing:
            self._is_closed = True
        programs = [*self._recordings.values(), self._subscription]
        self._recordings, self._subscription = {}, None
        for program in programs:
            if program is not None:
                _end(program)
        beginning, self._beginning = self._beginning, None
        if beginning is not None:
            beginning.abandon()


def _subscribe() -> Program | None:
    return subscribe() if can_be_asked() else None


def _close(program: Program | None) -> None:
    if program is not None:
        program.close()


def _end(program: Program) -> None:
    trio.lowlevel.notify_closing(program.fd)
    Errand(program.close, lambda _: None).start()
