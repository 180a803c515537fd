"""A microphone that is made up: what it hears, its own clock, and what goes wrong with it."""

import errno
import math
import random
from collections.abc import Callable, Mapping, Sequence

from ravatar_audio.capture.devices.device import Device
from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.capture.streams.alsa import error_for
from ravatar_audio.capture.streams.fed import FedStream
from ravatar_audio.capture.streams.stream import StreamRequest, StreamStatistics
from ravatar_audio.errors import MediaError, SettingsError
from ravatar_audio.native import Chain
from ravatar_audio.testing.sound import OneSound, make_sound

WORDS = ("ok", "unplug", "eio", "stall", "lose", "mute", "hang", "move", "eacces", "ebusy", "enodev", "enospc", "end")

_AT_OPEN = {"eacces": errno.EACCES, "ebusy": errno.EBUSY, "enodev": errno.ENODEV, "unplug": errno.ENODEV}
_WHILE_RUNNING = {"unplug": errno.ENODEV, "eio": errno.EIO, "enospc": errno.ENOSPC}
_NEARLY_S = 1e-6
"""What floats of seconds can be off."""


class FakeDevice:
    """A microphone that is made up.

    `sound` is what it hears, again and again: "speech" (speech-like), "tone" (1 kHz), "sweep", "noise", "silence"
    (exact zeros), "ramp" (each sample says its position: n modulo 32,768), the path of a WAV file, or an array of
    int16 or float32 samples, (samples,) or (samples, channels). The file has its own rate, channels and format. A list
    of such sounds, of one channel each, makes a microphone array: channel 0 hears the first, and so on.

    Its clock is fast by `drift_ppm`, and blocks come up to `jitter_s` late, by chance but the same for the same `seed`;
    their capture times are right, as with good hardware. `script` says what happens at which sample of its clock, which
    begins at 0 when it is first opened and never stops: {48_000: "unplug", 96_000: "ok"}. `do` does it at once. Words:

        ok          all is well again: plugged in, running, free, heard
        unplug      pulled out: the stream ends, and there is no such device
        eio         the stream ends with an error; it can be opened again
        stall       nothing comes, and no error
        lose N      N samples are lost, as the program learns with the next block
        mute        exact zeros, as from a muted or dead microphone
        hang        the next call into the sound library does not return, and no other gets to this device
        move        the sound server moves the stream to another source; what is heard stays the same
        enospc      the stream ends, and any other at once, as when the bus cannot carry it
        eacces, ebusy, enodev   from here on, opening is refused so; a running stream goes on
        end         the FakeMicrophone stops, as by stop()

    Raises SettingsError for sound or a word that it does not know.
    """

    def __init__(
        self,
        sound: OneSound | Sequence[OneSound] = "speech",
        *,
        rate_hz: int = 48_000,
        channels: int = 1,
        format: str = "int16",
        drift_ppm: float = 0.0,
        jitter_s: float = 0.0,
        script: Mapping[int, str] | None = None,
        name: str = "Made-up microphone",
        usb_id: str = "1234:0001",
        serial: str = "",
        seed: int = 1,
    ) -> None:
        self._sound = make_sound(sound, rate_hz, channels, format)
        self.rate_hz: int = self._sound.rate_hz
        self.channels: int = self._sound.channels
        self.format: str = self._sound.format
        self.name: str = name
        self.usb_id: str = usb_id
        self.serial: str = serial
        self._true_rate_hz = self.rate_hz * (1 + drift_ppm * 1e-6)
        self._jitter_s, self._chance = jitter_s, random.Random(seed)  # noqa: S311
        self._script = sorted((script or {}).items())
        for _, word in self._script:
            _check(word)
        self._word = "ok"
        self._is_muted = False
        self.is_over: bool = False
        self._begun_s: float | None = None
        self._clock: Callable[[], float] = lambda: 0.0
        self._stream: FakeStream | None = None
        self.on_change: Callable[[], object] = lambda: None
        """Called when something has happened to it: what comes next may come sooner."""
        self.comings: int = 0
        """Times that it was plugged in again."""
        self.moves: int = 0
        """Times that its sound server moved the stream."""

    @property
    def is_plugged_in(self) -> bool:
        """The system lists it."""
        return self._word not in ("unplug", "enodev")

    @property
    def is_running(self) -> bool:
        """A stream is open, and sound comes."""
        return self._running() is not None

    @property
    def hangs(self) -> bool:
        """No call into the sound library returns."""
        return self._word == "hang"

    @property
    def position(self) -> int:
        """Samples per channel that its clock has counted; 0 before it is first opened."""
        return 0 if self._begun_s is None else int((self._clock() - self._begun_s) * self._true_rate_hz)

    def described(self, *, is_default: bool) -> Device:
        """As the system lists it."""
        return Device(
            index=None,
            name=self.name,
            host_api="made up",
            channels=self.channels,
            rate_hz=self.rate_hz,
            is_default=is_default,
            usb_id=self.usb_id,
            serial=self.serial,
            rates_hz=(self.rate_hz,),
            formats=(self.format,),
        )

    def refusal(self) -> MediaError | None:
        """What opening it now would raise."""
        number = errno.EBUSY if self._stream else _AT_OPEN.get(self._word)
        return error_for(number, f"the device {self.name!r} cannot be opened") if number else None

    def do(self, word: str) -> None:
        """Let it happen now; see the class for the words."""
        _check(word)
        self._do(word, self.position)

    def _do(self, text: str, position: int) -> None:
        word, _, number = text.partition(" ")
        stream = self._stream
        if word == "end":
            self.is_over = True
        elif word == "mute":
            self._is_muted = True
        elif word == "move":
            self.moves += 1
            if stream:
                stream.wake.set()
        elif word == "lose":
            if stream:
                stream.skip_to(max(stream.next_position, position) + int(number))
        else:
            was, self._word = self._word, word
            if word == "ok":
                self._is_muted = False
                self.comings += was in ("unplug", "enodev")
                if stream and was == "stall":
                    stream.skip_to(position)
            if stream and word in _WHILE_RUNNING:
                stream.finish(-_WHILE_RUNNING[word])
        self.on_change()

    # What the system below the microphone asks for.

    def open(
        self, chain: Chain, request: StreamRequest, wake: Wake, resume_ns: int, clock: Callable[[], float]
    ) -> "FakeStream":
        """A stream that pushes into the chain while time goes by."""
        if refusal := self.refusal():
            raise refusal
        self._clock = clock
        if self._begun_s is None:
            self._begun_s = clock()
        self._stream = stream = FakeStream(self, chain, wake, clock(), resume_ns, request.block_samples)
        if self._word == "enospc":
            stream.finish(-errno.ENOSPC)
        self.on_change()
        return stream

    def let_go(self, stream: "FakeStream") -> None:
        """The stream has been closed."""
        if self._stream is stream:
            self._stream = None

    def advance(self, now_s: float) -> None:
        """Do all that has fallen due by now, in its order."""
        if self._begun_s is None:
            return
        now_s += _NEARLY_S
        while True:
            stream, scripted = self._running(), self._scripted_next()
            if scripted:
                if self._time_of(scripted[0]) > now_s:
                    return
                self._script.pop(0)
                self._do(scripted[1], scripted[0])
            elif stream and (due_s := self._due_s(stream)) <= now_s:
                samples = stream.block_end - stream.next_position
                block = self._sound.read(stream.next_position, samples)
                stream.come(bytes(len(block)) if self._is_muted else block, due_s, self._time_of(stream.block_end))
                stream.late_s = self._jitter_s * self._chance.random() if self._jitter_s else 0.0
            else:
                if stream is None and self._stream is not None:
                    self._stream.look(now_s)
                return

    def catch_up(self) -> None:
        """Do all that has fallen due by now."""
        self.advance(self._clock())

    def next_due_s(self, *, by_block: bool) -> float:
        """When the program will see something next: a frame (or the next block), or the script; infinity for never."""
        if self._begun_s is None:
            return float("inf")
        if (stream := self._running()) is None:
            scripted_s = self._time_of(self._script[0][0]) if self._script else float("inf")
            return min(scripted_s, self._stalls_s())
        if scripted := self._scripted_next():
            return self._time_of(scripted[0])
        frame_s = max(self._due_s(stream), 0.0 if by_block else self._time_of(stream.frame_end))
        return min(frame_s, self._time_of(self._script[0][0])) if self._script else frame_s

    def _stalls_s(self) -> float:
        """When the stream from which nothing comes will have stalled."""
        now_s, stream = self._clock(), self._stream
        return float("inf") if stream is None or stream.has_ended else now_s + stream.look(now_s)

    def _scripted_next(self) -> tuple[int, str] | None:
        """The script's next entry, unless a block comes before it."""
        stream = self._running()
        is_next = self._script and (stream is None or self._script[0][0] < stream.block_end)
        return self._script[0] if is_next else None

    def _running(self) -> "FakeStream | None":
        stalls = self._word in ("stall", "hang")
        return None if stalls or self._stream is None or self._stream.has_ended else self._stream

    def _time_of(self, position: int) -> float:
        assert self._begun_s is not None
        return self._begun_s + position / self._true_rate_hz

    def _due_s(self, stream: "FakeStream") -> float:
        return self._time_of(stream.block_end) + stream.late_s


class FakeStream(FedStream):
    """An open stream of a made-up device; what the microphone sees of it is the Stream protocol."""

    backend = "fake"

    def __init__(
        self, device: FakeDevice, chain: Chain, wake: Wake, opened_s: float, resume_ns: int, block_samples: int
    ) -> None:
        super().__init__(chain, wake, opened_s, resume_ns, block_samples / device.rate_hz)
        self._device = device
        self._block_samples = block_samples
        self.wake: Wake = wake
        self.next_position: int = device.position
        self.late_s: float = 0.0
        self.has_ended: bool = False
        self._seen_moves = device.moves
        self._has_overrun = False

    @property
    def block_end(self) -> int:
        """Position behind the block that comes next."""
        return self.next_position + self._block_samples

    @property
    def frame_end(self) -> int:
        """Position behind the block that ends the open frame, or one before it: the resampler holds samples back."""
        missing = math.ceil(self.missing_samples / self._block_samples)
        return self.next_position + max(1, missing) * self._block_samples

    def skip_to(self, position: int) -> None:
        """What lies before this is lost."""
        self.next_position, self._has_overrun = position, True

    def come(self, block: bytes | memoryview, arrived_s: float, captured_s: float) -> None:
        """The next block."""
        self.push(block, arrived_s, arrived_s - captured_s, has_overrun=self._has_overrun)
        self.next_position += self._block_samples
        self._has_overrun = False

    def finish(self, code: int) -> None:
        """As the audio thread does when the device is gone."""
        self.has_ended = True
        super().finish(code)

    def start(self) -> None:
        """Nothing: it runs as time does."""

    def close(self) -> None:
        self._device.let_go(self)
        super().close()

    def statistics(self) -> StreamStatistics:
        self._device.catch_up()
        return super().statistics()

    def events(self) -> list[tuple[str, str]]:
        before, self._seen_moves = self._seen_moves, self._device.moves
        moved = ("source_changed", "the sound server moved the stream to another source")
        return [moved] if self._device.moves != before else []


def _check(text: str) -> None:
    word, _, number = text.partition(" ")
    if word not in WORDS or (word == "lose") != number.isdigit():
        raise SettingsError(
            f"{text!r} is nothing that a made-up microphone can do; it can: {', '.join(WORDS)} (lose N)"
        )
