"""What a recording holds: its topics and their schemas, and how each thing is written as JSON. Pure."""

import base64
import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ravatar_audio.frames import RATE_HZ, Frame
from ravatar_audio.settings import Settings

SOUND: Final = "/sound"
_AUDIO_SCHEMA: Final = {
    "title": "foxglove.RawAudio",
    "description": "A single block of an audio bitstream",
    "type": "object",
    "properties": {
        "timestamp": {
            "type": "object",
            "title": "time",
            "properties": {"sec": {"type": "integer", "minimum": 0}, "nsec": {"type": "integer", "minimum": 0}},
        },
        "data": {"type": "string", "contentEncoding": "base64"},
        "format": {"type": "string"},
        "sample_rate": {"type": "integer", "minimum": 0},
        "number_of_channels": {"type": "integer", "minimum": 0},
    },
}
"""As Foxglove's schemas have it: signed 16 bit, little-endian, is its only format, "pcm-s16"."""

_NUMBER, _INTEGER, _TEXT, _FLAG = ({"type": name} for name in ("number", "integer", "string", "boolean"))
_FRAME: Final = {"session": _INTEGER, "seq": _INTEGER, "position_samples": _INTEGER, "length_samples": _INTEGER}
_LOST: Final = {"ring_lost_samples": _INTEGER, "device_lost_samples": _INTEGER}

FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "/session": {"session": _INTEGER, "what": _TEXT, "settings": {"type": "object"}, "statistics": {"type": "object"}},
    "/captured": {**_FRAME, **_LOST, "rms_dbfs": _NUMBER, "peak_dbfs": _NUMBER, "clipped": _INTEGER},
    "/taken": {**_FRAME, **_LOST, "discontinuity": _FLAG, "flushed": _FLAG, "age_s": _NUMBER},
    "/written": {**_FRAME, "lost_samples": _INTEGER, "repeated": _FLAG, "age_s": _NUMBER},
    "/acknowledged": _FRAME,
    "/dropped": {**_FRAME, "cause": _TEXT},
    "/turns": {"session": _INTEGER, "kind": _TEXT, "turn": _INTEGER, "reason": _TEXT, "position_samples": _INTEGER},
    "/replies": {"session": _INTEGER, "text": _TEXT},
    "/events": {"session": _INTEGER, "event": _TEXT},
    "/errors": {"session": _INTEGER, "code": _TEXT, "message": _TEXT, "advice": _TEXT},
    "/recorder": {"lost_entries": _INTEGER},
}
"""Of each topic but SOUND. Which session it was: numbered from 1 by each program."""
_TOPICS: Final = {"TurnEvent": "/turns", "Reply": "/replies"}
_FLOOR_DBFS: Final = -120.0


class Entry(NamedTuple):
    """One thing, as it is written and read."""

    topic: str
    time_ns: int
    """When it was noted, since 1970."""
    values: Mapping[str, Any]


def schema_of(topic: str) -> tuple[str, bytes]:
    """Name and JSON schema of a topic."""
    if topic == SOUND:
        return "foxglove.RawAudio", json.dumps(_AUDIO_SCHEMA).encode()
    name = f"ravatar.{topic[1:].capitalize()}"
    return name, json.dumps({"title": name, "type": "object", "properties": FIELDS[topic]}).encode()


def topic_of(event: object) -> str:
    """Where an event belongs."""
    return _TOPICS.get(type(event).__name__, "/events")


def of_sound(frame: Frame, captured_ns: int) -> dict[str, Any]:
    """The frame's sound; `captured_ns` is when its last sample was at the microphone."""
    begin_ns = captured_ns - frame.length_samples * 1_000_000_000 // RATE_HZ
    return {
        "timestamp": {"sec": begin_ns // 1_000_000_000, "nsec": begin_ns % 1_000_000_000},
        "data": base64.b64encode(frame.pcm[: 2 * frame.length_samples]).decode("ascii"),
        "format": "pcm-s16",
        "sample_rate": RATE_HZ,
        "number_of_channels": 1,
    }


def of_frame(session: int, frame: Frame) -> dict[str, Any]:
    """Which frame it is."""
    return {
        "session": session,
        "seq": frame.seq,
        "position_samples": frame.position_samples,
        "length_samples": frame.length_samples,
    }


def of_losses(frame: Frame) -> dict[str, Any]:
    """What was lost before it came."""
    return {"ring_lost_samples": frame.ring_lost_samples, "device_lost_samples": frame.device_lost_samples}


def of_levels(frame: Frame) -> dict[str, Any]:
    """How loud it is; silence is -120."""
    return {
        "rms_dbfs": round(max(_FLOOR_DBFS, frame.rms_dbfs), 1),
        "peak_dbfs": round(max(_FLOOR_DBFS, frame.peak_dbfs), 1),
        "clipped": frame.clipped,
    }


def of_event(session: int, event: object) -> dict[str, Any]:
    """An event's fields, but for secrets, which no repr shows either, and for whole messages and sound."""
    values: dict[str, Any] = {"session": session, "event": type(event).__name__}
    for item in dataclasses.fields(event):  # type: ignore[arg-type]
        if item.repr and _is_plain(value := getattr(event, item.name)):
            values[item.name] = value
    return values


def of_settings(settings: Settings) -> dict[str, Any]:
    """What a replay needs, and whoever reads it: all but secrets and who it is."""
    left_out = ("user_id", "project_id", "client_cert", "client_key", "state_dir", "record")
    shown = [item for item in dataclasses.fields(Settings) if item.repr and not item.metadata["replaced_by"]]
    return {item.name: getattr(settings, item.name) for item in shown if item.name not in left_out}


def of_statistics(statistics: Mapping[str, object]) -> dict[str, Any]:
    """Counters as they are at the end."""
    return {name: _plain(dataclasses.asdict(value)) for name, value in statistics.items()}  # type: ignore[call-overload]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _plain(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if isinstance(value, Mapping) or _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (str, int, bool))
