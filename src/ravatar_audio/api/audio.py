"""The live voice message: a frame of sound as it goes over the wire."""

import base64
import os
from typing import Any

from ravatar_audio._core import ffi, lib
from ravatar_audio.api.link import Link
from ravatar_audio.api.messages import Envelope
from ravatar_audio.frames import FRAME_BYTES

_MASKS_AT_A_TIME = 64


class AudioEncoder:
    """Makes the `audio_base64_pcm` messages of one live session; what does not change is prepared once.

    The cheap path writes base64, JSON, WebSocket header and mask in one pass in C into a buffer that is used again. The
    plain one (`plain=True`) leaves everything to the WebSocket library. What arrives is the same, byte for byte.
    """

    def __init__(self, envelope: Envelope, *, plain: bool = False) -> None:
        self._envelope = envelope
        self._is_plain = plain
        self._affixes = envelope.audio_affixes()
        self._form = _Form(*self._affixes)
        self._rest = memoryview(b"")

    def text(self, pcm: bytes, lost_samples: int = 0) -> str:
        """The message as text; `lost_samples` are missing before it (0: no mark)."""
        prefix, suffix = self._envelope.audio_affixes(lost_samples) if lost_samples else self._affixes
        return prefix + base64.b64encode(pcm).decode("ascii") + suffix

    def frame(self, pcm: bytes, lost_samples: int = 0) -> memoryview:
        """The whole WebSocket frame, masked; valid until the next call. `pcm` has 8,192 bytes."""
        form = _Form(*self._envelope.audio_affixes(lost_samples)) if lost_samples else self._form
        return form.fill(pcm)

    def send_now(self, link: Link, pcm: bytes, lost_samples: int = 0) -> bool:
        """Send one frame without waiting. False: `send` has to be called for it. Raises LinkDown."""
        if self._is_plain or link.wire.is_busy:
            return False
        rest = link.start_frame(self.frame(pcm, lost_samples))
        self._rest = rest or memoryview(b"")
        return rest is not None and not rest

    async def send(self, link: Link, pcm: bytes, lost_samples: int = 0) -> None:
        """Send one frame; when `send_now` has begun to, its rest. Raises LinkDown."""
        if self._is_plain:
            await link.send_text(self.text(pcm, lost_samples))
        elif self._rest:
            rest, self._rest = self._rest, memoryview(b"")
            await link.finish_frame(rest)
        else:
            await link.send_frame(self.frame(pcm, lost_samples))


class _Form:
    """A frame's buffer, and what is the same in every frame."""

    def __init__(self, prefix: str, suffix: str) -> None:
        prefix_bytes, suffix_bytes = prefix.encode("ascii"), suffix.encode("ascii")
        size = lib.rva_message_bytes(len(prefix_bytes), FRAME_BYTES, len(suffix_bytes))
        self._frame: Any = ffi.new("uint8_t[]", size)
        self._prefix: Any = ffi.new("uint8_t[]", prefix_bytes)
        self._suffix: Any = ffi.new("uint8_t[]", suffix_bytes)
        self._prefix_bytes, self._suffix_bytes = len(prefix_bytes), len(suffix_bytes)
        self._masks: list[bytes] = []
        self._view = memoryview(ffi.buffer(self._frame))

    def fill(self, pcm: bytes) -> memoryview:
        if len(pcm) != FRAME_BYTES:
            raise ValueError(f"{len(pcm)} bytes of sound; a live message has {FRAME_BYTES}")
        lib.rva_message_encode(
            self._frame,
            self._prefix,
            self._prefix_bytes,
            pcm,
            FRAME_BYTES,
            self._suffix,
            self._suffix_bytes,
            self._new_mask(),
        )
        return self._view

    def _new_mask(self) -> bytes:
        """A key for one frame from the system's random source, as RFC 6455 (5.3) asks; fetched for many at a time."""
        if not self._masks:
            random = os.urandom(4 * _MASKS_AT_A_TIME)
            self._masks = [random[at : at + 4] for at in range(0, len(random), 4)]
        return self._masks.pop()
