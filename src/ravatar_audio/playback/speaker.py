"""A loudspeaker that asks for its samples."""

from collections.abc import Callable
from typing import Any, Protocol

from ravatar_audio.errors import SettingsError

Fill = Callable[[int, float], bytes]
"""fill(samples, heard_s): that many samples, mono int16; the first is heard at `heard_s` of time.monotonic()."""


class Loudspeaker(Protocol):
    """What plays a Player's samples. Its methods may block; a Player calls them in a thread."""

    rate_hz: int
    """Samples a second that it takes."""

    def open(self, fill: Fill) -> None:
        """Begin to call `fill`, on whatever thread, until it is closed. Raises a MediaError where it cannot be."""

    def close(self) -> None:
        """Stop at once. May be called again."""


class PortAudioLoudspeaker:
    """The system's default output, or another of PortAudio's by its index, at `rate_hz` (8,000 to 192,000)."""

    def __init__(self, index: int | None = None, *, rate_hz: int = 48_000, block_ms: int = 20) -> None:
        if not 8_000 <= rate_hz <= 192_000:
            raise SettingsError(f"rate_hz is {rate_hz}; it is from 8000 to 192000")
        if not 5 <= block_ms <= 200:
            raise SettingsError(f"block_ms is {block_ms}; it is from 5 to 200")
        self.index: int | None = index
        self.rate_hz: int = rate_hz
        self._block_samples = rate_hz * block_ms // 1_000
        self._library: Any = None
        self._stream: Any = None

    def open(self, fill: Fill) -> None:
        """Open the device. Raises DeviceNotFoundError, DeviceInUseError, ... as a microphone does."""
        from ravatar_audio.capture.streams.portaudio import PortAudio

        self._library = PortAudio()
        try:
            self._stream = self._library.open_output(self.index, self.rate_hz, self._block_samples, fill)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop at once. May be called again."""
        library, stream = self._library, self._stream
        self._library = self._stream = None
        if stream is not None:
            library.close_output(stream)
        if library is not None:
            library.close()
