"""The native core's face in Python: one chain, from device samples to frames. csrc/core/rva.h is its manual."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from ravatar_audio import _core
from ravatar_audio._core import ffi, lib
from ravatar_audio.choices import PHASES, PROFILES
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_BYTES, Frame

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

SAMPLE_BYTES: Final = {"int16": 2, "int24": 3, "int32": 4, "float32": 4, "uint8": 1}
"""Device sample formats and their size; native byte order, int24 packed in three bytes."""

_FORMATS = {
    "int16": lib.RVA_FORMAT_S16,
    "int24": lib.RVA_FORMAT_S24,
    "int32": lib.RVA_FORMAT_S32,
    "float32": lib.RVA_FORMAT_F32,
    "uint8": lib.RVA_FORMAT_U8,
}
_NO_POSITION = 2**64 - 1

if lib.rva_python_install():
    raise ImportError("the native core could not be completed (rva_python_install)")


@dataclass(frozen=True, slots=True)
class ChainStatistics:
    """Counters since the chain was opened; see rva_statistics in csrc/core/rva.h. At 16 kHz, but for device_samples."""

    blocks: int
    device_samples: int
    converted_samples: int
    finished_frames: int
    ring_dropped_frames: int
    ring_dropped_samples: int
    device_overruns: int
    device_lost_samples: int
    clipped: int
    wake_failures: int
    last_block_ns: int
    queued_frames: int
    open_samples: int

    def __add__(self, other: "ChainStatistics") -> "ChainStatistics":
        """Of two chains, one after the other."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in ChainStatistics.__slots__}
        return ChainStatistics(**sums | {"last_block_ns": max(self.last_block_ns, other.last_block_ns)})


def format_code(name: str) -> int:
    """The core's number for a sample format; raises SettingsError for a name that it does not have."""
    try:
        return int(_FORMATS[name])
    except KeyError:
        raise SettingsError(f"sample format {name!r} is unknown; it is one of {', '.join(_FORMATS)}") from None


def _choice(what: str, value: str, allowed: tuple[str, ...]) -> int:
    if value not in allowed:
        raise SettingsError(f"{what} {value!r} is unknown; it is one of {', '.join(allowed)}")
    return allowed.index(value)


ChannelsHeard = Iterable[int] | str | None
"""Which channels are averaged: numbers from 0, "all", or None: both of two, and the first of more."""


def channels_asked(channels_heard: ChannelsHeard) -> tuple[int, ...] | str | None:
    """What was asked for, to be kept. Raises SettingsError for a word other than "all"."""
    if channels_heard is None:
        return None
    if isinstance(channels_heard, str):
        if channels_heard != "all":
            raise SettingsError(f"channels_heard is {channels_heard!r}; it is 'all' or channel numbers from 0")
        return channels_heard
    return tuple(channels_heard)


def channels_averaged(channels_heard: ChannelsHeard, channels: int) -> tuple[int, ...]:
    """The channels that are averaged of so many. Averaging an array's would mix its loudspeaker's signal in."""
    if channels_heard is None and channels > 2:
        return (0,)
    if channels_heard is None or isinstance(channels_heard, str):
        return tuple(range(channels))
    return tuple(channels_heard)


def _channel_mask(channels_averaged: tuple[int, ...], channels: int) -> int:
    mask = 0
    for channel in channels_averaged:
        if not 0 <= channel < channels:
            raise SettingsError(f"channel {channel} is not one of the device's {channels}; they count from 0")
        mask |= 1 << channel
    return mask


def layout_refusal(rate_hz: int, channels: int, channels_heard: ChannelsHeard = None) -> str:
    """Why a chain cannot take what a device gives; empty when it can."""
    if not lib.RVA_RATE_MIN_HZ <= rate_hz <= lib.RVA_RATE_MAX_HZ:
        has = f"{rate_hz} Hz is not" if rate_hz else "it has no rate"
        return f"{has} between {lib.RVA_RATE_MIN_HZ} and {lib.RVA_RATE_MAX_HZ} Hz"
    if not 1 <= channels <= lib.RVA_CHANNELS_MAX:
        return f"{channels} channels are not 1 to {lib.RVA_CHANNELS_MAX}"
    missing = [channel for channel in channels_averaged(channels_heard, channels) if not 0 <= channel < channels]
    if missing:
        return f"channel {missing[0]} is to be heard, and it has {channels}, which count from 0"
    return ""


class Chain:
    """Device blocks in, frames out; the C chain with its ring.

    One thread pushes and one takes; they may be two. `rate_hz` is the device's rate (8,000 to 192,000), `channels` its
    channels (1 to 32), `format` a key of SAMPLE_BYTES, `channels_heard` which of them are averaged (see ChannelsHeard),
    `capacity_frames` what the ring holds (8 are 2 s), `gain_db` -60 to 60, `wake_fd` a non-blocking eventfd or pipe
    that is written for each frame (-1: none). `after` is what earlier chains gave: frame numbers and positions go on
    from there. Raises SettingsError for values that the core refuses.
    """

    def __init__(
        self,
        *,
        rate_hz: int,
        channels: int = 1,
        format: str = "int16",
        channels_heard: ChannelsHeard = None,
        capacity_frames: int = 8,
        profile: str = "balanced",
        phase: str = "linear",
        gain_db: float = 0.0,
        dc_block: bool = False,
        dither: bool = False,
        wake_fd: int = -1,
        after: ChainStatistics | None = None,
    ) -> None:
        self._handle: Any = None
        self._address = 0  # the same pointer, for csrc/python/rva_python.h
        self._first_seq = after.finished_frames if after else 0
        self.first_position: int = after.converted_samples if after else 0
        """Of the sample that is converted first, at 16 kHz."""
        self.rate_hz: int = rate_hz
        self.channels: int = channels
        self.format: str = format
        most = min(channels, lib.RVA_CHANNELS_MAX) if isinstance(channels, int) else 0
        self.channels_heard: tuple[int, ...] = channels_averaged(channels_asked(channels_heard), most)
        self.sample_format: int = format_code(format)
        values = {
            "rate_hz": rate_hz,
            "channels": channels,
            "format": self.sample_format,
            "channel_mask": _channel_mask(self.channels_heard, channels),
            "capacity_frames": capacity_frames,
            "profile": _choice("profile", profile, PROFILES),
            "phase": _choice("phase", phase, PHASES),
            "options": lib.RVA_OPTION_DC_BLOCK * dc_block | lib.RVA_OPTION_DITHER * dither,
            "gain_db": gain_db,
            "wake_fd": wake_fd,
        }
        out = ffi.new("rva_chain **")
        try:
            code = lib.rva_chain_open(ffi.new("rva_config *", values), out)
        except (OverflowError, TypeError) as error:
            raise SettingsError(f"a chain cannot be opened with {values}: {error}") from error
        if code:
            text = ffi.string(lib.rva_error_text(code)).decode()
            given = f"{rate_hz} Hz, {channels} channels, {format}, ring of {capacity_frames} frames, gain {gain_db} dB"
            raise SettingsError(f"{text} (given: {given})")
        self._handle, self._address = out[0], int(ffi.cast("intptr_t", out[0]))
        self.stride_bytes: int = SAMPLE_BYTES[format] * channels

    @property
    def handle(self) -> Any:
        """The C pointer, for the core's own stream functions; raises ValueError once closed."""
        if self._handle is None:
            raise ValueError("the chain is closed")
        return self._handle

    def close(self) -> None:
        """Free the chain. Whoever pushes must have stopped. May be called again."""
        if self._handle is not None:
            lib.rva_chain_close(self._handle)
            self._handle, self._address = None, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # audio threads still run then, and the process's end gives the memory back anyway
            self.close()

    @property
    def group_delay_s(self) -> float:
        """What the resampler delays live sound by: its group delay at 1 kHz."""
        return float(lib.rva_chain_group_delay_s(self.handle))

    @property
    def kernel(self) -> str:
        """Name of the resampling kernel that runs: "portable", "avx2", "neon", ..."""
        return str(ffi.string(lib.rva_chain_kernel(self.handle)).decode())

    def push(self, block: "ReadableBuffer", end_s: float | None = None) -> None:
        """Convert interleaved device samples; `end_s` is when the last one was at the microphone (default: now).

        Raises ValueError when the bytes are no whole number of samples over all channels.
        """
        data = ffi.from_buffer(block)
        size = len(data)
        if size % self.stride_bytes:
            raise ValueError(f"{size} bytes are no whole number of {self.channels}-channel {self.format} samples")
        end_ns = round((time.monotonic() if end_s is None else end_s) * 1e9)
        lib.rva_chain_push(self.handle, data, size // self.stride_bytes, end_ns)

    def processor(self, most_bytes: int, items: bytes) -> Callable[["ReadableBuffer"], list[Frame] | None]:
        """A quick way to push and take at once, timed by the sound itself, for a converter; see rva_python.h.

        It takes a buffer of at most `most_bytes`, contiguous, whose items are one of the struct module's letters in
        `items`, and returns the frames that are complete; None says that it was none of these and is still to be
        pushed. Frames are numbered from 0. It may not be called once the chain is closed.
        """
        process: Callable[[ReadableBuffer], list[Frame] | None] = _core.processor(
            self._address, Frame, most_bytes, self.channels, items
        )
        return process

    def tap(self, samples: int) -> None:
        """From now on keep the device's own samples, all channels, until there are so many per channel. Once.

        For looking at channels that are not heard; see tapped(). Any thread may ask. Raises SettingsError without
        memory, or when it has been asked for before.
        """
        if code := lib.rva_chain_tap(self.handle, samples):
            text = "the channels are being looked at" if code == lib.RVA_ERROR_CAPACITY else "out of memory"
            raise SettingsError(f"{samples} samples of {self.channels} channels cannot be kept: {text}")

    def tapped(self) -> bytes:
        """What tap() has kept by now: interleaved, in the device's format. Any thread may ask."""
        sound = ffi.new("void const **")
        samples = lib.rva_chain_tapped(self.handle, sound)
        return bytes(ffi.buffer(sound[0], samples * self.stride_bytes)) if samples else b""

    def note_loss(self, samples: int = 0) -> None:
        """The source lost `samples` per channel, in its own rate, before the next block; 0: it did not say how many."""
        lib.rva_chain_note_loss(self.handle, samples)

    def request_flush(self) -> None:
        """Let the next block end the open frame first. Any thread may ask."""
        lib.rva_chain_request_flush(self.handle)

    def flush_at(self, position_samples: int | None) -> None:
        """Let the open frame end before the sample at this position (16 kHz); None takes the request back.

        A position that is not ahead any more ends it at the next block. One request at a time, the newest, counts,
        `request_flush` included. Any thread may ask.
        """
        own = _NO_POSITION if position_samples is None else max(0, position_samples - self.first_position)
        lib.rva_chain_flush_at(self.handle, own)

    def finish(self) -> None:
        """No more will come: give out what the resampler holds and end the open frame."""
        lib.rva_chain_finish(self.handle)

    def take(self) -> Frame | None:
        """The oldest frame, copied out of the ring, or None when there is none."""
        frame: Frame | None = _core.take(self._address, Frame, self._first_seq, self.first_position)
        return frame

    def take_all(self) -> Iterator[Frame]:
        """Frames until the ring is empty."""
        while (frame := self.take()) is not None:
            yield frame

    def statistics(self) -> ChainStatistics:
        """Counters as of now; any thread may ask."""
        raw = ffi.new("rva_statistics *")
        lib.rva_chain_statistics(self.handle, raw)
        return ChainStatistics(**{name: getattr(raw, name) for name in ChainStatistics.__slots__})


def message_encoder(prefix: str, suffix: str) -> Callable[["ReadableBuffer"], memoryview]:
    """A function that makes a frame's 8,192 bytes the live voice message: a whole WebSocket frame, masked.

    Its payload is `prefix`, their base64, `suffix`. What it returns is valid until its next call; another length raises
    ValueError. Masks come from the system's random source, as RFC 6455 (5.3) asks. See rva_python_message.h.
    """
    encode: Callable[[ReadableBuffer], memoryview] = _core.encoder(
        prefix.encode("ascii"), suffix.encode("ascii"), FRAME_BYTES, os.urandom
    )
    return encode
