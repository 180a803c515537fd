"""Scripted faults: what shall go wrong, where, and when. Pure; the relay and the conversations carry them out.

A fault is written in Python as `Fault(at="startLiveSession", do="status", status=503, times=2, retry_after_s=1)`, on a
command line as `startLiveSession status=503 times=2 retry_after_s=1`, and in a TOML or JSON file as a table of the list
`fault` with the same names:

    [[fault]]
    at = "message"
    do = "close"
    code = 1011
    after = 5

`at`                    what is counted               what `do` may be
an endpoint, or "http"  calls (of any endpoint)       status, delay, garbage, oversized, and everything of the link
"socket"                WebSocket handshakes          status, delay, garbage, everything of the link, and close: it
                                                      is accepted, and closed at once
"message"               WebSocket messages received   no_pongs, close, garbage, oversized, binary, broken_text,
                                                      stream_error, delay, and everything of the link
"accept"                TCP connections accepted      delay, and everything of the link
Of the link: reset, hang_up, black_hole, stop_reading, slow. Everywhere but at "accept": expire_token, expire_session,
and forget: as a platform that was started again and knows nothing any more of `what`, by default of everything.
"""

import json
import math
import shlex
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from ravatar_audio.errors import SettingsError

ENDPOINTS: Final = ("jwt", "connection", "startLiveSession", "endLiveSession", "chat", "stream")
STREAM_ERRORS: Final = {
    "Stream Error": "Something went wrong",
    "Timeout": "Connection timeout",
    "Busy": "All AI assistants are busy at the moment",
    "Expired": "Session expired",
}
"""The platform's stream errors and their messages."""

_LINK = {"reset", "hang_up", "black_hole", "stop_reading", "slow"}
_EXPIRE = {"expire_token", "expire_session", "forget"}
MEMORIES: Final = ("token", "conversation", "slot")
"""What a platform may forget: the tokens that it has issued, the ids of GET /connection, the live sessions."""
_HTTP = _LINK | _EXPIRE | {"status", "delay", "garbage", "oversized"}
ACTIONS: Final = {
    **dict.fromkeys((*ENDPOINTS, "http"), _HTTP),
    "socket": _LINK | _EXPIRE | {"status", "delay", "garbage", "close"},
    "message": _LINK
    | _EXPIRE
    | {"no_pongs", "close", "delay", "garbage", "oversized", "binary", "broken_text", "stream_error"},
    "accept": _LINK | {"delay"},
}
_MAIN: Final = {
    "status": "status",
    "delay": "delay_s",
    "slow": "bytes_per_s",
    "close": "code",
    "stream_error": "error",
    "oversized": "size_bytes",
    "hang_up": "after_bytes",
    "black_hole": "duration_s",
    "stop_reading": "duration_s",
    "forget": "what",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong. Raises SettingsError for a place or an action that does not exist."""

    at: str
    do: str
    after: int = 0
    """So many calls or messages are left alone first: after=k-1 strikes at number k."""
    times: int = 1
    """How often in a row; 0: from then on always."""
    status: int = 503
    body: str = "json"
    """Beside the status: "json", the platform's own, or "html", as of a proxy, a firewall or a gateway."""
    retry_after_s: int | None = None
    """Retry-After header beside the status."""
    delay_s: float = 1.0
    code: int = 1011
    """Close code."""
    reason: str = ""
    error: str = "Stream Error"
    """One of STREAM_ERRORS."""
    what: str = ",".join(MEMORIES)
    """What is forgotten: some of MEMORIES, with commas."""
    size_bytes: int = 2 * 1024 * 1024
    bytes_per_s: int = 4_096
    """How fast the link goes on, each way."""
    after_bytes: int = 0
    """Bytes of the answer that still pass before the link is hung up: half an answer."""
    duration_s: float | None = None
    """When a slow, stopped or black-holed link recovers; None: never."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", {"ws/chat": "socket"}.get(self.at.lstrip("/"), self.at.lstrip("/")))
        if self.at not in ACTIONS:
            raise SettingsError(f"a fault cannot be at {self.at!r}; it is at one of {', '.join(ACTIONS)}")
        if self.do not in ACTIONS[self.at]:
            allowed = ", ".join(sorted(ACTIONS[self.at]))
            raise SettingsError(f"a fault at {self.at!r} cannot do {self.do!r}; it can do {allowed}")
        if self.error not in STREAM_ERRORS:
            raise SettingsError(f"stream error {self.error!r} is unknown; it is one of {', '.join(STREAM_ERRORS)}")
        if unknown := sorted(set(self.memories) - set(MEMORIES)):
            raise SettingsError(f"a platform cannot forget {unknown[0]!r}; it can forget {', '.join(MEMORIES)}")
        if self.body not in ("json", "html"):
            raise SettingsError(f"a fault's body is {self.body!r}; it is json or html")
        if not 200 <= self.status <= 599:
            raise SettingsError(f"a fault's status is {self.status}; it must be 200 to 599")
        if not 1000 <= self.code <= 4999:
            raise SettingsError(f"a fault's close code is {self.code}; it must be 1000 to 4999")
        for name in ("after", "times", "retry_after_s", "delay_s", "after_bytes", "duration_s"):
            if (value := getattr(self, name)) is not None and not 0 <= value < math.inf:
                raise SettingsError(f"a fault's {name} is {value}; it must be 0 or more")
        for name in ("bytes_per_s", "size_bytes"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"a fault's {name} is {getattr(self, name)}; it must be above 0")

    @property
    def memories(self) -> tuple[str, ...]:
        """What is forgotten."""
        return tuple(self.what.split(","))

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> "Fault":
        """Make it from a table of a file; the words of a command line are converted."""
        kinds = {item.name: item.type for item in fields(cls)}
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name not in kinds:
                raise SettingsError(f"a fault has no {name!r}; it has {', '.join(kinds)}")
            given[name] = _convert(name, value, kinds[name])
        if missing := {"at", "do"} - set(given):
            raise SettingsError(f"a fault needs {' and '.join(sorted(missing))}; it has {values}")
        return cls(**given)

    @classmethod
    def parse(cls, line: str) -> "Fault":
        """Make it from a line: the place, the action (with its main value), then names with values."""
        try:
            place, action, *rest = shlex.split(line)
        except ValueError:
            raise SettingsError(f"fault {line!r} cannot be read; write it as 'startLiveSession status=503'") from None
        do, _, value = action.partition("=")
        values: dict[str, Any] = {"at": place, "do": do}
        if value:
            if do not in _MAIN:
                raise SettingsError(f"fault {line!r}: {do!r} takes no value")
            values[_MAIN[do]] = value
        for word in rest:
            name, equals, value = word.partition("=")
            if not equals:
                raise SettingsError(f"fault {line!r}: {word!r} is not of the form name=value")
            values[name] = value
        return cls.from_mapping(values)


def read_faults(path: str | Path) -> tuple[Fault, ...]:
    """Read the faults of a TOML or JSON file (by its suffix); raises SettingsError when it cannot be read."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"fault file {str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # what JSON, TOML and UTF-8 raise are ValueErrors
        raise SettingsError(f"fault file {str(path)!r} is not valid: {error}") from error
    tables = values.get("fault") if isinstance(values, dict) else values
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingsError(f"fault file {str(path)!r} has no list of tables named 'fault'")
    return tuple(Fault.from_mapping(table) for table in tables)


def _convert(name: str, value: Any, kind: Any) -> Any:
    wanted = next(arg for arg in getattr(kind, "__args__", (kind,)) if arg is not type(None))
    try:
        if isinstance(value, bool) or (wanted is str and not isinstance(value, str)):
            raise ValueError
        converted = wanted(value)
        if isinstance(value, float) and converted != value:
            raise ValueError
    except (TypeError, ValueError):
        raise SettingsError(f"a fault's {name} is {value!r}; it must be of type {wanted.__name__}") from None
    return converted


class FaultScript:
    """The faults that are still to come. Each counts for itself what it is asked about."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self._faults = list(faults)
        self._seen = [0] * len(faults)
        self.fired: int = 0

    def add(self, *faults: Fault) -> None:
        """Add faults; their counting begins now."""
        self._faults += faults
        self._seen += [0] * len(faults)

    def clear(self) -> None:
        """Let nothing more go wrong."""
        self._faults.clear()
        self._seen.clear()

    def strike(self, *places: str) -> Fault | None:
        """Note that something happens at a place (of several names); return the fault that is due, or None."""
        due = None
        for index, fault in enumerate(self._faults):
            if fault.at not in places:
                continue
            seen = self._seen[index]
            is_due = seen >= fault.after and (not fault.times or seen < fault.after + fault.times)
            if is_due and due is not None:
                continue  # one at a time: this one waits its turn
            self._seen[index] += 1
            if is_due:
                due = fault
        if due is not None:
            self.fired += 1
        return due
