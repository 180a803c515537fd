"""The microphone's side: devices, the native stream, and the sources that stand in for it.

source          what every source of frames is, and its statistics
microphone      a device as an async iterator of frames, watched and opened again
opener          its device or the stand-in, opened into a chain
recovery        how it gets its device back, by attempts
system          the machine below it: time, devices, threads; a test has another
liveness        stalls, and when a stream must be opened again (pure)
watchdog, drift what can go wrong without an error; the device's clock (pure)
chains          what is left of devices that were used before
arrivals        devices and sound servers that come
sources         what stands in for a microphone: files, pipes, generated sound; which of them the user means
devices         devices as data, and how one is chosen (pure)
arrays          microphone arrays that are known: which channel carries what (arrays.toml)
channels        the sound of each channel, and which to hear (pure)
finding, cards  the devices of this system, and the true reason when one is not found
line            a device that has been found and its stream, whichever backend it is
alsa, pulse     our own capture threads, over ALSA and over the PulseAudio protocol; what they can be opened on
portaudio       the only module that knows PortAudio and PyAudio
stream          what a device backend gives to the microphone
wake, worker    the audio thread's wake-up of trio; blocking calls with a deadline
memory          locking it
"""

from ravatar_audio.capture.devices import Device, choose_device
from ravatar_audio.capture.finding import list_devices
from ravatar_audio.capture.microphone import Microphone
from ravatar_audio.capture.source import CaptureStatistics, Source
from ravatar_audio.capture.sources import FileSource, PacedSource, PipeSource, PushSource, SyntheticSource, open_source
from ravatar_audio.capture.watchdog import CaptureEvent

__all__ = [
    "CaptureEvent",
    "CaptureStatistics",
    "Device",
    "FileSource",
    "Microphone",
    "PacedSource",
    "PipeSource",
    "PushSource",
    "Source",
    "SyntheticSource",
    "choose_device",
    "list_devices",
    "open_source",
]
