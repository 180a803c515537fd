"""The live voice message: a frame as it goes over the wire."""

import base64

from ravatar_audio.api.link import Link
from ravatar_audio.api.messages import Envelope


class AudioEncoder:
    """Makes `audio_base64_pcm` messages of one live session. What does not change is prepared once."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._affixes = envelope.audio_affixes()

    def text(self, pcm: bytes, lost_samples: int = 0) -> str:
        """The message of 4,096 samples as text; `lost_samples` are missing before it (0: no mark)."""
        prefix, suffix = self._envelope.audio_affixes(lost_samples) if lost_samples else self._affixes
        return prefix + base64.b64encode(pcm).decode("ascii") + suffix

    async def send(self, link: Link, pcm: bytes, lost_samples: int = 0) -> None:
        """Send one frame."""
        await link.send_text(self.text(pcm, lost_samples))
