"""Sound from a pipe: another program captures, as in `arecord -f S16_LE -r 48000 | ravatar-audio live --source -`."""

import errno
import logging
import math
import os
from collections.abc import Iterable

import trio

from ravatar_audio.capture.devices import layout_text
from ravatar_audio.capture.source import Source, ring_capacity
from ravatar_audio.capture.watchdog import Watchdog
from ravatar_audio.capture.wav import WavHeader, native_samples, parse_wav_header
from ravatar_audio.errors import MediaAbortedError, MediaError, RecorderError, SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.native import SAMPLE_BYTES, Chain

log = logging.getLogger(__name__)

_WRITER_ADVICE = "Look at the program that writes into it: does it run, does it find its microphone, what does it say?"
_READ_S = 0.032
_HEADER_BYTES_MAX = 65_536
_OTHER_FORMATS = {
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"ID3": "MP3",
    b"\xff\xfb": "MP3",
    b"FORM": "AIFF",
    b".snd": "AU",
    b"Creative Voice": "VOC",
    b"caff": "CAF",
    b"\x1a\x45\xdf\xa3": "WebM or Matroska",
}
"""How streams begin that are no PCM."""


class PipeSource(Source):
    """Interleaved PCM from a file descriptor: raw in native byte order, `rate_hz` and so on as declared, or a WAV.

    A stream that begins as a WAV (as arecord's does) says rate, channels and format itself. The descriptor stays the
    caller's and is not changed. It is read when the program asks for a frame, so nothing is lost here: a slow program
    makes the writer wait. `heard`, `profile`, `gain_db`, `dc_block` and `ring_s` are the microphone's.

    When nothing has come for `stall_s` the event "stalled" says so, and "recovered" when it goes on; after `give_up_s`
    (None: never) MediaAbortedError is raised, by iterating after the last frame, or by opening. The end of the pipe
    ends the iteration, with the event "ended"; where `is_endless`, as with a microphone behind the pipe, it raises
    MediaAbortedError after the last frame. A pipe that ends before any sound raises RecorderError in any case.
    "digital_silence", "sound" and "clipping" are as a microphone's.
    Opening raises SettingsError for a stream that is no PCM.
    """

    backend = "pipe"

    def __init__(
        self,
        fd: int = 0,
        *,
        rate_hz: int = 16_000,
        channels: int = 1,
        format: str = "int16",
        stall_s: float = 0.5,
        give_up_s: float | None = None,
        is_endless: bool = False,
        heard: Iterable[int] | None = None,
        profile: str = "balanced",
        gain_db: float = 0.0,
        dc_block: bool = False,
        ring_s: float = 2.048,
    ) -> None:
        super().__init__()
        self.name = "standard input" if fd == 0 else f"fd {fd}"
        self.rate_hz, self.channels, self.format = rate_hz, channels, format
        self._fd, self._stall_s, self._give_up_s, self._is_endless = fd, stall_s, give_up_s, is_endless
        self._heard = None if heard is None else tuple(heard)
        self._profile, self._gain_db, self._dc_block, self._ring_s = profile, gain_db, dc_block, ring_s
        self._is_pollable = True
        self._rest = b""
        self._is_wav = False
        self._unread_bytes: int | None = None  # of a WAV that says how long it is
        self._is_at_end = self._is_over = False
        self._failure: MediaError | None = None
        self._watchdog = Watchdog()
        self._last_frame: Frame | None = None  # given out, and not looked at yet

    async def _open(self) -> None:
        if os.isatty(self._fd):
            raise SettingsError(
                f"{self.name} is a terminal, not a pipe",
                advice="Send sound into it: arecord -f S16_LE -r 16000 | ravatar-audio live --source -",
            )
        if wav := await self._read_header():
            declared, self.rate_hz, self.channels, self.format = self._layout(), wav.rate_hz, wav.channels, wav.format
            if declared != self._layout():
                log.info("%s is a WAV of %s; %s was declared", self.name, self._layout(), declared)
            self._rest, self._unread_bytes, self._is_wav = self._rest[wav.data_offset :], wav.data_bytes, True
        self._chain = Chain(
            rate_hz=self.rate_hz,
            channels=self.channels,
            format=self.format,
            heard=self._heard,
            profile=self._profile,
            gain_db=self._gain_db,
            dc_block=self._dc_block,
            capacity_frames=max(2, ring_capacity(self._ring_s)),
        )
        self._push(self._chain)

    def _layout(self) -> str:
        return layout_text(self.rate_hz, self.channels, self.format)

    async def _read_header(self) -> WavHeader | None:
        """The WAV header when the stream begins with one; what has been read stays in self._rest."""
        while True:
            for magic, kind in _OTHER_FORMATS.items():
                if self._rest.startswith(magic):
                    raise SettingsError(
                        f"{self.name} begins as {kind}, which is not PCM",
                        advice="Let the program write WAV or PCM: arecord -t wav, ffmpeg … -f wav -, sox … -t wav -",
                    )
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
            await self._wait_readable()
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            return os.read(self._fd, size)
        except OSError as error:
            raise MediaAbortedError(
                f"{self.name} cannot be read: {error.strerror}", errno=errno.errorcode.get(error.errno or 0)
            ) from error

    async def _wait_readable(self) -> None:
        give_up_s = math.inf if self._give_up_s is None else self._give_up_s
        has_stalled = False
        try:
            with trio.fail_after(give_up_s):
                with trio.move_on_after(self._stall_s) as patience:
                    await trio.lowlevel.wait_readable(self._fd)
                if patience.cancelled_caught:
                    # The first sound may take its time; when it is too much, that is an error all the same.
                    if has_stalled := self._chain is not None:
                        self._tell("stalled", f"nothing has come for {self._stall_s:g} s")
                    await trio.lowlevel.wait_readable(self._fd)
        except trio.TooSlowError:
            raise MediaAbortedError(
                f"nothing has come from {self.name} for {give_up_s:g} s", advice=_WRITER_ADVICE
            ) from None
        except PermissionError:  # a regular file: always readable, and epoll refuses it
            self._is_pollable = False
        except OSError as error:
            raise RecorderError(
                f"{self.name} cannot be read: {error.strerror}",
                advice=_WRITER_ADVICE,
                errno=errno.errorcode.get(error.errno or 0),
            ) from error
        if has_stalled:
            self._tell("recovered", "sound comes again")

    async def _next(self) -> Frame | None:
        frame, self._last_frame = self._last_frame, None
        if frame is not None:  # as with a microphone: it is on its way to the platform, and nobody waits for this
            for event in self._watchdog.look_at(frame):
                self._put(event)
        while (chain := self._chain) is not None:
            frame = self._last_frame = chain.take()
            if frame is not None:
                return frame
            if self._is_at_end:
                if self._is_over:
                    self._is_over = False  # told once
                    self._tell_of_the_end(chain)
                return None
            # So little that it ends at most one frame, and the ring is empty: nothing is dropped.
            size = max(1, int(_READ_S * self.rate_hz)) * chain.stride_bytes
            data = b""
            try:
                if self._unread_bytes != 0:
                    data = await self._read(size)
            except MediaError as error:
                self._failure = error  # raised behind the sound that came before it
            if self._chain is None:  # closed by another task meanwhile
                return None
            self._rest += data
            self._push(chain)
            if not data:
                self._is_at_end = self._is_over = True
                chain.finish()
        return None

    def _push(self, chain: Chain) -> None:
        if self._unread_bytes is not None:  # what follows the sound in a WAV is no sound
            self._rest = self._rest[: self._unread_bytes]
        whole = len(self._rest) // chain.stride_bytes * chain.stride_bytes
        block, self._rest = self._rest[:whole], self._rest[whole:]
        if block:
            chain.push(native_samples(block, SAMPLE_BYTES[self.format]) if self._is_wav else block)
        if self._unread_bytes is not None:
            self._unread_bytes -= whole

    def _tell_of_the_end(self, chain: Chain) -> None:
        """The pipe has ended: is that in order?"""
        if self._failure is not None:
            raise self._failure
        heard_s = chain.statistics().device_samples / self.rate_hz
        said = f"{self.name} has ended after {heard_s:.3f} s of sound"
        if self._rest:
            said += f", within a sample: {len(self._rest)} bytes over; is it really {self._layout()}?"
        if self._unread_bytes:
            said += f", {self._unread_bytes} bytes short of what its header says"
        if not heard_s:
            raise RecorderError(f"{self.name} has ended before any sound came", advice=_WRITER_ADVICE)
        if self._is_endless:
            raise MediaAbortedError(said, advice=_WRITER_ADVICE)
        self._tell("ended", said)
        if self._rest or self._unread_bytes:
            log.warning("%s", said)

    async def stop(self) -> None:
        if self._chain is not None and not self._is_at_end:
            self._is_at_end = True
            self._chain.finish()

    async def aclose(self) -> None:
        await self.stop()
        self._close_chain()
        self._events.close()
