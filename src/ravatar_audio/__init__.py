"""A real-time voice front end for the RAVATAR avatar platform: microphone to WebSocket, with a C core."""

from ravatar_audio._version import __version__
from ravatar_audio.converter import Converter
from ravatar_audio.frames import FRAME_BYTES, FRAME_SAMPLES, HOP_SAMPLES, RATE_HZ, Frame, Hop

__all__ = ["FRAME_BYTES", "FRAME_SAMPLES", "HOP_SAMPLES", "RATE_HZ", "Converter", "Frame", "Hop", "__version__"]
