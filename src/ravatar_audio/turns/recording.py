"""A recorded voice message: a turn, or any frames, as one WAV or WebM file of 16 kHz mono."""

import io
import struct

from ravatar_audio.arguments import check_number
from ravatar_audio.choices import RECORDING_FORMATS, RecordingFormat
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import RATE_HZ, Frame


class Recording:
    """Collects frames, by their true lengths, and makes one file of them; as often as it is asked, until it is dropped.

    At most `limit_s` seconds are kept (0.1 to 3,600; a WAV has 32,000 bytes a second): what comes after is counted in
    `cut_samples`. Frames of a gate belong to it between STARTED and ENDED or CAPPED; after CANCELLED drop it:
    session.Recordings does so. session.sound_file makes one of a file on disk.
    """

    def __init__(self, limit_s: float = 120.0, *, is_push_to_talk: bool = False) -> None:
        self.is_push_to_talk = is_push_to_talk
        """The user held a button for it."""
        check_number("limit_s", limit_s, 0.1, 3_600)
        self._limit_samples = round(limit_s * RATE_HZ)
        self._pcm = bytearray()
        self.cut_samples: int = 0
        """Beyond the limit."""
        self.lost_samples: int = 0
        """Missing between the frames, as they reported; the file closes up over them."""

    @property
    def samples(self) -> int:
        """Kept, at 16 kHz."""
        return len(self._pcm) // 2

    @property
    def duration_s(self) -> float:
        """Length of the file's sound."""
        return self.samples / RATE_HZ

    @property
    def is_full(self) -> bool:
        """The limit has been reached."""
        return self.samples == self._limit_samples

    def add(self, frame: Frame) -> None:
        """Append a frame's sound."""
        self.add_pcm(frame.pcm[: 2 * frame.length_samples])
        self.lost_samples += frame.ring_lost_samples + frame.device_lost_samples

    def add_pcm(self, pcm: bytes) -> None:
        """Append sound: int16, little-endian, mono, 16 kHz."""
        samples = len(pcm) // 2
        taken = min(samples, self._limit_samples - self.samples)
        self._pcm += pcm[: 2 * taken]
        self.cut_samples += samples - taken

    def encoded(self, format: RecordingFormat = "wav") -> bytes:
        """Encode the file in a format, "wav" or "webm"; raises as `webm` does, and SettingsError for another format."""
        if format not in RECORDING_FORMATS:
            raise SettingsError(f"format {format!r} is unknown; it is one of {', '.join(RECORDING_FORMATS)}")
        return self.wav() if format == "wav" else self.webm()

    def wav(self) -> bytes:
        """Make a WAV file, signed 16 bit: what was captured, bit for bit."""
        size = len(self._pcm)
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
        return (
            struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size) + self._pcm
        )

    def webm(self, bit_rate_bps: int = 24_000) -> bytes:
        """Make a WebM file with Opus, about a tenth of the WAV; `bit_rate_bps` is 6,000 to 128,000.

        Raises SettingsError for other rates, for a recording without sound, and without the package av:
        pip install 'ravatar-audio[webm]'.
        """
        if not 6_000 <= bit_rate_bps <= 128_000:
            raise SettingsError(f"bit_rate_bps is {bit_rate_bps}; it must be 6,000 to 128,000")
        if not self._pcm:
            raise SettingsError("there is no sound in the recording, so there is nothing to encode")
        try:
            import av
            import numpy as np
        except ImportError as error:
            raise SettingsError(
                f"WebM needs the package av ({error})",
                advice="Install it with: pip install 'ravatar-audio[webm]', or send a WAV.",
            ) from error
        file = io.BytesIO()
        with av.open(file, "w", format="webm") as container:
            stream = container.add_stream("libopus", rate=RATE_HZ, layout="mono", bit_rate=bit_rate_bps)
            sound = np.frombuffer(bytes(self._pcm), "<i2").astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(sound, format="s16", layout="mono")
            frame.sample_rate = RATE_HZ
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
        return file.getvalue()
