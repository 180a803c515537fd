"""The core's conversion alone: arrays or bytes of device samples in, frames of 16 kHz int16 out."""

import sys
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, Unpack

from ravatar_audio.choices import SampleFormat
from ravatar_audio.conversion import Conversion, ConversionOptions
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.native import SAMPLE_BYTES, ChainStatistics

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from numpy.typing import NDArray

    Samples = ReadableBuffer | NDArray[Any]  # before Python 3.12, arrays are no buffers to a type checker

_CAPACITY_FRAMES: Final = 8
_RING_S: Final = _CAPACITY_FRAMES * FRAME_SAMPLES / RATE_HZ
# Items that a buffer may have, as letters of the struct module, besides those of one byte, which count as raw.
_ITEMS: Final = {"int16": "h", "int24": "", "int32": "il", "float32": "f", "uint8": ""}
_RAW_ITEMS: Final = "Bbc"
_NATIVE: Final = "@=|<" if sys.byteorder == "little" else "@=|>"


class Converter:
    """Converts a stream of device samples to frames; the way that it is cut into calls does not change the result.

    `rate_hz` is 8,000 to 192,000, `channels` 1 to 32, `format` one of int16, int24 (packed in three bytes), int32,
    float32 (full scale is 1.0) and uint8 (zero is 128), in the machine's byte order.
    The rest are Conversion's fields but for the ring: `channels_heard`, `profile`, `phase`, `gain_db`, `dc_block` and
    `dither`. Raises SettingsError for values outside of these.
    Frames' `captured_s` counts from the first sample given. One thread at a time may use a converter.
    """

    def __init__(
        self,
        rate_hz: int,
        channels: int = 1,
        format: SampleFormat = "int16",
        **conversion: Unpack[ConversionOptions],
    ) -> None:
        asked = replace(Conversion.asked(conversion), ring_s=_RING_S)
        self._chain = asked.chain(rate_hz, channels, format)
        # A step that cannot overrun the ring, which holds what one step gives and an open frame.
        self._step_bytes = (_CAPACITY_FRAMES - 2) * FRAME_SAMPLES * rate_hz // RATE_HZ * self._chain.stride_bytes
        self._items = _ITEMS[format] + _RAW_ITEMS
        letters = self._items.replace("l", "").encode()  # an l may be 64 bits
        self._process = self._chain.processor(self._step_bytes, letters)

    def process(self, buffer: "Samples") -> list[Frame]:
        """Convert samples and return the frames that are complete.

        `buffer` is anything with the buffer protocol: bytes, or an array of the format's type with the shape
        (samples,), interleaved, or (samples, channels). Raises ValueError for another type or shape, or when the last
        sample is incomplete.
        """
        frames = self._process(buffer)  # type: ignore[arg-type]
        return self._process_in_steps(buffer) if frames is None else frames

    def _process_in_steps(self, buffer: "Samples") -> list[Frame]:
        """`process` for a buffer that must be looked at more closely, or is more than the ring can hold."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        chain = self._chain
        if view.format.lstrip(_NATIVE) not in tuple(self._items) or view.itemsize not in (
            1,
            SAMPLE_BYTES[chain.format],
        ):
            raise ValueError(f"items of type {view.format!r} were given; the converter was opened for {chain.format}")
        if view.ndim > 1:
            raw = view.itemsize == 1 and SAMPLE_BYTES[chain.format] != 1
            if raw or view.ndim != 2 or view.shape is None or view.shape[1] != chain.channels:
                raise ValueError(f"an array of shape {view.shape} was given; (samples, {chain.channels}) is expected")
        size = view.nbytes
        if size % chain.stride_bytes:
            raise ValueError(f"{size} bytes are no whole number of {chain.channels}-channel {chain.format} samples")
        data = view.cast("B") if view.c_contiguous and size else memoryview(view.tobytes())
        frames: list[Frame] = []
        for start in range(0, size, self._step_bytes):
            complete = self._process(data[start : start + self._step_bytes])
            assert complete is not None, "bytes are always plain"
            frames += complete
        return frames

    def flush(self) -> list[Frame]:
        """Return the end of the sound: what the resampler holds and the frame that is open, padded with zeros.

        The samples of all frames together are then input x 16,000 / rate, rounded up. What is processed afterwards is
        a new stretch of sound in the same numbering.
        """
        self._chain.finish()
        return list(self._chain.take_all())

    @property
    def group_delay_s(self) -> float:
        """What live sound is delayed by: the filter's group delay at 1 kHz. The output's positions are free of it."""
        return self._chain.group_delay_s

    @property
    def kernel(self) -> str:
        """Name of the resampling kernel: "portable", "avx2", "neon", ..."""
        return self._chain.kernel

    def statistics(self) -> ChainStatistics:
        """Return the counters since the converter was made."""
        return self._chain.statistics()

    def close(self) -> None:
        """Free the native memory now rather than with the object. May be called again."""
        self._chain.close()
        self._process = self._closed

    def _closed(self, buffer: "Samples") -> NoReturn:
        raise ValueError("the converter is closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
