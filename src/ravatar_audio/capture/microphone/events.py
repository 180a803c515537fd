"""What a source reports besides frames: kept for whoever asks, and logged."""

import logging

import trio

from ravatar_audio.capture.microphone.sound_monitor import CaptureEvent
from ravatar_audio.observe.log import line_logger
from ravatar_audio.observe.observer import Observer

log: logging.Logger = line_logger(__name__)

EVENTS_MAX = 256
"""Events that are kept; the oldest go first."""
_GOOD_NEWS = ("no_constraints", "ended")


class EventLog:
    """The events of one source."""

    def __init__(self) -> None:
        self._sender, self._receiver = trio.open_memory_channel[CaptureEvent](EVENTS_MAX)
        self.observer: Observer = Observer()

    def put(self, source: str, event: CaptureEvent) -> None:
        """An event; `source` is how the log names where it comes from."""
        level = logging.INFO if event.kind in _GOOD_NEWS else logging.WARNING
        log.log(level, "%s: %s: %s", source, event.kind, event.message)
        self.observer.happened(event)
        try:
            self._sender.send_nowait(event)
        except trio.WouldBlock:
            self._receiver.receive_nowait()
            self._sender.send_nowait(event)

    def receiver(self) -> trio.MemoryReceiveChannel[CaptureEvent]:
        """For `async for`; ends after close()."""
        return self._receiver.clone()

    def close(self) -> None:
        self._sender.close()
