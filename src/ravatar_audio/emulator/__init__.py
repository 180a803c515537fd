"""A local RAVATAR platform to develop and test against: strict, without any AI, and able to fail on purpose.

emulator        Emulator: the context that all runs in
settings        what can be set
app             the HTTP endpoints            client_socket   one client's WebSocket
contract        what messages must be (pure)  turn_detector   turns in the sound (pure)
platform_state  sessions, slots, history      wav_writer      the WAV files
faults          what shall go wrong (pure)    relay           the connections, where it does
token_issuer    JWTs (pure)                   frame_sniffer   WebSocket frames that pass (pure)
page            the streaming page            stream_clock    gaps by the clock (pure)
statistics      what was counted
"""

from typing import TYPE_CHECKING

from ravatar_audio.deprecation import renamed_names
from ravatar_audio.emulator.emulator import Emulator
from ravatar_audio.emulator.faults import Fault, FaultScript, read_faults
from ravatar_audio.emulator.settings import EmulatedAvatar, EmulatorSettings, server_tls
from ravatar_audio.emulator.statistics import (
    ConnectionStatistics,
    EmulatedLiveStatistics,
    EmulatorStatistics,
    ViolationRecord,
)
from ravatar_audio.emulator.wav_writer import Mark

__all__ = [
    "ConnectionStatistics",
    "EmulatedAvatar",
    "EmulatedLiveStatistics",
    "Emulator",
    "EmulatorSettings",
    "EmulatorStatistics",
    "Fault",
    "FaultScript",
    "Mark",
    "ViolationRecord",
    "read_faults",
    "server_tls",
]

if not TYPE_CHECKING:
    __getattr__ = renamed_names(
        __name__, {"Avatar": "EmulatedAvatar", "LiveStatistics": "EmulatedLiveStatistics"}, globals().__getitem__
    )
