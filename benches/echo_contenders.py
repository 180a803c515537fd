"""What the echo bench compares: ours, WebRTC's AEC3 by two packages, and Speex's; each fed as if it were live."""

import ctypes
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ravatar_audio.processing import LinearCanceller

from .echo_scenes import Pcm
from .rig.harness import Missing

Process = Callable[[Pcm, Pcm], Pcm]
"""(microphone, reference) to output, of one scene."""

BLOCK: Final = 160
"""10 ms: what the others take at a time."""


def in_blocks(block: Callable[[Pcm, Pcm], Pcm]) -> Process:
    def process(microphone: Pcm, reference: Pcm) -> Pcm:
        out = np.zeros(len(microphone), np.int16)
        for at in range(0, len(microphone) // BLOCK * BLOCK, BLOCK):
            cut = slice(at, at + BLOCK)
            out[cut] = block(np.ascontiguousarray(microphone[cut]), np.ascontiguousarray(reference[cut]))
        return out

    return process


def linear(*, suppress: bool) -> Process:
    """Ours, by frames of 4,096."""
    canceller = LinearCanceller(suppress=suppress)

    def process(microphone: Pcm, reference: Pcm) -> Pcm:
        frames = range(0, len(microphone) // 256 * 256, 4_096)
        whole = len(microphone) // 256 * 256
        cuts = [slice(at, min(at + 4_096, whole)) for at in frames]
        parts = [canceller.process(microphone[cut].tobytes(), reference[cut].tobytes()) for cut in cuts]
        return np.frombuffer(b"".join(parts), "<i2")

    return process


def pywebrtc() -> Process:
    try:
        from pywebrtc_audio import AudioProcessor
    except ImportError:
        raise Missing("needs pywebrtc-audio: pip install pywebrtc-audio") from None
    processor = AudioProcessor(sample_rate=16_000, echo_cancellation=True)
    return in_blocks(lambda microphone, reference: np.asarray(processor.process(microphone, reference)))


def livekit() -> Process:
    try:
        from livekit import rtc
    except ImportError:
        raise Missing("needs livekit: pip install livekit") from None
    processor = rtc.AudioProcessingModule(echo_cancellation=True)

    def frame(pcm: Pcm) -> Any:
        return rtc.AudioFrame(bytearray(pcm.tobytes()), 16_000, 1, BLOCK)

    def block(microphone: Pcm, reference: Pcm) -> Pcm:
        processor.process_reverse_stream(frame(reference))
        heard = frame(microphone)
        processor.process_stream(heard)
        return np.frombuffer(heard.data, np.int16)

    return in_blocks(block)


def speexdsp() -> Process:
    """Its canceller of 256 ms with its own suppressor of what is left."""
    try:
        library = ctypes.CDLL("libspeexdsp.so.1")
    except OSError:
        raise Missing("needs libspeexdsp: sudo apt-get install libspeexdsp1") from None
    pointer, rate = ctypes.c_void_p, ctypes.c_int(16_000)
    for name in ("speex_echo_state_init", "speex_preprocess_state_init"):
        getattr(library, name).restype = pointer
    library.speex_echo_cancellation.argtypes = [pointer] * 4
    library.speex_echo_ctl.argtypes = library.speex_preprocess_ctl.argtypes = [pointer, ctypes.c_int, pointer]
    library.speex_preprocess_run.argtypes = [pointer] * 2
    echo = library.speex_echo_state_init(BLOCK, 4_096)
    suppressor = library.speex_preprocess_state_init(BLOCK, 16_000)
    library.speex_echo_ctl(echo, 24, ctypes.byref(rate))  # SPEEX_ECHO_SET_SAMPLING_RATE
    for request, value in ((0, 1), (18, 0), (20, -40), (22, -15)):  # denoising on (else no gain at all), by 0 dB; echo
        library.speex_preprocess_ctl(suppressor, request, ctypes.byref(ctypes.c_int(value)))
    library.speex_preprocess_ctl(suppressor, 24, echo)  # SPEEX_PREPROCESS_SET_ECHO_STATE

    def block(microphone: Pcm, reference: Pcm) -> Pcm:
        out = np.empty(BLOCK, np.int16)
        library.speex_echo_cancellation(echo, microphone.ctypes.data, reference.ctypes.data, out.ctypes.data)
        library.speex_preprocess_run(suppressor, out.ctypes.data)
        return out

    return in_blocks(block)


CONTENDERS: Final[dict[str, Callable[[], Process]]] = {
    "ours": lambda: linear(suppress=True),
    "ours, linear part": lambda: linear(suppress=False),
    "speexdsp": speexdsp,
    "pywebrtc-audio": pywebrtc,
    "livekit": livekit,
}
