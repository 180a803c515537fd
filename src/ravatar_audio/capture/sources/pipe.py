"""Sound from a pipe: another program captures, as in `arecord -f S16_LE -r 48000 | ravatar-audio live --source -`."""

import errno
import math
import os
import socket
import stat
from pathlib import Path
from typing import Final, Unpack

import trio

from ravatar_audio.capture.devices.device import layout_text
from ravatar_audio.capture.microphone.sound_monitor import SoundMonitor
from ravatar_audio.capture.microphone.source import Source
from ravatar_audio.capture.sources.paced import is_paced
from ravatar_audio.capture.sources.sniff import RAW, WAV, begins_as
from ravatar_audio.capture.sources.wav import HEADER_BYTES_MAX, SampleCutter, WavHeader, parse_wav_header
from ravatar_audio.choices import Pace, SampleFormat
from ravatar_audio.conversion import CaptureOptions, Conversion
from ravatar_audio.errors import MediaAbortedError, MediaError, RecorderError, SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.native import Chain
from ravatar_audio.observe.log import line_logger

log: Final = line_logger(__name__)

_WRITER_ADVICE = "Look at the program that writes into it: does it run, does it find its microphone, what does it say?"
_PCM_ADVICE = "Let the program write WAV or PCM: arecord -t wav, ffmpeg … -f wav -, sox … -t wav -"
_READ_S = 0.032
_CONNECT_S = 5.0
_CLOCKS_APART = 1.001
"""How much faster than ours a writer's clock may be: at real pace one that keeps time is never made to wait."""


class PipeSource(Source):
    """Interleaved PCM from a pipe: raw in native byte order, `rate_hz` and so on as declared, or a WAV.

    `origin` is a file descriptor, which stays the caller's and is not changed, or the path of what is no regular file:
    a FIFO, a device, a socket that somebody listens at. A stream that begins as a WAV (as arecord's does) says rate,
    channels and format itself. It is read when the program asks for a frame, so nothing is lost here: a slow program
    makes the writer wait. At `pace` "real" a writer that is faster than the sound is made to wait as well; at "full" it
    is not. `channels_heard`, `profile`, `gain_db`, `dc_block` and `ring_s` are the microphone's.

    When nothing has come for `stall_s` the event "stalled" says so, and "recovered" when it goes on; after `give_up_s`
    (None: never) MediaAbortedError is raised, by iterating after the last frame, or by opening. The end of the pipe
    ends the iteration, with the event "ended". `is_endless` says that there is a microphone behind the pipe, which
    waits for nobody and has no end: a session that is late drops its oldest sound (`is_real_time`), and the end raises
    MediaAbortedError after the last frame. One that ends before any sound raises SettingsError, as
    an empty file does; where it is endless, RecorderError, as a microphone that gives nothing does.
    "digital_silence", "sound" and "clipping" are as a microphone's. Opening raises SettingsError for a stream that is
    no PCM, RecorderError for what cannot be read.
    """

    backend = "pipe"

    def __init__(
        self,
        origin: int | str | os.PathLike[str] = 0,
        *,
        pace: Pace = "full",
        rate_hz: int = 16_000,
        channels: int = 1,
        format: SampleFormat = "int16",
        stall_s: float = 0.5,
        give_up_s: float | None = None,
        is_endless: bool = False,
        **conversion: Unpack[CaptureOptions],
    ) -> None:
        super().__init__()
        self._path = None if isinstance(origin, int) else Path(origin)
        self._fd = origin if isinstance(origin, int) else -1
        self.name: str = str(self._path) if self._path else "standard input" if origin == 0 else f"fd {origin}"
        self.rate_hz: int
        self.channels: int
        self.format: str
        self.rate_hz, self.channels, self.format = rate_hz, channels, format
        self._stall_s, self._give_up_s, self._is_endless = stall_s, give_up_s, is_endless
        self.is_real_time: bool
        self.is_real_time, self._is_paced = is_endless, is_paced(pace) and not is_endless
        self._conversion = Conversion.asked(conversion)
        self._is_pollable = True
        self._begin = b""  # what was read to see what it is
        self._cutter: SampleCutter
        self._start_s: float | None = None
        self._is_at_end = self._is_over = False
        self._failure: MediaError | None = None
        self._sound_monitor = SoundMonitor()
        self._last_frame: Frame | None = None  # given out, and not looked at yet

    async def _open(self) -> None:
        if self._path is not None:
            self._fd = await trio.to_thread.run_sync(_open_path, self._path)
        try:
            await self._begin_to_read()
        except BaseException:
            self._close_fd()
            raise

    async def _begin_to_read(self) -> None:
        if os.isatty(self._fd):
            raise SettingsError(
                f"{self.name} is a terminal, not a pipe",
                advice="Send sound into it: arecord -f S16_LE -r 16000 | ravatar-audio live --source -",
            )
        wav = await self._read_header()
        if wav is not None:
            declared, self.rate_hz, self.channels, self.format = self._layout(), wav.rate_hz, wav.channels, wav.format
            if declared != self._layout():
                log.info("%s is a WAV of %s; %s was declared", self.name, self._layout(), declared)
            self._begin = self._begin[wav.data_offset :]
        self._chain = self._conversion.chain(self.rate_hz, self.channels, self.format, least_frames=2)
        self._cutter = SampleCutter(wav, self._chain.stride_bytes)

    def _layout(self) -> str:
        return layout_text(self.rate_hz, self.channels, self.format)

    async def _read_header(self) -> WavHeader | None:
        """The WAV header when the stream begins with one; what has been read stays in self._begin."""
        is_all = False
        while True:
            kind = begins_as(self._begin, is_all=is_all)
            if kind == RAW:
                return None
            if kind == WAV:
                try:
                    header = parse_wav_header(self._begin, is_all=is_all)
                except SettingsError as refusal:
                    raise self._refused(refusal.message, refusal.advice) from refusal
                if header is not None:
                    return header
                if is_all:
                    raise self._refused("it ends within its header")
                if len(self._begin) > HEADER_BYTES_MAX:
                    raise self._refused("its header does not end")
            elif kind is not None:
                raise SettingsError(f"{self.name} begins as {kind}, which is not PCM", advice=_PCM_ADVICE)
            data = await self._read(4_096)
            self._begin += data
            is_all = not data

    def _refused(self, why: str, advice: str = _PCM_ADVICE) -> SettingsError:
        return SettingsError(f"{self.name} cannot be read: {why}", advice=advice)

    async def _read(self, size: int) -> bytes:
        """What is there, at most `size` bytes; waits for the first. b"" at the end."""
        while True:
            if self._is_pollable:
                await self._wait_readable()
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                return os.read(self._fd, size)
            except BlockingIOError:  # somebody else has read it
                continue
            except OSError as error:
                raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> MediaError:
        why = f"{self.name} cannot be read: {error.strerror}"
        return MediaAbortedError(why, advice=_WRITER_ADVICE, errno=errno.errorcode.get(error.errno or 0))

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
                        self._emit("stalled", f"nothing has come for {self._stall_s:g} s")
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
            self._emit("recovered", "sound comes again")

    async def _next(self) -> Frame | None:
        frame, self._last_frame = self._last_frame, None
        if frame is not None:  # as with a microphone: it is on its way to the platform, and nobody waits for this
            for event in self._sound_monitor.look_at(frame):
                self._put(event)
        while (chain := self._chain) is not None:
            frame = self._last_frame = chain.take()
            if frame is not None:
                return frame
            if self._is_at_end:
                if self._is_over:
                    self._is_over = False  # reported once
                    self._emit_end(chain)
                return None
            # So little that it ends at most one frame, and the ring is empty: nothing is dropped.
            size = max(1, int(_READ_S * self.rate_hz)) * chain.stride_bytes
            data = b""
            try:
                if self._is_paced:
                    await self._wait_due(chain)
                data, self._begin = self._begin[:size], self._begin[size:]
                if not data and not self._cutter.is_complete:
                    data = await self._read(size)
            except MediaError as error:
                self._failure = error  # raised behind the sound that came before it
            if self._chain is None:  # closed by another task meanwhile
                return None
            if block := self._cutter.cut(data):
                chain.push(block)
            if not data:
                self._is_at_end = self._is_over = True
                chain.finish()
        return None

    async def _wait_due(self, chain: Chain) -> None:
        """Let the writer wait for its clock. It may be behind, and catch up."""
        now_s = trio.current_time()
        if self._start_s is None:
            self._start_s = now_s
        sound_s = chain.statistics().device_samples / self.rate_hz
        if (ahead_s := self._start_s + sound_s / _CLOCKS_APART - now_s) > 0:
            await trio.sleep(ahead_s)

    def _emit_end(self, chain: Chain) -> None:
        """The pipe has ended: is that in order?"""
        if self._failure is not None:
            raise self._failure
        heard_s = chain.statistics().device_samples / self.rate_hz
        complaint = self._cutter.complaint(self._layout())
        said = f"{self.name} has ended after {heard_s:.3f} s of sound{complaint}"
        if not heard_s:
            raise self._without_sound()
        if self._is_endless:
            raise MediaAbortedError(said, advice=_WRITER_ADVICE)
        self._emit("ended", said)
        if complaint:
            log.warning("%s", said)

    def _without_sound(self) -> SettingsError | RecorderError:
        if self._is_endless:
            return RecorderError(f"{self.name} has ended before any sound came", advice=_WRITER_ADVICE)
        return SettingsError(f"{self.name} has no sound in it", advice=_WRITER_ADVICE)

    async def stop(self) -> None:
        if self._chain is not None and not self._is_at_end:
            self._is_at_end = True
            self._chain.finish()

    async def aclose(self) -> None:
        await self.stop()
        self._close_chain()
        self._close_fd()
        self._close_listeners()

    def _close_fd(self) -> None:
        if self._path is not None and self._fd >= 0:
            if self._is_pollable:
                trio.lowlevel.notify_closing(self._fd)  # another task may wait for it
            os.close(self._fd)
            self._fd = -1


def is_pipe(path: str) -> bool:
    """Whether a path is something to read as it comes: there, and neither a regular file nor a folder."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _open_path(path: Path) -> int:
    """A descriptor of our own. Never waits: neither for a FIFO's writer nor for a device."""
    try:
        if (number := _descriptor(path)) is not None:
            return os.dup(number)  # a socket cannot be opened by such a path
        if stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_CONNECT_S)
                connection.connect(str(path))
                connection.setblocking(False)
                return connection.detach()
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise RecorderError(
            f"{str(path)!r} cannot be read: {error.strerror}",
            advice=_WRITER_ADVICE,
            errno=errno.errorcode.get(error.errno or 0),
        ) from error


def _descriptor(path: Path) -> int | None:
    """N of /dev/fd/N and its like."""
    if str(path) == "/dev/stdin":
        return 0
    is_ours = str(path.parent) in ("/dev/fd", "/proc/self/fd") and path.name.isdecimal()
    return int(path.name) if is_ours else None
