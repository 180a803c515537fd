"""A recording, read: sessions with their frames, turns, link, losses and answers, each with its time."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_BYTES, RATE_HZ, Frame
from ravatar_audio.observe.recorder.entries import SOUND, Entry
from ravatar_audio.observe.recorder.mcap_file import RecordingReader

_LINK_EVENTS: Final = ("LinkUp", "LinkLost")


class Noted(NamedTuple):
    """Something of a session, `at_s` seconds after the recording's first entry."""

    at_s: float
    values: Mapping[str, Any]

    @property
    def begin_samples(self) -> int:
        """Of a frame: its first sample's position."""
        return int(self.values["position_samples"])

    @property
    def end_samples(self) -> int:
        """Of a frame: behind its last sample."""
        return self.begin_samples + int(self.values["length_samples"])


class Outage(NamedTuple):
    """A time without a link, in seconds after the recording's first entry."""

    dead_s: float
    """From when on nothing arrived any more: what was written since was never acknowledged."""
    lost_s: float
    """When it was noticed."""
    up_s: float | None
    """When the next link was up; None: not within the recording."""
    close_code: int | None
    why: str


@dataclass(slots=True)
class SessionTimeline:
    """One session of a recording."""

    number: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    begun_s: float = 0.0
    ended_s: float = 0.0
    statistics: Mapping[str, Any] | None = None
    """Its counters at the end; None where the recording ends before."""
    captured: list[Noted] = field(default_factory=list)
    taken: list[Noted] = field(default_factory=list)
    written: list[Noted] = field(default_factory=list)
    acknowledged: list[Noted] = field(default_factory=list)
    dropped: list[Noted] = field(default_factory=list)
    turns: list[Noted] = field(default_factory=list)
    replies: list[Noted] = field(default_factory=list)
    events: list[Noted] = field(default_factory=list)
    errors: list[Noted] = field(default_factory=list)
    sound: list[tuple[int, bytes]] = field(default_factory=list)
    """What was captured: position, and samples as int16, little-endian."""

    @property
    def lost_samples(self) -> dict[str, int]:
        """By cause, as far as the recording reaches; what the platform refused is known at the end alone."""
        found = {"device": 0, "ring": 0, "outbox": 0, "in_flight": 0}
        for taken in self.taken:
            found["device"] += taken.values["device_lost_samples"]
            found["ring"] += taken.values["ring_lost_samples"]
        for dropped in self.dropped:
            found[dropped.values["cause"]] += dropped.values["length_samples"]
        return found

    def outages(self) -> list[Outage]:
        """Times without a link between two, or behind the last one."""
        ups = [event.at_s for event in self.events if event.values["event"] == "LinkUp"]
        found = []
        for number, up_s in enumerate(ups):
            later_s = ups[number + 1] if number + 1 < len(ups) else None
            lost = next(
                (
                    event
                    for event in self.events
                    if event.values["event"] == "LinkLost" and up_s < event.at_s and event.at_s < (later_s or 1e18)
                ),
                None,
            )
            if lost is not None:
                code, why = lost.values.get("close_code"), lost.values.get("why", "")
                found.append(Outage(self._dead_s(up_s, lost.at_s), lost.at_s, later_s, code, why))
        return found

    def _dead_s(self, up_s: float, lost_s: float) -> float:
        acknowledged = {item.begin_samples for item in self.acknowledged if item.at_s <= lost_s + 1e-3}
        on_it = (item for item in self.written if up_s <= item.at_s < lost_s)
        return min((item.at_s for item in on_it if item.begin_samples not in acknowledged), default=lost_s)

    def pcm_of(self, begin_samples: int, length_samples: int) -> bytes:
        """The sound of a stretch; zeros where none was recorded."""
        made = bytearray(2 * length_samples)
        end_samples = begin_samples + length_samples
        for position, pcm in self.sound:
            first, last = max(begin_samples, position), min(end_samples, position + len(pcm) // 2)
            if first < last:
                made[2 * (first - begin_samples) : 2 * (last - begin_samples)] = pcm[
                    2 * (first - position) : 2 * (last - position)
                ]
        return bytes(made)

    def frame_of(self, taken: Noted, captured_s: float) -> Frame:
        """The frame as it was taken, with another capture time."""
        values = taken.values
        pcm = self.pcm_of(taken.begin_samples, values["length_samples"])
        return Frame(
            pcm=pcm + bytes(FRAME_BYTES - len(pcm)),
            seq=values["seq"],
            position_samples=taken.begin_samples,
            length_samples=values["length_samples"],
            captured_s=captured_s,
            finished_s=captured_s,
            ring_lost_samples=values["ring_lost_samples"],
            device_lost_samples=values["device_lost_samples"],
            discontinuity=values["discontinuity"],
            flushed=values["flushed"],
            clipped=0,
            peak=0,
            hop_data=b"",
        )


@dataclass(slots=True)
class Timeline:
    """All sessions of some files."""

    begin_ns: int = 0
    """Since 1970."""
    end_s: float = 0.0
    sessions: list[SessionTimeline] = field(default_factory=list)
    unrecorded_entries: int = 0
    """The recorder could not keep them."""
    cut_short: tuple[str, ...] = ()
    """Files that end without their index: the program ended by force, or the power went."""

    @property
    def session(self) -> SessionTimeline:
        """The session with the most sound. Raises SettingsError where there is none."""
        if not self.sessions:
            raise SettingsError("the recording has no session in it", advice="Name a longer one, or several files.")
        return max(self.sessions, key=lambda session: (len(session.taken), len(session.captured)))


_LISTS: Final = {
    "/captured": "captured",
    "/taken": "taken",
    "/written": "written",
    "/acknowledged": "acknowledged",
    "/dropped": "dropped",
    "/turns": "turns",
    "/replies": "replies",
    "/events": "events",
    "/errors": "errors",
}


def read_timeline(paths: Sequence[str | Path]) -> Timeline:
    """The sessions of one program's recording files, in any order. Raises SettingsError for what is no recording."""
    entries: list[Entry] = []
    cut_short = []
    for path in paths:
        reader = RecordingReader(Path(path))
        entries += reader
        if not reader.is_whole:
            cut_short.append(str(path))
    entries.sort(key=lambda entry: entry.time_ns)
    timeline = timeline_of(entries)
    timeline.cut_short = tuple(cut_short)
    return timeline


def timeline_of(entries: Iterable[Entry]) -> Timeline:
    """The sessions of entries in the order of their times."""
    timeline = Timeline()
    by_number: dict[int, SessionTimeline] = {}
    sound: bytes | None = None
    is_first = True
    for entry in entries:
        if is_first:
            timeline.begin_ns, is_first = entry.time_ns, False
        at_s = timeline.end_s = (entry.time_ns - timeline.begin_ns) / 1e9
        if entry.topic == SOUND:
            sound = base64.b64decode(entry.values["data"])
            continue
        if entry.topic == "/recorder":
            timeline.unrecorded_entries += entry.values["lost_entries"]
            continue
        number = entry.values["session"]
        if number not in by_number:
            by_number[number] = SessionTimeline(number, begun_s=at_s)
        session = by_number[number]
        session.ended_s = at_s
        if entry.topic == "/session":
            session.settings = entry.values.get("settings", session.settings)
            session.statistics = entry.values.get("statistics", session.statistics)
            if entry.values["what"] == "begun":
                session.begun_s = at_s
            continue
        noted = Noted(at_s, entry.values)
        if entry.topic == "/captured" and sound is not None:
            session.sound.append((noted.begin_samples, sound))
            sound = None
        if entry.topic in _LISTS:
            getattr(session, _LISTS[entry.topic]).append(noted)
    timeline.sessions = sorted(by_number.values(), key=lambda session: session.begun_s)
    return timeline


def seconds(samples: int) -> float:
    """Of sound."""
    return samples / RATE_HZ
