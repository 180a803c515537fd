"""Sound from a pipe: another program captures, as in `arecord -f S16_LE -r 48000 | ravatar-audio live --source -`."""

import os
from collections.abc import Iterable

import trio

from ravatar_audio.capture.source import Source, ring_capacity
from ravatar_audio.capture.wav import WavHeader, parse_wav_header
from ravatar_audio.errors import MediaAbortedError, SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.native import Chain

_READ_S = 0.032
_HEADER_BYTES_MAX = 65_536


class PipeSource(Source):
    """Raw interleaved PCM, or a WAV stream, from a file descriptor; native byte order, `rate_hz` and so on as declared.

    A stream that begins as a WAV (as arecord's does) says rate, channels and format itself. The descriptor stays the
    caller's and is not changed. It is read when the program asks for a frame, so nothing is lost here: a slow program
    makes the writer wait. `stall_s`: how long nothing may come before iterating raises MediaAbortedError (None: for
    ever). `heard`, `profile`, `gain_db` and `ring_s` are the microphone's. The end of the pipe ends the iteration.
    """

    backend = "pipe"

    def __init__(
        self,
        fd: int = 0,
        *,
        rate_hz: int = 16_000,
        channels: int = 1,
        format: str = "int16",
        stall_s: float | None = None,
        heard: Iterable[int] | None = None,
        profile: str = "balanced",
        gain_db: float = 0.0,
        ring_s: float = 2.048,
    ) -> None:
        super().__init__()
        self.name = "stdin" if fd == 0 else f"fd {fd}"
        self.rate_hz, self.channels, self.format = rate_hz, channels, format
        self._fd, self._stall_s = fd, stall_s
        self._heard = None if heard is None else tuple(heard)
        self._profile, self._gain_db, self._ring_s = profile, gain_db, ring_s
        self._is_pollable = True
        self._rest = b""
        self._is_at_end = False

    async def _open(self) -> None:
        if wav := await self._read_header():
            self.rate_hz, self.channels, self.format = wav.rate_hz, wav.channels, wav.format
            self._rest = self._rest[wav.data_offset :]
        self._chain = Chain(
            rate_hz=self.rate_hz,
            channels=self.channels,
            format=self.format,
            heard=self._heard,
            profile=self._profile,
            gain_db=self._gain_db,
            capacity_frames=max(2, ring_capacity(self._ring_s)),
        )
        self._push(self._chain)

    async def _read_header(self) -> WavHeader | None:
        """The WAV header when the stream begins with one; what has been read stays in self._rest."""
        while True:
            if self._rest and not b"RIFF".startswith(self._rest[:4]):
                return None
            if len(self._rest) >= 12 and self._rest[8:12] != b"WAVE":
                return None
            if header := parse_wav_header(self._rest):
                return header
            if len(self._rest) > _HEADER_BYTES_MAX:
                raise SettingsError(f"{self.name} begins as a WAV stream, but its header does not end")
            if not (data := await self._read(4_096)):
                return None
            self._rest += data

    async def _read(self, size: int) -> bytes:
        """What is there, at most `size` bytes; waits for the first. b"" at the end."""
        if self._is_pollable:
            try:
                with trio.fail_after(self._stall_s or float("inf")):
                    await trio.lowlevel.wait_readable(self._fd)
            except trio.TooSlowError:
                raise MediaAbortedError(
                    f"nothing has come from {self.name} for {self._stall_s:g} s",
                    advice="Look whether the program that captures the sound still runs.",
                ) from None
            except PermissionError:  # a regular file: always readable, and epoll refuses it
                self._is_pollable = False
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            return os.read(self._fd, size)
        except OSError as error:
            raise MediaAbortedError(f"{self.name} cannot be read: {error.strerror}") from error

    async def _next(self) -> Frame | None:
        while (chain := self._chain) is not None:
            frame = chain.take()
            if frame is not None or self._is_at_end:
                return frame
            # So little that it ends at most one frame, and the ring is empty: nothing is dropped.
            data = await self._read(max(1, int(_READ_S * self.rate_hz)) * chain.stride_bytes)
            if not data:
                self._is_at_end = True
                self._push(chain)
                chain.finish()
            else:
                self._rest += data
                self._push(chain)
        return None

    def _push(self, chain: Chain) -> None:
        whole = len(self._rest) // chain.stride_bytes * chain.stride_bytes
        block, self._rest = self._rest[:whole], self._rest[whole:]
        if block:
            chain.push(block)

    async def stop(self) -> None:
        if self._chain is not None and not self._is_at_end:
            self._is_at_end = True
            self._chain.finish()

    async def aclose(self) -> None:
        await self.stop()
        self._close_chain()
