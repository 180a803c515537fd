"""The microphone's side: devices, the native stream, and the sources that stand in for it.

source       what every source of frames is, and its statistics
microphone   a device as an async iterator of frames
devices      devices as data, and how one is chosen
portaudio    the only module that knows PortAudio and PyAudio
stream       what a device backend gives to the microphone
wake, worker the audio thread's wake-up of trio; blocking calls with a deadline
"""

from ravatar_audio.capture.devices import Device, choose_device
from ravatar_audio.capture.microphone import Microphone
from ravatar_audio.capture.portaudio import list_devices
from ravatar_audio.capture.source import CaptureStatistics, Source

__all__ = ["CaptureStatistics", "Device", "Microphone", "Source", "choose_device", "list_devices"]
