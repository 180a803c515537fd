"""A local RAVATAR platform to develop and test against: strict, without any AI, and able to fail on purpose.

emulator      Emulator: the context that all runs in
settings      what can be set
app           the HTTP endpoints            conversation  one WebSocket
contract      what messages must be (pure)  hearing       turns in the sound (pure)
platform      sessions, slots, history      recording     the WAV files
faults        what shall go wrong (pure)    relay, scan   the link, where it does
tokens        JWTs (pure)                   pace          gaps by the clock (pure)
page          the streaming page            statistics    what was counted
"""

from ravatar_audio.emulator.emulator import Emulator
from ravatar_audio.emulator.faults import Fault, FaultScript, read_faults
from ravatar_audio.emulator.recording import Mark
from ravatar_audio.emulator.settings import Avatar, EmulatorSettings, server_tls
from ravatar_audio.emulator.statistics import (
    ConnectionStatistics,
    EmulatorStatistics,
    LiveStatistics,
    ViolationRecord,
)

__all__ = [
    "Avatar",
    "ConnectionStatistics",
    "Emulator",
    "EmulatorSettings",
    "EmulatorStatistics",
    "Fault",
    "FaultScript",
    "LiveStatistics",
    "Mark",
    "ViolationRecord",
    "read_faults",
    "server_tls",
]
