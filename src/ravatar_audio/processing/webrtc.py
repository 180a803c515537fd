"""WebRTC's echo canceller and noise suppression, by the package pywebrtc-audio (the optional extra "webrtc").

The only module that knows that package.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import HOP_SAMPLES, RATE_HZ
from ravatar_audio.processing.canceller import Canceller, EchoStatistics

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_BLOCK: Final = RATE_HZ // 100
"""It pads what is no multiple of 10 ms with zeros, which costs it 14 dB."""
_HELD_SAMPLES: Final = 128
"""Most that is left of any number of hops when whole blocks are taken."""
_LAG_SAMPLES: Final = {True: 128, False: 96}
"""Of the package itself, with echo cancellation and with noise suppression alone: 8 and 6 ms."""
_LEVELS: Final = {6: 0, 12: 1, 18: 2}
_PLAYED_RMS: Final = 10.0
"""Of a hop of the reference: -70 dBFS, as the core's canceller has it."""
_LEARNT_SAMPLES: Final = RATE_HZ
"""So much of the avatar's sound the canceller takes until it holds the echo down."""
_SPAN_HOPS: Final = 10 * RATE_HZ / HOP_SAMPLES


class WebrtcCanceller:
    """A Canceller that is WebRTC's (AEC3), or its noise suppression behind another one.

    `cancels_echo`: be a canceller. `noise_suppression_db`: 0, 6, 12 or 18. `before`: the canceller that the sound goes
    through first. Raises SettingsError for other values, and without the package: pip install 'ravatar-audio[webrtc]'.
    A loud avatar is gone altogether, and with it most of what a visitor says meanwhile: docs/howto/echo.md.
    """

    history_samples: int = HOP_SAMPLES

    def __init__(
        self, *, cancels_echo: bool = True, noise_suppression_db: int = 0, before: Canceller | None = None
    ) -> None:
        if noise_suppression_db not in (0, *_LEVELS):
            raise SettingsError(f"noise_suppression_db is {noise_suppression_db}; it is one of 0, 6, 12, 18")
        try:
            from pywebrtc_audio import AudioProcessor
        except ImportError as error:
            wanted = "echo_cancellation = 'webrtc'" if cancels_echo else "noise_suppression_db"
            raise SettingsError(
                f"{wanted} needs the package pywebrtc-audio ({error})",
                advice="Install it with: pip install 'ravatar-audio[webrtc]'.",
            ) from error
        self._processor: Any = AudioProcessor(
            sample_rate=RATE_HZ,
            echo_cancellation=cancels_echo,
            noise_suppression=noise_suppression_db > 0,
            ns_level=_LEVELS.get(noise_suppression_db, 0),
        )
        self._cancels_echo, self._before = cancels_echo, before
        if before is not None:
            self.history_samples = before.history_samples
        self.lag_samples: int = _HELD_SAMPLES + _LAG_SAMPLES[cancels_echo] + (before.lag_samples if before else 0)
        self._heard = self._played = b""
        self._ready = bytes(2 * _HELD_SAMPLES)
        self._processed = self._played_samples = self._restarts = self._learnt = 0
        self._energy_in = self._energy_out = 0.0

    def process(self, microphone: "ReadableBuffer", reference: "ReadableBuffer") -> bytes:
        """Do as Canceller.process says; some 0.3 ms for 10 ms of sound."""
        heard, played = bytes(microphone), bytes(reference)
        if len(heard) != len(played) or len(heard) % (2 * HOP_SAMPLES):
            raise ValueError(
                f"the microphone has {len(heard)} bytes, the reference {len(played)}; both take whole hops "
                f"({2 * HOP_SAMPLES} bytes each), and as many"
            )
        cleaned = heard if self._before is None else self._before.process(heard, played)
        self._heard, self._played = self._heard + cleaned, self._played + played
        whole = len(self._heard) // (2 * _BLOCK) * (2 * _BLOCK)
        near, far = (np.frombuffer(sound[:whole], np.int16) for sound in (self._heard, self._played))
        self._heard, self._played = self._heard[whole:], self._played[whole:]
        if whole:
            made = self._processor.process(near, far) if self._cancels_echo else self._processor.process(near)
            self._ready += np.asarray(made, np.int16).tobytes()
        out, self._ready = self._ready[: len(heard)], self._ready[len(heard) :]
        self._count(heard, played, out)
        return out

    def _count(self, heard: bytes, played: bytes, out: bytes) -> None:
        sounds = [np.frombuffer(sound, "<i2").astype(float).reshape(-1, HOP_SAMPLES) for sound in (heard, played, out)]
        before, far, after = (np.mean(sound**2, axis=1) for sound in sounds)
        for energy_in, energy_far, energy_out in zip(before, far, after, strict=True):
            if energy_far > _PLAYED_RMS**2:
                self._played_samples += HOP_SAMPLES
                self._learnt += HOP_SAMPLES
                self._energy_in += (energy_in - self._energy_in) / _SPAN_HOPS
                self._energy_out += (energy_out - self._energy_out) / _SPAN_HOPS
        self._processed += len(heard) // 2

    def move(self, samples: int, history: "ReadableBuffer") -> None:
        """Do as Canceller.move says; WebRTC's follows by itself."""
        if self._before is not None:
            self._before.move(samples, history)

    def restart(self) -> None:
        """Forget the echo's path."""
        if self._before is not None:
            self._before.restart()
        elif self._cancels_echo:
            self._processor.reset()
            self._restarts += 1
            self._learnt = 0

    def statistics(self) -> EchoStatistics:
        """Return the counters as of now."""
        if self._before is not None:
            return self._before.statistics()
        ratio = (self._energy_in + 1e-9) / (self._energy_out + 1e-9)
        return EchoStatistics(
            processed_samples=self._processed,
            played_samples=self._played_samples,
            restarts=self._restarts,
            erle_db=float(10 * np.log10(ratio)) if self._played_samples else 0.0,
            is_settled=self._cancels_echo and self._learnt >= _LEARNT_SAMPLES,
        )
