"""The microphone's side: devices, the native stream, and the sources that stand in for it.

source          what every source of frames is, and its statistics
microphone      a device as an async iterator of frames
sources, pipe   files and synthetic sound; raw PCM or WAV from another program
opening         which source the user means by "mic", "-", a path, "synthetic:speech"
devices         devices as data, and how one is chosen
portaudio       the only module that knows PortAudio and PyAudio
stream          what a device backend gives to the microphone
wake, worker    the audio thread's wake-up of trio; blocking calls with a deadline
signals, wav    test signals; the header of a WAV file (pure)
"""

from ravatar_audio.capture.devices import Device, choose_device
from ravatar_audio.capture.microphone import Microphone
from ravatar_audio.capture.opening import open_source
from ravatar_audio.capture.pipe import PipeSource
from ravatar_audio.capture.portaudio import list_devices
from ravatar_audio.capture.source import CaptureStatistics, Source
from ravatar_audio.capture.sources import FileSource, PacedSource, SyntheticSource

__all__ = [
    "CaptureStatistics",
    "Device",
    "FileSource",
    "Microphone",
    "PacedSource",
    "PipeSource",
    "Source",
    "SyntheticSource",
    "choose_device",
    "list_devices",
    "open_source",
]
