"""A recording in words: what was said, lost, late, and why. Pure."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from ravatar_audio.observe.recorder.timeline import Noted, Outage, SessionTimeline, Timeline, seconds

LATE_S: Final = 0.5
"""A frame that is older than this when it is written is late."""
_TOGETHER_S: Final = 1.0
"""What is so near to each other is one stretch."""


class Line(NamedTuple):
    """One line of the story."""

    at_s: float
    text: str


class Loss(NamedTuple):
    """A stretch of sound that was lost by one cause."""

    at_s: float
    cause: str
    samples: int
    begin_samples: int


def losses(session: SessionTimeline) -> list[Loss]:
    """Stretches by cause, the oldest first; `at_s` is when it was given up, or noticed."""
    found = [
        Loss(item.at_s, cause, samples, item.begin_samples - samples)
        for item in session.taken
        for cause in ("device", "ring")
        if (samples := item.values[f"{cause}_lost_samples"])
    ]
    last: Loss | None = None
    last_s = 0.0
    for item in session.dropped:
        if last is not None and last.cause == item.values["cause"] and item.at_s <= last_s + _TOGETHER_S:
            found[-1] = last = last._replace(samples=last.samples + item.values["length_samples"])
        else:
            last = Loss(item.at_s, item.values["cause"], item.values["length_samples"], item.begin_samples)
            found.append(last)
        last_s = item.at_s
    return sorted(found)


def why(loss: Loss, outages: Iterable[Outage], first_up_s: float | None) -> str:
    """In words."""
    match loss.cause:
        case "device":
            return "the microphone or its driver lost it"
        case "ring":
            return "the program did not take it in time"
    outage = next((item for item in outages if item.dead_s <= loss.at_s <= (item.up_s or 1e18) + 0.5), None)
    if outage is not None:
        ended = f"until {outage.up_s:.1f} s" if outage.up_s is not None else "to the recording's end"
        told = f"no connection from {outage.dead_s:.1f} s {ended}: {outage.why or 'it was lost'}"
        return f"it was under way; {told}" if loss.cause == "in_flight" else told
    if first_up_s is None or loss.at_s < first_up_s:
        return "the session had not begun yet"
    return "the network took less than was said"


def story(timeline: Timeline) -> Iterator[str]:
    """The lines of a time line."""
    begun = datetime.fromtimestamp(timeline.begin_ns / 1e9, UTC).isoformat(sep=" ", timespec="milliseconds")
    yield f"recording of {timeline.end_s:.1f} s, from {begun} on"
    for path in timeline.cut_short:
        yield f"{path} was cut short: the program ended by force, or the power went; all until its last second is here"
    if timeline.unrecorded_entries:
        yield f"the recorder itself could not keep {timeline.unrecorded_entries} entries"
    for session in timeline.sessions:
        yield ""
        yield f"session {session.number}, from {session.begun_s:.1f} s to {session.ended_s:.1f} s"
        for line in sorted(_lines(session), key=lambda line: line.at_s):
            yield f"{line.at_s:10.2f} s  {line.text}"
        yield _summary(session)


def _lines(session: SessionTimeline) -> Iterator[Line]:
    for item in session.turns:
        values = item.values
        turn = "" if values.get("turn") is None else f" {values['turn']}"
        reason = f" ({values['reason']})" if values.get("reason") else ""
        length = f", {seconds(values['sound_samples']):.2f} s of sound" if values.get("sound_samples") else ""
        yield Line(item.at_s, f"turn{turn} {values['kind']}{reason}{length}")
    for item in session.replies:
        yield Line(item.at_s, f"avatar: {item.values.get('text') or '(no text)'}")
    for item in session.events:
        yield Line(item.at_s, _event_text(item))
    for item in session.errors:
        yield Line(item.at_s, f"error {item.values.get('code', '')}: {item.values['message']}")
    outages = session.outages()
    first_up_s = next((item.at_s for item in session.events if item.values["event"] == "LinkUp"), None)
    for loss in losses(session):
        lost = f"LOST {seconds(loss.samples):.3f} s of sound from {seconds(loss.begin_samples):.2f} s on ({loss.cause})"
        yield Line(loss.at_s, f"{lost}: {why(loss, outages, first_up_s)}")
    yield from _late(session.written)


def _late(written: Iterable[Noted]) -> Iterator[Line]:
    run: list[Noted] = []
    for item in [*written, None]:
        is_late = item is not None and item.values["age_s"] > LATE_S
        if run and (item is None or not is_late or item.at_s > run[-1].at_s + _TOGETHER_S):
            oldest_s = max(entry.values["age_s"] for entry in run)
            again = sum(entry.values["repeated"] for entry in run)
            repeats = f", {again} of them sent again" if again else ""
            yield Line(run[0].at_s, f"LATE {len(run)} frames, up to {oldest_s:.2f} s old{repeats}")
            run = []
        if is_late and item is not None:
            run.append(item)


def _event_text(item: Noted) -> str:
    values = item.values
    match values["event"]:
        case "LinkUp":
            return f"connection {values['connects']} is up, after {values['handshake_s'] * 1000:.0f} ms"
        case "LinkLost":
            return f"connection lost after {values['lasted_s']:.1f} s ({values['why']})"
        case "CaptureEvent":
            return f"microphone: {values['kind']}: {values['message']}"
        case "SendingRefused":
            return f"the platform refuses what is sent ({values['why']})"
    told = values.get("text") or ", ".join(
        f"{name} {value}" for name, value in values.items() if name not in ("session", "event") and value is not None
    )
    return f"{values['event']}: {told}" if told else str(values["event"])


def _summary(session: SessionTimeline) -> str:
    captured, taken, acknowledged = (
        sum(item.values["length_samples"] for item in items)
        for items in (session.captured, session.taken, session.acknowledged)
    )
    lost = {cause: samples for cause, samples in session.lost_samples.items() if samples}
    causes = ", ".join(f"{seconds(samples):.3f} s {cause}" for cause, samples in lost.items()) or "nothing"
    return (
        f"{'':12}captured {seconds(captured):.2f} s, in turns {seconds(taken):.2f} s, acknowledged "
        f"{seconds(acknowledged):.2f} s; lost {causes}; {len(session.replies)} answers"
    )
