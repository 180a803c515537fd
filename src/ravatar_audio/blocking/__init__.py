"""The names of `ravatar_audio` for programs of threads, without an event loop:

    from ravatar_audio.blocking import LiveSession, Microphone, Reply, Settings

    with Microphone() as microphone, LiveSession(Settings.load(), microphone) as live:
        for event in live.events():
            ...

Everything is captured and sent in a thread of its own, which starts with the first `with` and ends with the last. Any
thread may call; one at a time iterates. Ctrl-C ends what is waited for, and the blocks are left as they should be.
"""

from typing import TYPE_CHECKING

from ravatar_audio._version import __version__
from ravatar_audio.api.messages import (
    Audio,
    ConnectionMessage,
    EventMessage,
    Reply,
    ServerMessage,
    StreamFault,
    SystemMessage,
    UnknownMessage,
)
from ravatar_audio.api.results import Avatar, ChatItem, Connection, Language
from ravatar_audio.blocking.diagnosis import diagnose
from ravatar_audio.blocking.playback import Player
from ravatar_audio.blocking.sessions import ChatSession, Emulator, LiveSession
from ravatar_audio.blocking.sources import (
    FileSource,
    Microphone,
    PipeSource,
    PushSource,
    Recordings,
    Source,
    SyntheticSource,
    Tee,
    TurnSource,
    VoiceSource,
    open_source,
)
from ravatar_audio.capture import (
    CaptureEvent,
    CaptureStatistics,
    Device,
    FrameSource,
    SoundBlock,
    TeeStatistics,
    list_devices,
)
from ravatar_audio.conversion import CaptureOptions, ConversionOptions
from ravatar_audio.converter import Converter
from ravatar_audio.deprecation import renamed_names
from ravatar_audio.diagnosis import Finding
from ravatar_audio.emulator import (
    ConnectionStatistics,
    EmulatedAvatar,
    EmulatedLiveStatistics,
    EmulatorSettings,
    Fault,
    Mark,
    ViolationRecord,
)
from ravatar_audio.emulator.faults import FaultScript
from ravatar_audio.emulator.statistics import EmulatorStatistics
from ravatar_audio.errors import MediaError, NetworkError, PlatformError, RavatarError, SettingsError
from ravatar_audio.frames import FRAME_BYTES, FRAME_SAMPLES, HOP_SAMPLES, RATE_HZ, Frame, Hop
from ravatar_audio.native import ChainStatistics
from ravatar_audio.observe.histogram import Distribution
from ravatar_audio.playback import Loudspeaker, Played, PlayerStatistics
from ravatar_audio.processing import Canceller, EchoStatistics, VoiceStatistics
from ravatar_audio.processing.gain import GainControl
from ravatar_audio.processing.memory import EchoMemory
from ravatar_audio.session import (
    AvatarSilent,
    AvatarSpeaks,
    ChatStatistics,
    ConversationRenewed,
    EchoEvent,
    LinkLost,
    LinkUp,
    LiveStatistics,
    SendingAccepted,
    SendingRefused,
    SessionRenewed,
    SessionState,
    StreamingUrlChanged,
    TurnAnswered,
)
from ravatar_audio.session.sound_file import read_recording
from ravatar_audio.settings import Settings
from ravatar_audio.turns import (
    Detector,
    Gate,
    GateStatistics,
    Reason,
    Recording,
    Timing,
    TurnEvent,
    TurnEventKind,
    TurnMode,
    TurnRules,
)

__all__ = [
    "FRAME_BYTES",
    "FRAME_SAMPLES",
    "HOP_SAMPLES",
    "RATE_HZ",
    "Audio",
    "Avatar",
    "AvatarSilent",
    "AvatarSpeaks",
    "Canceller",
    "CaptureEvent",
    "CaptureOptions",
    "CaptureStatistics",
    "ChainStatistics",
    "ChatItem",
    "ChatSession",
    "ChatStatistics",
    "Connection",
    "ConnectionMessage",
    "ConnectionStatistics",
    "ConversationRenewed",
    "ConversionOptions",
    "Converter",
    "Detector",
    "Device",
    "Distribution",
    "EchoEvent",
    "EchoMemory",
    "EchoStatistics",
    "EmulatedAvatar",
    "EmulatedLiveStatistics",
    "Emulator",
    "EmulatorSettings",
    "EmulatorStatistics",
    "EventMessage",
    "Fault",
    "FaultScript",
    "FileSource",
    "Finding",
    "Frame",
    "FrameSource",
    "GainControl",
    "Gate",
    "GateStatistics",
    "Hop",
    "Language",
    "LinkLost",
    "LinkUp",
    "LiveSession",
    "LiveStatistics",
    "Loudspeaker",
    "Mark",
    "MediaError",
    "Microphone",
    "NetworkError",
    "PipeSource",
    "PlatformError",
    "Played",
    "Player",
    "PlayerStatistics",
    "PushSource",
    "RavatarError",
    "Reason",
    "Recording",
    "Recordings",
    "Reply",
    "SendingAccepted",
    "SendingRefused",
    "ServerMessage",
    "SessionRenewed",
    "SessionState",
    "Settings",
    "SettingsError",
    "SoundBlock",
    "Source",
    "StreamFault",
    "StreamingUrlChanged",
    "SyntheticSource",
    "SystemMessage",
    "Tee",
    "TeeStatistics",
    "Timing",
    "TurnAnswered",
    "TurnEvent",
    "TurnEventKind",
    "TurnMode",
    "TurnRules",
    "TurnSource",
    "UnknownMessage",
    "ViolationRecord",
    "VoiceSource",
    "VoiceStatistics",
    "__version__",
    "diagnose",
    "list_devices",
    "open_source",
    "read_recording",
]

if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, {"EventKind": "TurnEventKind", "Mode": "TurnMode"}, globals().__getitem__)
