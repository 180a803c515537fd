"""What goes wrong with microphones, on each kind of stream: every cell of the table has a test that is marked with it.

`@pytest.mark.fault("stalled", "alsa", "pulse")` on a test, or on one of its parameters, says what it covers;
`test_fault_table.py` fails for a cell without a test or a reason, and for a mark that names no cell that is to be had.
`pytest -m fault` runs them all. Where a stream goes on or begins anew, a live session runs over it (watch_child.py).
"""

from typing import Final

KINDS: Final = {
    "alsa": "our own thread over ALSA, on the virtual USB microphone",
    "portaudio": "PortAudio, on the virtual USB microphone",
    "pulse": "our own thread, behind PulseAudio",
    "pipewire": "our own thread, behind PipeWire",
}

_NO_SERVER = dict.fromkeys(("alsa", "portaudio"), "no server serves it")
_SERVED = dict.fromkeys(("pulse", "pipewire"), "the server has the device, and tells its clients as of a source")
_SHARED = dict.fromkeys(("pulse", "pipewire"), "a server gives its sources to everybody")
_CONVERTED = dict.fromkeys(("pulse", "pipewire"), "a server converts to whatever is asked for")

FAULTS: Final[dict[str, dict[str, str]]] = {
    "unplugged": _SERVED,
    "hung up": _SERVED,
    "stalled": {},
    "busy": _SHARED,
    "permission refused": {},
    "rate refused": _CONVERTED,
    "channels refused": _CONVERTED,
    "overrun": {},
    "server killed and restarted": _NO_SERVER,
    "source unloaded, another there": _NO_SERVER,
    "source unloaded, no other there": _NO_SERVER,
    "suspended": {},
}
"""For each fault the kinds of stream on which it cannot be had, and why; on all others a test has it."""
