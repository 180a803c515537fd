"""The state of the emulated platform: users' sessions, live sessions and their slots, history. No sockets in here."""

import secrets
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from ravatar_audio.emulator.contract import ClientMessage, Speaker, Violation
from ravatar_audio.emulator.faults import MEMORIES
from ravatar_audio.emulator.settings import EmulatorSettings
from ravatar_audio.emulator.statistics import EmulatedLiveStatistics, ViolationRecord
from ravatar_audio.emulator.stream_clock import StreamClock
from ravatar_audio.emulator.token_issuer import TokenIssuer
from ravatar_audio.emulator.turn_detector import DetectedTurn, TurnDetector
from ravatar_audio.emulator.wav_writer import WavWriter, new_path
from ravatar_audio.errors import SettingsError
from ravatar_audio.observe.log import line_logger

_HISTORY = 10_000
BUSY = "All AI assistants are busy at the moment"

Item = dict[str, Any]

_log = line_logger(__name__)


class Live:
    """One live session, and the sound that came for it."""

    def __init__(self, number: int, user_id: str, avatar_id: str, size: tuple[int, int], longest_s: float) -> None:
        self.number: int = number
        self.user_id: str = user_id
        self.avatar_id: str = avatar_id
        self.width: int
        self.height: int
        self.width, self.height = size
        self.license_id: str = secrets.token_urlsafe(24)
        self.stream_id: str = secrets.token_urlsafe(12)
        self.state: Literal["active", "ended", "expired", "forgotten"] = "active"
        self.started_s: float = time.monotonic()
        self.seen_s: float = self.started_s
        self.ended_s: float | None = None
        self.turn_detector: TurnDetector = TurnDetector(longest_s)
        self.recording: WavWriter | None = None
        self.connections: list[int] = []
        self._carrier = 0
        self.frames: int = 0
        self.turns: int = 0
        self.texts: int = 0
        self.voice_messages: int = 0
        self.end_calls: int = 0
        self.declared_gaps: int = 0
        self.declared_lost_samples: int = 0
        self.declared_repeated_samples: int = 0
        self.stream_clock: StreamClock = StreamClock()
        self.has_warned: bool = False
        self.said: deque[tuple[str, str]] = deque(maxlen=8)
        """What was said last, for the streaming page: (who, text)."""

    def attach(self, connection: int) -> None:
        """Note that a message for this session came by this connection (its number)."""
        self.seen_s = time.monotonic()
        if connection not in self.connections:
            self.connections.append(connection)

    def _carry(self, connection: int) -> None:
        """A frame comes by this connection. What an older one still had in the network may come after a newer one's."""
        if connection == self._carrier:
            return
        self._carrier = connection
        self.stream_clock.begin_connection()
        if self.recording is not None:
            self.recording.mark("connection", connection)

    def take_frame(self, message: ClientMessage, connection: int, folder: Path) -> list[DetectedTurn]:
        """Write a frame and hear it; the turns that ended in it."""
        self._carry(connection)
        self.stream_clock.note_frame(time.monotonic(), message.lost_samples)
        if self.recording is None:
            self.recording = WavWriter(new_path(folder, "live", self.number, ".wav"))
        if message.lost_samples:
            self.declared_gaps += 1
            self.declared_lost_samples += message.lost_samples
            self.recording.mark("declared", connection, message.lost_samples)
        self.declared_repeated_samples += message.repeated_samples
        self.recording.write(message.data)
        self.frames += 1
        turns = self.turn_detector.hear(message.data, message.lost_samples)
        self.turns += len(turns)
        return turns

    def note_pause(self) -> DetectedTurn | None:
        """Note that no frame has come for the hangover; return the turn that ended by that."""
        turn = self.turn_detector.note_pause()
        self.turns += turn is not None
        return turn

    def finish(self, state: Literal["ended", "expired", "forgotten"]) -> None:
        """End it, and close its recording."""
        if self.state == "active":
            self.state = state
            self.ended_s = time.monotonic()
        if self.recording is not None:
            self.recording.close()

    def statistics(self) -> EmulatedLiveStatistics:
        """Return the counters as of now."""
        recording = self.recording
        return EmulatedLiveStatistics(
            number=self.number,
            user_id=self.user_id,
            avatar_id=self.avatar_id,
            width=self.width,
            height=self.height,
            state=self.state,
            frames=self.frames,
            samples=recording.samples if recording else 0,
            wav=recording.path if recording else None,
            wav_error=recording.error if recording else None,
            marks=tuple(recording.marks) if recording else (),
            connections=tuple(self.connections),
            declared_gaps=self.declared_gaps,
            declared_lost_samples=self.declared_lost_samples,
            declared_repeated_samples=self.declared_repeated_samples,
            turns=self.turns,
            texts=self.texts,
            voice_messages=self.voice_messages,
            longest_pause_s=self.stream_clock.longest_pause_s,
            behind_samples=self.stream_clock.behind_samples,
            end_calls=self.end_calls,
        )


class Carrier(Protocol):
    """An open WebSocket, as the platform sees it."""

    def may_carry(self, live: Live) -> bool:
        """Return whether it is one of this live session."""


class PlatformState:
    """What all connections share."""

    def __init__(self, settings: EmulatorSettings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.clock = clock
        self.tokens: TokenIssuer = TokenIssuer(settings.token_lifetime_s, clock)
        self.lives: list[Live] = []
        self._holding: dict[str, list[Live]] = defaultdict(list)
        """By user, those that held a slot when they were looked at last: not every one that ever was is walked."""
        self._streams: dict[str, Live] = {}
        self.requests: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.violations: deque[ViolationRecord] = deque(maxlen=1_000)
        self.violation_count: int = 0
        self.files: dict[str, bytes] = {}
        self._connections: dict[str, list[Carrier]] = defaultdict(list)
        """Open WebSockets by user: a live session that one of them may carry does not expire for want of one."""
        self._licenses: dict[str, Live] = {}
        self._sessions: defaultdict[str, set[str]] = defaultdict(set)
        self._history: defaultdict[str, deque[Item]] = defaultdict(lambda: deque(maxlen=_HISTORY))
        self._avatar_ids = frozenset(avatar.id for avatar in settings.avatars)
        self._live_avatar_ids = frozenset(avatar.id for avatar in settings.avatars if avatar.has_live_mode)
        self._language_codes = frozenset(code for _, code in settings.languages)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._voices = 0
        if settings.wav_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="ravatar-audio-")
            self.folder: Path = Path(self._temporary.name)
        else:
            self.folder = Path(settings.wav_dir)
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SettingsError(f"wav_dir {str(self.folder)!r} cannot be made: {error.strerror}") from error

    def close(self) -> None:
        """Close all recordings; a folder that nobody asked for goes away."""
        for live in self.lives:
            if live.recording is not None:
                live.recording.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def live_avatar_ids(self) -> frozenset[str]:
        return self._live_avatar_ids

    def avatar_name(self, avatar_id: str) -> str:
        """Return the name that users see."""
        return next(avatar.name for avatar in self.settings.avatars if avatar.id == avatar_id)

    def note_violation(self, where: str, violation: Violation) -> None:
        """Count what broke the contract."""
        self.violation_count += 1
        _log.info("violation at %s: %s", where, violation)
        self.violations.append(ViolationRecord(where, violation.field, violation.why))

    # -- sessions and live sessions --

    def new_session(self, user_id: str) -> str:
        """Make a conversation context, as /connection returns it."""
        session = secrets.token_hex(12)
        self._sessions[user_id].add(session)
        return session

    def speaker(self, user_id: str) -> Speaker:
        """Return what this user's messages are checked against."""
        return Speaker(
            user_id,
            self._avatar_ids,
            self._language_codes,
            self._sessions[user_id].__contains__,
            lambda license_id: self.find_license(license_id, user_id) is not None,
        )

    def find_license(self, license_id: str, user_id: str) -> Live | None:
        """Return the live session of this LicenseId, whatever its state, when it is this user's."""
        live = self._licenses.get(license_id)
        return live if live is not None and live.user_id == user_id else None

    def find_stream(self, stream_id: str) -> Live | None:
        """Return the live session that a streaming URL shows."""
        return self._streams.get(stream_id)

    def is_active(self, live: Live) -> bool:
        """Return whether it holds a slot. One whose time is over expires here."""
        now = time.monotonic()
        if any(connection.may_carry(live) for connection in self._connections.get(live.user_id, ())):
            live.seen_s = now
        is_idle = now - live.seen_s >= self.settings.session_idle_s
        if is_idle or now - live.started_s >= (self.settings.session_lifetime_s or float("inf")):
            live.finish("expired")
        return live.state == "active"

    @property
    def active(self) -> list[Live]:
        """Live sessions that hold a slot."""
        return [live for user_id in tuple(self._holding) for live in self.active_of(user_id)]

    def active_of(self, user_id: str) -> list[Live]:
        """Return the live sessions of this user that hold a slot."""
        holding = [live for live in self._holding.get(user_id, ()) if live.state == "active" and self.is_active(live)]
        if holding:
            self._holding[user_id] = list(holding)
        else:
            self._holding.pop(user_id, None)
        return holding

    def note_open(self, connection: Carrier, user_id: str) -> None:
        """Note that this user's WebSocket is open."""
        self._connections[user_id].append(connection)

    def note_closed(self, connection: Carrier, user_id: str) -> None:
        """Note that it is closed: what it may have carried was seen until now."""
        now = time.monotonic()
        for live in self.active_of(user_id):
            if connection.may_carry(live):
                live.seen_s = now
        self._connections[user_id].remove(connection)
        if not self._connections[user_id]:
            del self._connections[user_id]

    @property
    def slots_free(self) -> int:
        return self.settings.slots - len(self.active)

    def start_live(self, user_id: str, avatar_id: str, size: tuple[int, int]) -> Live | None:
        """Start a new live session; None when all slots are taken."""
        held = sum(map(len, self._holding.values()))  # at least; those that have ended since are told apart below
        if held >= self.settings.slots and self.slots_free <= 0:
            return None
        live = Live(len(self.lives) + 1, user_id, avatar_id, size, self.settings.reply_every_s)
        self.lives.append(live)
        self._holding[user_id].append(live)
        self._streams[live.stream_id] = live
        self._licenses[live.license_id] = live
        return live

    def expire_sessions(self) -> None:
        """End every live session, as if its time were over."""
        for live in self.active:
            live.finish("expired")

    def forget(self, *memories: str) -> None:
        """Forget, as after a restart, what was given out until now. Some of MEMORIES; none means all."""
        for memory in memories or MEMORIES:
            match memory:
                case "token":
                    self.tokens.forget_all()
                case "conversation":
                    for sessions in self._sessions.values():
                        sessions.clear()
                case "slot":
                    for live in self.active:
                        live.finish("forgotten")
                    self._licenses.clear()
                case _:
                    raise SettingsError(f"a platform cannot forget {memory!r}; it can forget {', '.join(MEMORIES)}")

    # -- history and files --

    def remember(self, user_id: str, direction: Literal["incoming", "outgoing"], text: str, **fields: Any) -> Item:
        """Add to a user's history. The request belongs to outgoing items, the answer to incoming ones."""
        item: Item = {
            "_id": secrets.token_hex(12),
            "direction": direction,
            "user_id": user_id,
            "request": text if direction == "outgoing" else "",
            "date": self._next_date_ms(user_id),
            **fields,
        }
        if direction == "incoming":
            item["answer"] = text
            item["avatar_name"] = self.avatar_name(item["avatar_id"])
        self._history[user_id].append(item)
        return item

    def _next_date_ms(self, user_id: str) -> int:
        """Now, but after the user's last item: who sorts by date must not find an answer before its question."""
        items = self._history[user_id]
        now_ms = round(self.clock() * 1000)
        return max(now_ms, items[-1]["date"] + 1) if items else now_ms

    def history(self, user_id: str, per_page: int, page: int) -> tuple[list[Item], bool]:
        """Return a page of a user's history, newest first, and whether there are more behind it."""
        items = self._history[user_id]
        end = page * per_page
        return list(islice(reversed(items), end - per_page, end)), end < len(items)

    def keep_voice(self, data: bytes) -> str:
        """Store a recorded voice message in the folder; its name, under which it can be fetched as well."""
        self._voices += 1
        suffix = ".wav" if data[:4] == b"RIFF" else ".webm"
        path = new_path(self.folder, "voice", self._voices, suffix)
        path.write_bytes(data)
        name = f"{secrets.token_urlsafe(12)}{suffix}"
        self.files[name] = data
        while len(self.files) > 20:
            self.files.pop(next(iter(self.files)))
        return name
