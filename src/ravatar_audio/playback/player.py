"""Plays what the avatar answers, one after the other, and stops when the visitor begins to speak."""

import contextlib
import math
import os
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import trio

from ravatar_audio.api.messages import Reply
from ravatar_audio.capture.sources.push import PushSource
from ravatar_audio.errors import SettingsError
from ravatar_audio.playback.decoding import decode
from ravatar_audio.playback.speaker import Loudspeaker, PortAudioLoudspeaker
from ravatar_audio.worlds import check_world

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FADE_S = 0.005
"""What is interrupted fades out in this time, as a step would click."""

SILENT_DBFS = -96.0


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one sound: its length, how much of it was given to the speaker, whether it was interrupted."""

    duration_s: float
    played_s: float
    was_interrupted: bool


@dataclass(frozen=True, slots=True)
class PlayerStatistics:
    """Counters since the player was opened."""

    sounds: int
    """Sounds that were begun."""
    interrupted: int
    """Of these, how many did not reach their end."""
    played_s: float
    """Length of all sound that was given to the speaker, silence left out."""
    level_dbfs: float
    """RMS of the block that was given to the speaker last; -96: silence."""


class _Sound:
    """Samples on their way to the speaker; its fields are the player's lock's."""

    def __init__(self, samples: "NDArray[np.int16]") -> None:
        self.samples = samples
        self.taken: int = 0
        self.heard_s = 0.0  # when the last sample that was taken will have been heard
        self.was_interrupted: bool = False
        self.ended = trio.Event()


class Player:
    """A loudspeaker for answers, as an async context manager:

        async with Player() as player:
            async for event in live.events():
                if isinstance(event, Reply) and event.audio:
                    await player.play(event)

    `speaker` is the system's default output unless another is given. `reference` is a source that is given all that is
    played, with the time when it is heard: the far end for echo cancellation, VoiceSource(microphone, reference).
    Its rate must be the speaker's. `volume` is a factor from 0 to 1. Opening raises a MediaError when there is no
    loudspeaker that can be used.
    """

    def __init__(
        self, *, speaker: Loudspeaker | None = None, reference: PushSource | None = None, volume: float = 1.0
    ) -> None:
        self._speaker: Loudspeaker = PortAudioLoudspeaker() if speaker is None else speaker
        if reference is not None and (reference.rate_hz, reference.channels) != (self._speaker.rate_hz, 1):
            raise SettingsError(
                f"the reference takes {reference.channels} channels at {reference.rate_hz} Hz, and the speaker is given"
                f" 1 at {self._speaker.rate_hz} Hz",
                advice=f"PushSource(rate_hz={self._speaker.rate_hz}) fits.",
            )
        self._reference = reference
        self.volume = volume
        self._lock = threading.Lock()
        self._sound: _Sound | None = None
        self._turn = trio.Lock()  # of those who wait to be played
        self._sounds = self._interrupted = self._played_samples = 0
        self._interruptions = 0
        self._level_dbfs = SILENT_DBFS
        self._token: trio.lowlevel.TrioToken | None = None

    @property
    def volume(self) -> float:
        """Factor that samples are multiplied with, from 0 to 1; takes effect with the next sound."""
        return self._volume

    @volume.setter
    def volume(self, volume: float) -> None:
        if not 0.0 <= volume <= 1.0:  # NaN too
            raise SettingsError(f"the volume is {volume}; it is from 0 to 1")
        self._volume = volume

    async def __aenter__(self) -> Self:
        check_world("trio", type(self).__name__)
        self._token = trio.lowlevel.current_trio_token()
        await trio.to_thread.run_sync(self._speaker.open, self._fill)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.interrupt()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._speaker.close)

    @property
    def is_playing(self) -> bool:
        """Whether something is being played now, or waits for its turn."""
        return self._turn.locked()

    async def wait_silent(self) -> None:
        """Wait until all was played that `play` has been given so far."""
        async with self._turn:
            pass

    def statistics(self) -> PlayerStatistics:
        """Return a snapshot; may be called from any thread."""
        with self._lock:
            return PlayerStatistics(
                self._sounds, self._interrupted, self._played_samples / self._speaker.rate_hz, self._level_dbfs
            )

    async def play(self, sound: Reply | bytes | str | os.PathLike[str]) -> Played:
        """Play a reply's sound, a sound file's bytes, or a file, after what is being played; returns when it was heard.

        Raises SettingsError for a reply without sound, and for what is no sound. Cancelled, it stops within 5 ms.
        """
        if self._token is None:
            raise RuntimeError("the player is not open: use it in an `async with` block")
        file = _sound_of(sound) if isinstance(sound, Reply) else sound
        interruptions = self._interruptions
        samples = await trio.to_thread.run_sync(decode, file, self._speaker.rate_hz)
        async with self._turn:
            if interruptions != self._interruptions:  # while it waited for its turn
                with self._lock:
                    self._sounds, self._interrupted = self._sounds + 1, self._interrupted + 1
                return Played(len(samples) / self._speaker.rate_hz, 0.0, True)
            return await self._play_now(samples)

    async def _play_now(self, samples: "NDArray[np.int16]") -> Played:
        current = _Sound((samples * self._volume).astype(samples.dtype))
        with self._lock:
            self._sound = current
            self._sounds += 1
        try:
            await current.ended.wait()
        except trio.Cancelled:
            self._cut(current)
            raise
        await trio.sleep(max(0.0, current.heard_s - time.monotonic()))
        rate_hz = self._speaker.rate_hz
        return Played(len(samples) / rate_hz, min(current.taken, len(samples)) / rate_hz, current.was_interrupted)

    def interrupt(self) -> None:
        """End what is played within 5 ms, and what waits for its turn. May be called from any thread; for barge-in."""
        self._interruptions += 1
        with self._lock:
            current = self._sound
        if current is not None:
            self._cut(current)

    def _cut(self, current: _Sound) -> None:
        import numpy as np

        with self._lock:
            if current.was_interrupted or current.taken >= len(current.samples):
                return
            current.was_interrupted = True
            self._interrupted += 1
            fade = current.samples[current.taken : current.taken + round(FADE_S * self._speaker.rate_hz)]
            ramp = np.linspace(1.0, 0.0, len(fade), endpoint=False, dtype=np.float32)
            current.samples = np.concatenate([current.samples[: current.taken], (fade * ramp).astype(np.int16)])

    def _fill(self, samples: int, heard_s: float) -> bytes:
        """On the speaker's thread."""
        rate_hz = self._speaker.rate_hz
        with self._lock:
            current = self._sound
            if current is None:
                self._level_dbfs = SILENT_DBFS
                block = b""
            else:
                part = current.samples[current.taken : current.taken + samples]
                current.taken += len(part)
                self._played_samples += len(part)
                current.heard_s = heard_s + len(part) / rate_hz
                self._level_dbfs = _rms_dbfs(part)
                block = part.tobytes()
                if current.taken >= len(current.samples):
                    self._sound = None
                    assert self._token is not None
                    self._token.run_sync_soon(current.ended.set)
        block = block.ljust(2 * samples, b"\0")
        if self._reference is not None:
            with contextlib.suppress(RuntimeError, trio.ClosedResourceError):  # it is not open yet, or no longer
                self._reference.push_nowait(block, captured_s=heard_s + samples / rate_hz)
        return block


def _sound_of(reply: Reply) -> bytes:
    if reply.audio is None:
        raise SettingsError(
            "the reply has no sound in it", advice="Play those whose `audio` is set; `file_url` names a file."
        )
    return reply.audio.data


def _rms_dbfs(samples: "NDArray[np.int16]") -> float:
    import numpy as np

    if not len(samples):
        return SILENT_DBFS
    power = float(np.mean(np.square(samples, dtype=np.float64))) / 32_768.0**2
    return max(SILENT_DBFS, 10 * math.log10(power)) if power else SILENT_DBFS
