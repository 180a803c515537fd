"""Where the usual pipelines take their sound from: PyAudio, sounddevice, or samples that are there already.

Each is a context manager that calls `on_block(block, came_s)` on a thread of its own, from entering on: an int16 block,
interleaved, and when the callback began (`time.monotonic()`). A source that ends says so by an empty block.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

OnBlock = Callable[[bytes, float], None]
BLOCK_S = 0.010


class BlockSource(ABC):
    """Base of the three. `rate_hz` and `channels` are the device's."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.rate_hz, self.channels = rate_hz, channels
        self.on_block: OnBlock

    @property
    def block_samples(self) -> int:
        return int(self.rate_hz * BLOCK_S)

    def feeding(self, on_block: OnBlock) -> Self:
        """`with source.feeding(on_block):`."""
        self.on_block = on_block
        return self

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Let the blocks come."""

    @abstractmethod
    def stop(self) -> None:
        """No block comes after this."""


class PyAudioSource(BlockSource):
    """The default input device through PyAudio's callback."""

    def start(self) -> None:
        import pyaudio

        def on_audio(block: bytes, samples: int, clock: object, flags: int) -> tuple[None, int]:
            self.on_block(block, time.monotonic())
            return None, pyaudio.paContinue

        self._portaudio = pyaudio.PyAudio()
        self._stream = self._portaudio.open(
            rate=self.rate_hz,
            channels=self.channels,
            format=pyaudio.paInt16,
            input=True,
            frames_per_buffer=self.block_samples,
            stream_callback=on_audio,
        )

    def stop(self) -> None:
        self._stream.close()
        self._portaudio.terminate()


class SounddeviceSource(BlockSource):
    """The default input device through sounddevice's raw callback."""

    def start(self) -> None:
        import sounddevice

        def on_audio(block: Any, samples: int, clock: object, flags: object) -> None:
            self.on_block(bytes(block), time.monotonic())

        self._stream = sounddevice.RawInputStream(
            samplerate=self.rate_hz,
            channels=self.channels,
            dtype="int16",
            blocksize=self.block_samples,
            latency="low",
            callback=on_audio,
        )
        self._stream.start()

    def stop(self) -> None:
        self._stream.close()


class SamplesSource(BlockSource):
    """Samples that are there already, by a thread: at real-time pace on a schedule that does not drift, or at once.

    `samples` is interleaved int16. With `repeats` they come again and again until stop().
    """

    def __init__(
        self, samples: bytes, rate_hz: int, channels: int = 1, *, is_real_time: bool = True, repeats: bool = False
    ) -> None:
        super().__init__(rate_hz, channels)
        self._samples, self._is_real_time, self._repeats = samples, is_real_time, repeats
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        size = self.block_samples * 2 * self.channels
        due_s = time.monotonic()
        at = 0
        while not self._ended.is_set():
            if self._is_real_time:
                due_s += BLOCK_S
                if self._ended.wait(max(0.0, due_s - time.monotonic())):
                    return
            block = self._samples[at : at + size]
            at += size
            if self._repeats and at >= len(self._samples):
                at = 0
            self.on_block(block, time.monotonic())
            if not block:
                return
