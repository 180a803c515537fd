"""The recorder: hears of sessions, and writes what it hears in a thread of its own. It never holds a session up."""

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Final, Self

from ravatar_audio.errors import RavatarError
from ravatar_audio.frames import Frame
from ravatar_audio.observe.log import line_logger
from ravatar_audio.observe.observer import ObservedSession, Observer
from ravatar_audio.observe.recorder import entries
from ravatar_audio.observe.recorder.folder import RecordingFolder
from ravatar_audio.observe.recorder.mcap_file import RecordingWriter
from ravatar_audio.settings import Settings

log: logging.Logger = line_logger(__name__)

EVERY_S: Final = 1.0
"""A chunk is written, and given to the disk for good, so often: what a crash loses."""
QUEUE_MAX: Final = 4_000
"""Entries that wait for a slow disk: some 4 minutes of sound, 8 MB. What comes then is not recorded, and counted."""
FILE_S: Final = 600.0
"""A file is ended after so long, so that it can be deleted by its age."""
_AGAIN_S: Final = 10.0
"""A disk that has failed is tried again after so long."""
_CLOSE_LIMIT_S: Final = 5.0

Make = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class RecorderStatistics:
    """What a recorder has done. noted = written + lost + pending, in entries."""

    noted_entries: int
    written_entries: int
    lost_entries: int
    """The queue was full, or the disk failed."""
    pending_entries: int
    written_bytes: int
    files: int


class FlightRecorder(Observer):
    """Records sessions to `settings.record`, as a context manager. Raises SettingsError for a folder that is of no use.

    What is noted is in the file, and on the disk, within EVERY_S and the time that the disk takes. The last sample of
    a frame is 0.26 s older than its first, so at most 2 s are lost by a crash or a power cut.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare the folder. `clock` says when something is noted; it is asked in the sessions' thread."""
        assert settings.record is not None
        self.settings = settings
        self._clock = clock
        limit_bytes = settings.record_mb * 1_000_000
        self._folder = RecordingFolder(settings.record, limit_bytes=limit_bytes, keep_s=settings.record_hours * 3_600)
        self._queue: deque[tuple[str, float, float, Make]] = deque()
        self._noted = self._refused = self._failed = self._told_lost = 0
        self._written = self._bytes = self._files = 0
        self._sessions = 0
        self.context: dict[int, Mapping[str, Any]] = {}
        """Of the sessions under way: what each new file begins with."""
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ravatar-record", daemon=True)
        self._file: IO[bytes] | None = None
        self._writer: RecordingWriter | None = None
        self._opened_s = 0.0
        self._offset_ns = 0
        self._file_bytes = 0
        self._retry_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what waits, and end the file; blocks for as long as the disk takes, _CLOSE_LIMIT_S at most."""
        self._is_stopping.set()
        self._thread.join(_CLOSE_LIMIT_S)
        if self._thread.is_alive():
            log.warning("record: the disk takes longer than %.0f s; the recording's end may be missing", _CLOSE_LIMIT_S)

    @property
    def _lost(self) -> int:
        return self._refused + self._failed

    def statistics(self) -> RecorderStatistics:
        """Counters as of now."""
        noted, written, lost = self._noted, self._written, self._lost
        return RecorderStatistics(noted, written, lost, max(0, noted - written - lost), self._bytes, self._files)

    def for_session(self) -> Observer:
        """Its entries carry its number."""
        self._sessions += 1
        return _SessionRecorder(self, self._sessions)

    def note(self, topic: str, make: Make, about_s: float | None = None) -> None:
        """Something, now; `make` gives its values later, in the recorder's thread. `about_s`: when it was."""
        now_s = self._clock()
        self._noted += 1
        if len(self._queue) >= QUEUE_MAX:
            self._refused += 1
        else:
            self._queue.append((topic, now_s, now_s if about_s is None else about_s, make))

    # The thread.

    def _run(self) -> None:
        is_last = False
        due_s = time.monotonic()
        while not is_last:
            due_s = max(due_s + EVERY_S, time.monotonic())
            is_last = self._is_stopping.wait(due_s - time.monotonic())
            try:
                self._write()
                if is_last:
                    self._end_file()
            except Exception as error:  # a full disk, one that was taken out; the session goes on
                self._give_up_file(error)

    def _write(self) -> None:
        count = len(self._queue)
        if not count:
            return
        now_s = time.monotonic()
        if self._writer is None:
            if now_s < self._retry_s:
                for _ in range(count):
                    self._queue.popleft()
                self._failed += count
                return
            self._begin_file(self._queue[0][1])
        writer, file = self._writer, self._file
        assert writer is not None
        assert file is not None
        lost = self._lost
        if lost > self._told_lost:
            at_ns = self._ns(self._queue[0][1])
            writer.add("/recorder", at_ns, at_ns, {"lost_entries": lost - self._told_lost})
        done = 0
        try:
            for _ in range(count):
                topic, at_s, about_s, make = self._queue.popleft()
                done += 1
                writer.add(topic, self._ns(at_s), self._ns(about_s), make())
            size = writer.flush()
            os.fdatasync(file.fileno()) if hasattr(os, "fdatasync") else os.fsync(file.fileno())
        except BaseException:
            self._failed += done
            raise
        if self._retry_s:
            log.warning("record: recording again")
            self._retry_s = 0.0
        self._written += done
        self._told_lost = lost
        self._bytes += max(0, size - self._file_bytes)
        self._file_bytes = size
        if size >= self._folder.file_bytes or now_s >= self._opened_s + FILE_S:
            self._end_file()

    def _begin_file(self, at_s: float) -> None:
        self._file = self._folder.open_next()
        self._writer = RecordingWriter(self._file)
        self._file_bytes = 0
        self._files += 1
        self._opened_s = time.monotonic()
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        for values in tuple(self.context.values()):
            self._writer.add("/session", self._ns(at_s), self._ns(at_s), values)

    def _end_file(self) -> None:
        writer, file = self._writer, self._file
        self._writer = self._file = None
        if writer is not None and file is not None:
            with file:
                writer.finish()
                os.fsync(file.fileno())

    def _give_up_file(self, error: Exception) -> None:
        if not self._retry_s:
            log.warning("record: %s; the session goes on, and recording is tried again every %.0f s", error, _AGAIN_S)
        self._retry_s = time.monotonic() + _AGAIN_S
        file, self._file, self._writer = self._file, None, None
        if file is not None:
            with contextlib.suppress(OSError):  # it was said already
                file.close()

    def _ns(self, at_s: float) -> int:
        return round(at_s * 1e9) + self._offset_ns


class _SessionRecorder(Observer):
    def __init__(self, recorder: FlightRecorder, number: int) -> None:
        self._recorder, self._number = recorder, number
        self._session: ObservedSession | None = None

    def begun(self, session: ObservedSession) -> None:
        self._session = session
        values = {"session": self._number, "what": "begun", "settings": entries.of_settings(self._recorder.settings)}
        self._recorder.context[self._number] = {**values, "what": "goes on"}
        self._recorder.note("/session", lambda: values)

    def captured(self, frame: Frame) -> None:
        offset_ns = time.time_ns() - time.monotonic_ns()
        captured_ns = round(frame.captured_s * 1e9) + offset_ns
        note, number = self._recorder.note, self._number
        note(entries.SOUND, lambda: entries.of_sound(frame, captured_ns), frame.captured_s)
        note(
            "/captured",
            lambda: entries.of_frame(number, frame) | entries.of_losses(frame) | entries.of_levels(frame),
            frame.captured_s,
        )

    def taken(self, frame: Frame) -> None:
        age_s = time.monotonic() - frame.captured_s
        flags = {"discontinuity": frame.discontinuity, "flushed": frame.flushed, "age_s": round(age_s, 6)}
        self._note_frame("/taken", frame, lambda: entries.of_losses(frame) | flags)

    def written(self, frame: Frame, lost_samples: int, is_repeated: bool) -> None:
        age_s = time.monotonic() - frame.captured_s
        self._note_frame(
            "/written",
            frame,
            lambda: {"lost_samples": lost_samples, "repeated": is_repeated, "age_s": round(age_s, 6)},
        )

    def acknowledged(self, frame: Frame) -> None:
        self._note_frame("/acknowledged", frame, dict)

    def dropped(self, frame: Frame, cause: str) -> None:
        self._note_frame("/dropped", frame, lambda: {"cause": cause})

    def happened(self, event: object) -> None:
        self._note_text(entries.topic_of(event), entries.of_event(self._number, event))

    def failed(self, error: Exception) -> None:
        about = {"code": error.code, "advice": error.advice} if isinstance(error, RavatarError) else {}
        self._note_text("/errors", {"session": self._number, "message": str(error), **about})

    def ended(self, session: ObservedSession) -> None:
        if self._recorder.context.pop(self._number, None) is not None:
            statistics = entries.of_statistics(session.observed())
            values = {"session": self._number, "what": "ended", "statistics": statistics}
            self._recorder.note("/session", lambda: values)

    def _note_frame(self, topic: str, frame: Frame, more: Make) -> None:
        number = self._number
        self._recorder.note(topic, lambda: {**entries.of_frame(number, frame), **more()})

    def _note_text(self, topic: str, values: Mapping[str, Any]) -> None:
        """Secrets are hidden here and now: the session knows them, and its log is of this thread."""
        redact = self._session.redact if self._session else str
        made = {name: redact(value) if isinstance(value, str) else value for name, value in values.items()}
        self._recorder.note(topic, lambda: made)
