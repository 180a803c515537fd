"""A sound file as a source."""

import os
from pathlib import Path
from typing import Any

import trio

from ravatar_audio.capture.sources.paced import PacedSource
from ravatar_audio.capture.sources.reader import Reader, open_sound_file
from ravatar_audio.errors import MediaAbortedError, SettingsError
from ravatar_audio.frames import Frame


class FileSource(PacedSource):
    """A sound file: WAV by itself, every other format with the extra "files" (PyAV).

    It waits for whoever takes its frames, at real pace as well, so none of it is lost. Opening raises SettingsError
    when it cannot be read or has no sound in it. When it is written to while it plays, or turns out to be damaged, the
    frames before come first, and then MediaAbortedError or SettingsError. Further arguments as for PacedSource.
    """

    backend = "file"

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        super().__init__(can_wait=True, **options)
        self.path: Path = Path(path)
        self.name: str = str(path)
        self._reader: Reader | None = None
        self._failure: MediaAbortedError | SettingsError | None = None

    async def _open(self) -> None:
        reader = await trio.to_thread.run_sync(open_sound_file, self.path)
        try:
            # Read by this thread from now on: a file's blocks are small, and the system reads ahead.
            self.rate_hz: int = reader.rate_hz
            self.channels: int = reader.channels
            self.format: str = reader.format
            await super()._open()
        except BaseException:
            reader.close()
            raise
        self._reader = reader

    async def _next(self) -> Frame | None:
        frame = await super()._next()
        if frame is None and self._failure is not None:
            failure, self._failure = self._failure, None  # raised once, behind the sound
            raise failure
        return frame

    def _read(self, samples: int) -> bytes:
        try:
            return self._reader.read(samples) if self._reader else b""
        except (MediaAbortedError, SettingsError) as error:
            self._failure = error
            return b""

    async def aclose(self) -> None:
        await super().aclose()
        if self._reader:
            self._reader.close()
            self._reader = None
