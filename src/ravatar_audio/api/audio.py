"""The live voice message: a frame of sound as it goes over the wire."""

import base64

from ravatar_audio.api.link import Link
from ravatar_audio.api.messages import Envelope
from ravatar_audio.native import message_encoder


class AudioEncoder:
    """Makes the `audio_base64_pcm` messages of one live session; what does not change is prepared once.

    The cheap path writes base64, JSON, WebSocket header and mask in one pass in C into a buffer that is used again. The
    plain one (`plain=True`) leaves everything to the WebSocket library. What arrives is the same, byte for byte.
    """

    def __init__(self, envelope: Envelope, *, plain: bool = False) -> None:
        self._envelope = envelope
        self._is_plain = plain
        self._affixes = envelope.audio_affixes()
        self._encode = message_encoder(*self._affixes)
        self._rest = memoryview(b"")

    def text(self, pcm: bytes, lost_samples: int = 0, repeated_samples: int = 0) -> str:
        """Return the message as text; so many are missing before it, and so many may have come before (0: no mark)."""
        is_marked = lost_samples or repeated_samples
        prefix, suffix = self._envelope.audio_affixes(lost_samples, repeated_samples) if is_marked else self._affixes
        return prefix + base64.b64encode(pcm).decode("ascii") + suffix

    def frame(self, pcm: bytes, lost_samples: int = 0, repeated_samples: int = 0) -> memoryview:
        """Return the whole WebSocket frame, masked; valid until the next call. `pcm` has 8,192 bytes."""
        if lost_samples or repeated_samples:
            return message_encoder(*self._envelope.audio_affixes(lost_samples, repeated_samples))(pcm)
        return self._encode(pcm)

    def send_now(self, link: Link, pcm: bytes, lost_samples: int = 0, repeated_samples: int = 0) -> bool:
        """Send one frame without waiting. False: `send` has to be called for it. Raises LinkDown."""
        if self._is_plain or link.wire.is_busy:
            return False
        rest = link.start_frame(self.frame(pcm, lost_samples, repeated_samples))
        if rest:
            self._rest = rest
        return rest is not None and not rest

    async def send(self, link: Link, pcm: bytes, lost_samples: int = 0, repeated_samples: int = 0) -> None:
        """Send one frame; when `send_now` has begun to, its rest. Raises LinkDown."""
        if self._is_plain:
            await link.send_text(self.text(pcm, lost_samples, repeated_samples))
        elif self._rest:
            rest, self._rest = self._rest, memoryview(b"")
            await link.finish_frame(rest)
        else:
            await link.send_frame(self.frame(pcm, lost_samples, repeated_samples))
