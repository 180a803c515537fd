"""Sources that stand in for the microphone: files, synthetic sound. They go through the same chain.

They have no thread: blocks are pushed when the program asks for the next frame. At real-time pace those are all that
have fallen due by then, on a schedule that does not drift, so a slow program overruns the ring as with a microphone. At
full pace a block is pushed only when the ring is empty, so nothing is ever lost.
"""

import mmap
import os
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from ravatar_audio.capture.source import Source, ring_capacity
from ravatar_audio.capture.wav import native_samples, parse_wav_header
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.native import SAMPLE_BYTES, Chain

if TYPE_CHECKING:
    from ravatar_audio.capture.signals import Samples

PACES = ("real_time", "full")
_BLOCK_S = 0.010
"""So short that a block ends at most one frame: with an empty ring, nothing can be dropped."""


class PacedSource(Source):
    """Base of the sources that make their own sound. `_read` gives the next samples.

    `pace` is "real_time" or "full" (as fast as the program takes the frames). `heard`, `profile`, `gain_db`,
    `dc_block` and `ring_s` are the microphone's.
    """

    def __init__(
        self,
        *,
        pace: str = "real_time",
        heard: Iterable[int] | None = None,
        profile: str = "balanced",
        gain_db: float = 0.0,
        dc_block: bool = False,
        ring_s: float = 2.048,
    ) -> None:
        super().__init__()
        if pace not in PACES:
            raise SettingsError(f"pace {pace!r} is unknown; it is one of {', '.join(PACES)}")
        self.is_real_time = pace == "real_time"
        self._chain_options: dict[str, Any] = {
            "heard": None if heard is None else tuple(heard),
            "profile": profile,
            "gain_db": gain_db,
            "dc_block": dc_block,
            "capacity_frames": max(2, ring_capacity(ring_s)),  # two: the end may finish a frame and flush another
        }
        self._start_s = 0.0
        self._pushed_samples = 0
        self._is_at_end = self._is_finished = False

    @abstractmethod
    def _read(self, samples: int) -> bytes:
        """The next `samples` per channel, fewer at the end, none after it."""

    async def _open(self) -> None:
        self._open_chain()
        self._start_s = trio.current_time()

    def _open_chain(self) -> None:
        self._chain = Chain(rate_hz=self.rate_hz, channels=self.channels, format=self.format, **self._chain_options)

    async def _next(self) -> Frame | None:
        block_samples = max(1, int(_BLOCK_S * self.rate_hz))
        while (chain := self._chain) is not None:  # closed meanwhile, perhaps
            due_s = self._start_s
            while self.is_real_time and not self._is_at_end:
                due_s = self._start_s + (self._pushed_samples + block_samples) / self.rate_hz
                ahead_s = due_s - trio.current_time()
                if ahead_s > 0:
                    break
                self._push(chain, block_samples, time.monotonic() + ahead_s)
            frame = chain.take()
            if frame is not None or self._is_finished:
                return frame
            if self._is_at_end:
                self._is_finished = True
                chain.finish()
            elif self.is_real_time:
                await trio.sleep_until(due_s)
            else:
                self._push(chain, block_samples, None)
        return None

    def _push(self, chain: Chain, samples: int, end_s: float | None) -> None:
        block = self._read(samples)
        if block:
            chain.push(block, end_s)
        self._pushed_samples += len(block) // chain.stride_bytes
        self._is_at_end = self._is_at_end or len(block) < samples * chain.stride_bytes

    async def stop(self) -> None:
        self._is_at_end = True

    async def aclose(self) -> None:
        await self.stop()
        self._close_chain()
        self._events.close()


class FileSource(PacedSource):
    """A sound file: WAV of PCM or float by itself; others where the package soundfile is installed (extra "files").

    Raises SettingsError when it cannot be read. Further arguments as for PacedSource.
    """

    backend = "file"

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        super().__init__(**options)
        self.path = Path(path)
        self.name = str(path)
        self._blocks: _Wav | _SoundFile | None = None

    async def _open(self) -> None:
        # Reading ahead of a real clock: a file's blocks are small, and the system has them in memory.
        self._blocks = blocks = _open_file(self.path)
        self.rate_hz, self.channels, self.format = blocks.rate_hz, blocks.channels, blocks.format
        try:
            await super()._open()
        except BaseException:
            blocks.close()
            raise

    def _read(self, samples: int) -> bytes:
        return self._blocks.read(samples) if self._blocks else b""

    async def aclose(self) -> None:
        await super().aclose()
        if self._blocks:
            self._blocks.close()
            self._blocks = None


def _open_file(path: Path) -> "_Wav | _SoundFile":
    try:
        return _Wav(path)
    except OSError as error:
        raise SettingsError(f"the sound file {str(path)!r} cannot be read: {error.strerror or error}") from error
    except SettingsError as refusal:
        try:
            import soundfile
        except ImportError:
            raise SettingsError(
                f"the sound file {str(path)!r} cannot be read: {refusal.message}",
                advice="Convert it to a WAV file of 16 bits, or install the extra: pip install 'ravatar-audio[files]'.",
            ) from refusal
        try:
            return _SoundFile(soundfile.SoundFile(path))
        except soundfile.SoundFileError as error:
            raise SettingsError(f"the sound file {str(path)!r} cannot be read: {error}") from error


class _Wav:
    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise SettingsError("it is empty")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            header = parse_wav_header(self._map)  # type: ignore[arg-type]  # it has all that is used of bytes
            if header is None:
                raise SettingsError("it ends within its header")
        except BaseException:
            self._map.close()
            raise
        self.rate_hz, self.channels, self.format = header.rate_hz, header.channels, header.format
        self._sample_bytes = SAMPLE_BYTES[header.format]
        self._stride_bytes = self._sample_bytes * header.channels
        self._at = header.data_offset
        present = len(self._map) - header.data_offset
        whole = min(present, header.data_bytes or present) // max(1, self._stride_bytes)
        self._end = self._at + whole * self._stride_bytes

    def read(self, samples: int) -> bytes:
        end = min(self._end, self._at + samples * self._stride_bytes)
        block = self._map[self._at : end]
        self._at = end
        return native_samples(block, self._sample_bytes)

    def close(self) -> None:
        self._map.close()


class _SoundFile:
    format = "float32"

    def __init__(self, file: Any) -> None:
        self._file = file
        self.rate_hz, self.channels = int(file.samplerate), int(file.channels)

    def read(self, samples: int) -> bytes:
        return bytes(self._file.read(samples, dtype="float32", always_2d=True).tobytes())

    def close(self) -> None:
        self._file.close()


class SyntheticSource(PacedSource):
    """Generated mono sound: `kind` is "speech" (speech-like), "tone" (1 kHz), "sweep" or "noise" (white).

    `duration_s` None is endless. The sound depends on `kind`, `rate_hz` and `seed` only. Further arguments as for
    PacedSource. Raises SettingsError for an unknown kind.
    """

    backend = "synthetic"

    def __init__(
        self,
        kind: str = "speech",
        *,
        rate_hz: int = 48_000,
        duration_s: float | None = None,
        seed: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if duration_s is not None and not duration_s >= 0:
            raise SettingsError(f"duration_s is {duration_s}; it must be 0 or more")
        self.name = f"synthetic:{kind}"
        self.rate_hz, self.channels, self.format = rate_hz, 1, "float32"
        from ravatar_audio.capture import signals  # numpy is slow to load, and a microphone does without

        self._pieces: Iterator[Samples] = signals.generate(kind, rate_hz, seed)
        self._piece = b""
        self._left_samples = None if duration_s is None else round(duration_s * rate_hz)

    def _read(self, samples: int) -> bytes:
        if self._left_samples is not None:
            samples = min(samples, self._left_samples)
            self._left_samples -= samples
        size = samples * SAMPLE_BYTES[self.format]
        while len(self._piece) < size:
            self._piece += next(self._pieces).tobytes()
        block, self._piece = self._piece[:size], self._piece[size:]
        return block
