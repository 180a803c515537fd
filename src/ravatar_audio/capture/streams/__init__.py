"""The streams that push into a chain on their own thread; the only room that knows ALSA, PortAudio and the C streams.

stream          what each of them gives to the microphone
alsa, pulse     our own capture threads
portaudio       the only module that knows PortAudio and PyAudio
fed             a stream that is fed by hand
device_list     the devices of this system, whatever serves them
open_errors     why a microphone cannot be had: the system's own reason
device_stream   a device that has been found and its stream, whichever backend it is
"""
