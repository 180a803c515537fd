"""A real-time voice front end for the RAVATAR avatar platform: microphone to WebSocket, with a C core.

The rooms, from the ground up; each uses those above it in this list, never those below:

errors, frames      one tree of errors; frames as pure data; addresses, choices, arguments: what settings take
settings            one frozen Settings; groups: exception groups, taken apart
native, converter   the C core (csrc/) as a chain with a ring; the conversion alone; conversion: its arguments
capture             microphones, and the sources that stand in for them
processing          echo cancellation
turns               push-to-talk and voice activity as pure state machines
observe             histograms, the debug log, observers: metrics
api                 the platform's side: messages, HTTP, tokens, the WebSocket
playback            a loudspeaker for replies: Player
session             where capture and api meet: LiveSession, ChatSession
diagnosis           every examination of the doctor: diagnose()
emulator, testing   a local platform; helpers for tests
embedding           a trio loop in a thread of its own
asyncio, blocking   the same names for programs on an asyncio loop, and for programs of threads
cli                 the commands

Names are loaded when they are first used, so that `import ravatar_audio` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ravatar_audio._version import __version__

if TYPE_CHECKING:
    from ravatar_audio.api.http import HttpCall, Platform
    from ravatar_audio.api.link import LinkLimits
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
    from ravatar_audio.api.proxy import Proxy
    from ravatar_audio.api.results import Avatar, ChatItem, ChatPage, Connection, Language, LiveStart
    from ravatar_audio.api.shared import Shared
    from ravatar_audio.capture import (
        CaptureEvent,
        CaptureStatistics,
        Device,
        FileSource,
        FrameSource,
        Microphone,
        PipeSource,
        PushSource,
        SoundBlock,
        Source,
        SyntheticSource,
        Tee,
        TeeStatistics,
        list_devices,
        open_source,
    )
    from ravatar_audio.conversion import CaptureOptions, ConversionOptions
    from ravatar_audio.converter import Converter
    from ravatar_audio.diagnosis import Finding, diagnose
    from ravatar_audio.emulator import (
        ConnectionStatistics,
        EmulatedAvatar,
        EmulatedLiveStatistics,
        Emulator,
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
    from ravatar_audio.observe.observer import ObservedSession, Observer
    from ravatar_audio.playback import Loudspeaker, Played, Player, PlayerStatistics
    from ravatar_audio.processing import Canceller, EchoStatistics, VoiceSource, VoiceStatistics
    from ravatar_audio.processing.gain import GainControl
    from ravatar_audio.processing.memory import EchoMemory
    from ravatar_audio.session import (
        AvatarSilent,
        AvatarSpeaks,
        ChatSession,
        ChatStatistics,
        ConversationRenewed,
        EchoEvent,
        LinkLost,
        LinkUp,
        LiveSession,
        LiveStatistics,
        Recordings,
        SendingAccepted,
        SendingRefused,
        SessionRenewed,
        SessionState,
        StreamingUrlChanged,
        TurnAnswered,
        TurnSource,
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

_HOMES = {
    "api.http": "HttpCall Platform",
    "api.link": "LinkLimits",
    "api.messages": (
        "Audio ConnectionMessage EventMessage Reply ServerMessage StreamFault SystemMessage UnknownMessage"
    ),
    "api.proxy": "Proxy",
    "api.results": "Avatar ChatItem ChatPage Connection Language LiveStart",
    "api.shared": "Shared",
    "capture": (
        "CaptureEvent CaptureStatistics Device FileSource FrameSource Microphone PipeSource PushSource SoundBlock "
        "Source SyntheticSource Tee TeeStatistics list_devices open_source"
    ),
    "conversion": "CaptureOptions ConversionOptions",
    "converter": "Converter",
    "diagnosis": "Finding diagnose",
    "emulator": (
        "ConnectionStatistics EmulatedAvatar EmulatedLiveStatistics Emulator EmulatorSettings Fault Mark "
        "ViolationRecord"
    ),
    "emulator.faults": "FaultScript",
    "emulator.statistics": "EmulatorStatistics",
    "errors": "MediaError NetworkError PlatformError RavatarError SettingsError",
    "frames": "FRAME_BYTES FRAME_SAMPLES HOP_SAMPLES RATE_HZ Frame Hop",
    "native": "ChainStatistics",
    "observe.histogram": "Distribution",
    "observe.observer": "ObservedSession Observer",
    "playback": "Loudspeaker Played Player PlayerStatistics",
    "processing": "Canceller EchoStatistics VoiceSource VoiceStatistics",
    "processing.gain": "GainControl",
    "processing.memory": "EchoMemory",
    "session": (
        "AvatarSilent AvatarSpeaks ChatSession ChatStatistics ConversationRenewed EchoEvent LinkLost LinkUp "
        "LiveSession LiveStatistics Recordings SendingAccepted SendingRefused SessionRenewed SessionState "
        "StreamingUrlChanged TurnAnswered TurnSource"
    ),
    "session.sound_file": "read_recording",
    "settings": "Settings",
    "turns": "Detector Gate GateStatistics Reason Recording Timing TurnEvent TurnEventKind TurnMode TurnRules",
}
_HOME = {name: room for room, names in _HOMES.items() for name in names.split()}

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
    "ChatPage",
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
    "HttpCall",
    "Language",
    "LinkLimits",
    "LinkLost",
    "LinkUp",
    "LiveSession",
    "LiveStart",
    "LiveStatistics",
    "Loudspeaker",
    "Mark",
    "MediaError",
    "Microphone",
    "NetworkError",
    "ObservedSession",
    "Observer",
    "PipeSource",
    "Platform",
    "PlatformError",
    "Played",
    "Player",
    "PlayerStatistics",
    "Proxy",
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
    "Shared",
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


_RENAMED = {"EventKind": "TurnEventKind", "Mode": "TurnMode"}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        from ravatar_audio.deprecation import warn_renamed

        warn_renamed("name", f"{__name__}.{name}", f"{__name__}.{_RENAMED[name]}", stacklevel=2)
        return getattr(importlib.import_module(__name__), _RENAMED[name])
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
