"""What simulated clients do: how they talk, how long they stay, what they say; read from a TOML file."""

import base64
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ravatar_audio.errors import SettingsError
from ravatar_audio.load.draws import Draw

MODES = ("open", "ptt", "vad", "chat")
"""How a client talks: always heard, push-to-talk, voice activity, written messages."""

PROCESSES = ("even", "poisson")
_LARGEST_FILES_BYTES = 64 * 1024 * 1024

_LENGTH, _PAUSE = Draw("uniform", (1.5, 4.0)), Draw("exponential", (4.0,), 1.0, 30.0)
_LEAD, _AWAY = Draw("uniform", (0.0, 2.0)), Draw("constant", (0.0,))

_FIELDS = {
    "clients": set(MODES),
    "arrivals": {"process", "seed"},
    "speech": {"files", "synthetic", "length_s", "pause_s", "lead_s"},
    "sessions": {"hold_s", "away_s", "connect_s", "slot_wait_s", "reconnect_limit_s", "linger_s"},
    "chat": {"text"},
    "settings": None,
}


@dataclass(frozen=True, slots=True)
class Workload:
    """What a workload's file says; `Workload()` is the default: open streams of synthetic speech, to the end."""

    shares: Mapping[str, float] = field(default_factory=lambda: {"open": 1.0})
    """Weights of MODES."""
    process: str = "even"
    """How clients arrive: "even", one each 1 / ramp seconds; "poisson", independently at that mean rate."""
    seed: int = 1
    files: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    """What is said: (name, content) of sound files; none: `synthetic` utterances of speech-like sound."""
    synthetic: int = 4
    length_s: Draw = _LENGTH
    """Of a synthetic utterance."""
    pause_s: Draw = _PAUSE
    """Think time: from an utterance's end to the next one's beginning."""
    lead_s: Draw = _LEAD
    """From a session's beginning to the first utterance."""
    hold_s: Draw | None = None
    """How long a client stays; None: as long as the run lasts for it."""
    away_s: Draw = _AWAY
    """From its going to its coming again, by the schedule."""
    connect_s: float = 20.0
    """Limit of connecting, as `connect_timeout_ms`."""
    slot_wait_s: float = 0.0
    reconnect_limit_s: float = 30.0
    linger_s: float = 1.5
    """How long a client waits for replies behind its last sound."""
    text: str = "What can you tell me about this place?"
    """What a client of "chat" writes."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of every client, by their names."""

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load it from a TOML file; sound files are named relative to it.

        Raises SettingsError, with the field's name.
        """
        path = Path(path)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise SettingsError(f"the workload {str(path)!r} cannot be read: {why}") from error
        except (ValueError, RecursionError) as error:  # ValueError: an integer of more digits than Python reads, too
            raise SettingsError(f"the workload {str(path)!r} is no TOML: {error}") from error
        _check_names(data)
        names = data.get("speech", {}).get("files", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SettingsError("speech.files is a list of paths")
        return cls.parse(data, tuple((Path(name).name, _read(path.parent / name)) for name in names))

    @classmethod
    def parse(cls, data: Mapping[str, Any], files: tuple[tuple[str, bytes], ...] = ()) -> Self:
        """Make it of a file's tables, and the sound files that these name.

        Raises SettingsError, with the field's name.
        """
        _check_names(data)
        if sum(len(content) for _, content in files) > _LARGEST_FILES_BYTES:
            raise SettingsError(
                f"the sound files are more than {_LARGEST_FILES_BYTES >> 20} MiB: every worker gets all"
            )
        arrivals, speech, sessions = (data.get(name, {}) for name in ("arrivals", "speech", "sessions"))
        values: dict[str, Any] = {"files": files}
        if "clients" in data:
            values["shares"] = {mode: _number(f"clients.{mode}", share) for mode, share in data["clients"].items()}
            if not sum(values["shares"].values()) > 0:
                raise SettingsError("clients has no share above 0")
        if "process" in arrivals:
            if arrivals["process"] not in PROCESSES:
                raise SettingsError(f"arrivals.process is {arrivals['process']!r}; it is one of {', '.join(PROCESSES)}")
            values["process"] = arrivals["process"]
        if "seed" in arrivals:
            values["seed"] = int(_number("arrivals.seed", arrivals["seed"]))
        if "synthetic" in speech:
            values["synthetic"] = int(_number("speech.synthetic", speech["synthetic"], 1, 1_000))
        for table, given in (("speech", speech), ("sessions", sessions)):
            for name in sorted({"length_s", "pause_s", "lead_s", "hold_s", "away_s"} & given.keys()):
                values[name] = Draw.parse(f"{table}.{name}", given[name])
        for name in sorted({"connect_s", "slot_wait_s", "reconnect_limit_s", "linger_s"} & sessions.keys()):
            values[name] = _number(f"sessions.{name}", sessions[name], 0, 3_600)
        if "text" in (chat := data.get("chat", {})):
            if not (isinstance(chat["text"], str) and chat["text"]):
                raise SettingsError("chat.text is what is written: a text that is not empty")
            values["text"] = chat["text"]
        return cls(**values, settings=dict(data.get("settings", {})))

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON; `from_dict` makes the same again. The sound goes along."""
        tables: dict[str, Any] = {
            "clients": dict(self.shares),
            "arrivals": {"process": self.process, "seed": self.seed},
            "speech": {
                "synthetic": self.synthetic,
                **{name: getattr(self, name).as_dict() for name in ("length_s", "pause_s", "lead_s")},
            },
            "sessions": {
                "away_s": self.away_s.as_dict(),
                **({} if self.hold_s is None else {"hold_s": self.hold_s.as_dict()}),
                **{name: getattr(self, name) for name in ("connect_s", "slot_wait_s", "reconnect_limit_s", "linger_s")},
            },
            "chat": {"text": self.text},
            "settings": dict(self.settings),
        }
        return tables | {"files": [[name, base64.b64encode(content).decode()] for name, content in self.files]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make it from what `as_dict` gave."""
        tables = {name: table for name, table in data.items() if name != "files"}
        return cls.parse(tables, tuple((name, base64.b64decode(content)) for name, content in data["files"]))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"the sound file {str(path)!r} cannot be read: {error.strerror}") from error


def _check_names(data: Mapping[str, Any]) -> None:
    for table, values in data.items():
        if table not in _FIELDS:
            raise _unknown(table, _FIELDS)
        if not isinstance(values, Mapping):
            raise SettingsError(f"{table} is {values!r}; it is a table: [{table}]")
        known = _FIELDS[table]
        for name in values:
            if known is not None and name not in known:
                raise _unknown(f"{table}.{name}", {f"{table}.{other}" for other in known})


def _unknown(name: str, known: Any) -> SettingsError:
    close = difflib.get_close_matches(name, list(known), 1)
    advice = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(sorted(known))}."
    return SettingsError(f"a workload has no {name!r}", advice=advice)


def _number(name: str, value: object, least: float = 0, most: float = 2**31) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise SettingsError(f"{name} is {value!r}; it must be a number from {least:g} to {most:g}")
    return value
