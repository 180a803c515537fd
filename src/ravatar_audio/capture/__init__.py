"""The microphone's side: devices, the native stream, and the sources that stand in for it.

The rooms, from the ground up; each uses those above it in this list:

host         threads and file descriptors; knows no device
devices      what there is: cards, arrays, permissions, holders, privacy; opens nothing
servers      sound servers: the connection, sources, status
streams      ALSA, the PulseAudio protocol, PortAudio: one open stream that pushes into a chain
microphone   a device as an async iterator of frames, and how it gets that device back
sources      what stands in for a microphone: files, pipes, generated sound
"""

from ravatar_audio.capture.devices.device import Device, choose_device
from ravatar_audio.capture.microphone.capture_statistics import CaptureStatistics
from ravatar_audio.capture.microphone.microphone import Microphone
from ravatar_audio.capture.microphone.sound_monitor import CaptureEvent
from ravatar_audio.capture.microphone.source import FrameSource, Source
from ravatar_audio.capture.microphone.tee import SoundBlock, Tee, TeeStatistics
from ravatar_audio.capture.sources import FileSource, PacedSource, PipeSource, PushSource, SyntheticSource, open_source
from ravatar_audio.capture.streams.device_list import list_devices

__all__ = [
    "CaptureEvent",
    "CaptureStatistics",
    "Device",
    "FileSource",
    "FrameSource",
    "Microphone",
    "PacedSource",
    "PipeSource",
    "PushSource",
    "SoundBlock",
    "Source",
    "SyntheticSource",
    "Tee",
    "TeeStatistics",
    "choose_device",
    "list_devices",
    "open_source",
]
