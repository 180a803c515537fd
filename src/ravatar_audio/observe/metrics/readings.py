"""An observer that adds up what sessions count, for whoever asks: counters over all of them, queues of those under way.

It lives in the sessions' thread; `snapshot` is taken there too, and may be read anywhere.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from ravatar_audio.errors import RavatarError
from ravatar_audio.frames import RATE_HZ, Frame
from ravatar_audio.observe.metrics.table import METRICS, SHOWN, VALUES, Metric, MetricKind
from ravatar_audio.observe.observer import ObservedSession, Observer

Key = tuple[str, str | None]
"""A metric's name, and the value of its attribute."""
Snapshot = Mapping[Key, float]
Record = Callable[[str, float], None]
"""Takes a histogram's name and a value."""

BY_NAME: Final[Mapping[str, Metric]] = {metric.name: metric for metric in METRICS}
_ENDS: Final = ("ended", "capped")
_SILENCE_DB: Final = 120.0


class Readings(Observer):
    """What `snapshot` adds up. `record` is called with each value of a histogram, in the sessions' thread."""

    def __init__(self, record: Record) -> None:
        self.record = record
        counters = (metric for metric in METRICS if metric.kind is MetricKind.COUNTER)
        self.counts: Counter[Key] = Counter(
            {
                (metric.name, value): 0
                for metric in counters
                for value in (VALUES.get(metric.name, ()) if metric.attribute else (None,))
            }
        )
        """What is counted as it happens, and what the sessions had counted that are over."""
        self.sessions: dict[ObservedSession, None] = {}
        """Those under way."""

    def snapshot(self) -> Snapshot:
        """All values but those of histograms, as of now."""
        values: dict[Key, float] = dict(self.counts)
        values["ravatar.sessions", None] = len(self.sessions)
        values["ravatar.session.link.up", None] = sum(session.is_linked for session in self.sessions)
        for session in self.sessions:
            for key, value in shown_values(session).items():
                if BY_NAME[key[0]].kind is MetricKind.GAUGE:
                    values[key] = max(value, values.get(key, value))
                else:
                    values[key] = values.get(key, 0) + value
        return values

    def for_session(self) -> Observer:
        """Make an observer for one session, whose turns and answers belong together."""
        return _SessionReadings(self)


class _SessionReadings(Observer):
    def __init__(self, readings: Readings) -> None:
        self._readings, self._record, self._counts = readings, readings.record, readings.counts
        self._heard = {
            "LinkUp": self._hear_link_up,
            "LinkLost": self._hear_link_lost,
            "TurnEvent": self._hear_turn,
            "CaptureEvent": self._hear_microphone,
            "Reply": self._hear_reply,
            "TurnAnswered": self._hear_answer,
            "SendingRefused": self._hear_refusal,
        }

    def begun(self, session: ObservedSession) -> None:
        self._readings.sessions[session] = None

    def ended(self, session: ObservedSession) -> None:
        if session in self._readings.sessions:
            del self._readings.sessions[session]
            for key, value in shown_values(session).items():
                if BY_NAME[key[0]].kind is MetricKind.COUNTER:
                    self._counts[key] += int(value)

    def captured(self, frame: Frame) -> None:
        self._record("ravatar.frame.headroom", min(_SILENCE_DB, max(0.0, -frame.rms_dbfs)))

    def written(self, frame: Frame, lost_samples: int, is_repeated: bool) -> None:
        if not is_repeated:
            self._record("ravatar.frame.age", max(0.0, time.monotonic() - frame.captured_s))
            self._count_frame(frame, "written")

    def acknowledged(self, frame: Frame) -> None:
        self._count_frame(frame, "acknowledged")

    def happened(self, event: object) -> None:
        if (hear := self._heard.get(type(event).__name__)) is not None:
            hear(event)

    def failed(self, error: Exception) -> None:
        self._counts["ravatar.session.failures", error.code if isinstance(error, RavatarError) else "_OTHER"] += 1

    def _count_frame(self, frame: Frame, state: str) -> None:
        self._counts["ravatar.frames", state] += 1
        self._counts["ravatar.samples", state] += frame.length_samples

    def _hear_link_up(self, event: Any) -> None:
        self._record("ravatar.session.handshake", event.handshake_s)

    def _hear_link_lost(self, event: Any) -> None:
        code = event.close_code if event.close_code is not None else event.status
        self._counts["ravatar.session.link.losses", "none" if code is None else str(code)] += 1

    def _hear_turn(self, event: Any) -> None:
        self._counts["ravatar.turn.events", str(event.kind)] += 1
        if event.kind in _ENDS:
            self._record("ravatar.turn.sound", event.sound_samples / RATE_HZ)

    def _hear_microphone(self, event: Any) -> None:
        self._counts["ravatar.microphone.events", event.kind] += 1

    def _hear_reply(self, event: Any) -> None:
        self._counts["ravatar.replies", None] += 1

    def _hear_answer(self, event: Any) -> None:
        self._record("ravatar.reply.latency", event.after_s)

    def _hear_refusal(self, event: Any) -> None:
        self._counts["ravatar.session.refusals", None] += 1


def shown_values(session: ObservedSession) -> dict[Key, float]:
    """Return what SHOWN says, of one session."""
    statistics = session.observed()
    values: dict[Key, float] = {}
    for shown in SHOWN:
        if (source := statistics.get(shown.source)) is not None:
            field, _, key = shown.field.partition(".")
            value = getattr(source, field)
            value = value[key] if key else value
            if value is not None:
                name = shown.metric, shown.value
                values[name] = values.get(name, 0.0) + float(value) * shown.scale
    return values
